import { describe, expect, it } from 'vitest';
import { type GgufTokenizerMetadata, ggufTokenizer } from '../../lib/text/gguf-tokenizer.js';
import { goldenMetadata } from './support.js';

describe('damaged metadata', () => {
  const spm = goldenMetadata('spm');
  const bpe = goldenMetadata('bpe-gpt-2');
  const tokens = spm.tokens as string[];
  const unigram = goldenMetadata('unigram');
  const word = goldenMetadata('wordpiece');
  const tokensOf = (metadata: GgufTokenizerMetadata) => metadata.tokens as string[];
  const noUnknown = (metadata: GgufTokenizerMetadata) => ({
    unknown_token_id: undefined,
    token_type: tokensOf(metadata).map((_, id) => (id < 2 ? 3 : 1)),
  });
  it.each<[string, string, GgufTokenizerMetadata]>([
    ['model', 'no model', { ...spm, model: undefined }],
    ['tokens', 'no tokens', { ...spm, tokens: undefined }],
    ['tokens', 'not an array', { ...spm, tokens: 'abc' as never }],
    ['tokens', 'no token at all', { ...spm, tokens: [], scores: [], token_type: [] }],
    ['tokens', 'a number among them', { ...spm, tokens: [...tokens.slice(1), 5 as never] }],
    ['tokens', 'one twice', { ...spm, tokens: [...tokens.slice(1), tokens[9]] }],
    ['tokens', 'one twice, of bytes', { ...bpe, tokens: [...tokensOf(bpe).slice(1), 'e'] }],
    ['tokens', 'one twice, of words', { ...word, tokens: [...tokensOf(word).slice(1), 'x'] }],
    ['scores', 'too few', { ...spm, scores: [1, 2] }],
    ['scores', 'not finite', { ...spm, scores: tokens.map(() => Number.NaN) }],
    ['token_type', 'unknown type', { ...spm, token_type: tokens.map(() => 9) }],
    ['token_type', 'bytes that are none', { ...spm, token_type: tokens.map(() => 6) }],
    ['bos_token_id', 'too big', { ...spm, bos_token_id: tokens.length }],
    ['eos_token_id', 'negative', { ...spm, eos_token_id: -1 }],
    ['eot_token_id', 'text', { ...spm, eot_token_id: '3' as never }],
    ['bos_token_id', 'asked for but missing', { ...spm, bos_token_id: undefined }],
    ['add_bos_token', 'a number', { ...spm, add_bos_token: 1 as never }],
    ['merges', 'none', { ...bpe, merges: undefined }],
    ['merges', 'without a space', { ...bpe, merges: ['ab'] }],
    ['merges', 'of unknown tokens', { ...bpe, merges: ['\u4e2d \u6587'] }],
    ['merges', 'of tokens that make none', { ...bpe, merges: ['\u0120 \u0120\u0120\u0120'] }],
    ['merges', 'of a token and nothing', { ...bpe, merges: ['a '] }],
    ['merges', 'a number', { ...bpe, merges: [3 as never] }],
    ['pre', 'a number', { ...bpe, pre: 3 as never }],
    ['scores', 'none, where they are needed', { ...unigram, scores: undefined }],
    ['scores', 'text', { ...unigram, scores: tokensOf(unigram).map(() => '1') as never }],
    ['merges', 'none for Gemma 4', { ...spm, model: 'gemma4' }],
    ['precompiled_charsmap', 'text', { ...unigram, precompiled_charsmap: 'ab' as never }],
    ['remove_extra_whitespaces', '1', { ...unigram, remove_extra_whitespaces: 1 as never }],
    ['normalizer.lowercase', 'text', { ...word, 'normalizer.lowercase': 'no' as never }],
    ['cls_token_id', 'too big', { ...word, cls_token_id: 900 }],
    ['unknown_token_id', 'none', { ...word, ...noUnknown(word) }],
    ['unknown_token_id', 'none', { ...unigram, ...noUnknown(unigram) }],
  ])('%s: %s', async (key, _, metadata) => {
    const error = await ggufTokenizer(metadata).catch((e) => e);
    expect(error.code, error.message).toBe('ERR_MODEL_FORMAT');
    expect(error.message).toContain(`tokenizer.ggml.${key}`);
    expect(error.param).toBe(`tokenizer.ggml.${key}`);
  });

  it('refuses other models by name', async () => {
    const error = await ggufTokenizer({ ...spm, model: 'rwkv' }).catch((e) => e);
    expect(error).toMatchObject({ code: 'ERR_MODEL_UNSUPPORTED', param: 'tokenizer.ggml.model' });
    expect(error.message).toContain('"rwkv"');
  });
});

import { Tokenizer as Library } from 'tokenizers';
import { describe, expect, it } from 'vitest';
import { ggufTokenizer, ggufTokenizerFiles } from '../../lib/text/gguf-tokenizer.js';
import { goldenMetadata } from './support.js';

describe('pre-tokenizers', () => {
  it('knows the aliases and refuses what it does not know, by name', async () => {
    const bpe = goldenMetadata('bpe-qwen2');
    const alias = await ggufTokenizer({ ...bpe, pre: 'deepseek-r1-qwen' });
    expect(await alias.encode("a's 12")).toEqual(await (await ggufTokenizer(bpe)).encode("a's 12"));
    for (const pre of ['default', 'deepseek-v3', 'constructor', '']) {
      const error = await ggufTokenizer({ ...bpe, pre }).catch((e) => e);
      expect(error.code).toBe('ERR_MODEL_UNSUPPORTED');
      expect(error.message).toContain(JSON.stringify(pre));
    }
    await expect(ggufTokenizer({ ...bpe, pre: undefined })).rejects.toMatchObject({
      code: 'ERR_MODEL_UNSUPPORTED',
    });
  });

  it('takes a word that is a token whole, without merges, only where the rule says so', async () => {
    const tokens = ['a', 'b', 'c', 'abc', 'Ġ'];
    const ids = async (pre: string) =>
      (await ggufTokenizer({ model: 'gpt2', pre, tokens, merges: [] })).encode('abc ab');
    expect(await ids('llama-bpe')).toEqual([3, 4, 0, 1]);
    expect(await ids('tekken')).toEqual([3, 4, 0, 1]);
    expect(await ids('qwen2')).toEqual([0, 1, 2, 4, 0, 1]);
  });

  it.each([
    ['tekken', 'HelloWorld 12/\n', ['Hello', 'World', 'Ġ', '1', '2', '/Ċ']],
    ['gpt-4o', "HelloWorld's 1234", ['Hello', "World's", 'Ġ', '123', '4']],
    ['smaug-bpe', "it's 12345 ok", ['it', "'s", 'Ġ', '123', '45', 'Ġok']],
    ['starcoder', 'ab 123', ['ab', 'Ġ', '1', '2', '3']],
  ])('%s cuts words as it should', async (pre, text, words) => {
    const { json } = await ggufTokenizerFiles({ ...goldenMetadata('bpe-gpt-2'), pre });
    const cut = Library.fromString(json).getPreTokenizer()!.preTokenizeString(text);
    expect(cut.map(([word]) => word)).toEqual(words);
  });
});

import { Tokenizer as Library } from 'tokenizers';
import { describe, expect, it } from 'vitest';
import { Detokenizer } from '../../lib/text/detokenizer.js';
import {
  type GgufTokenizerMetadata,
  ggufTokenizer,
  ggufTokenizerFiles,
} from '../../lib/text/gguf-tokenizer.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import {
  ENCODER_CASES,
  FIXTURES,
  GGUF_CASES,
  type GoldenText,
  goldenMetadata,
  readJson,
} from './support.js';

/** Those that compose characters, as the families' own files do; llama.cpp does not. */
const NFC = new Set(['bpe-qwen2', 'bpe-qwen35', 'bpe-modern-bert']);

/** Without what the model's own tokenizer does first, which the goldens leave out. */
async function asIs(metadata: GgufTokenizerMetadata): Promise<Tokenizer> {
  const { json, config, charsmap } = await ggufTokenizerFiles(metadata);
  const { normalizer, ...rest } = JSON.parse(json);
  const left = normalizer?.type === 'NFC' ? null : normalizer;
  return Tokenizer.fromJson(JSON.stringify({ ...rest, normalizer: left }), config, 'golden', {
    charsmap,
  });
}
const TEXT = { addSpecialTokens: false, parseSpecialTokens: false };

describe.each([...GGUF_CASES, ...ENCODER_CASES])('golden %s', (name) => {
  const goldens = readJson<GoldenText[]>(`${FIXTURES}${name}.json`);

  it('encodes and decodes every text as the reference does', async () => {
    const metadata = goldenMetadata(name);
    const plain = await asIs(metadata);
    const tokenizer = await ggufTokenizer(metadata);
    expect(goldens.length).toBeGreaterThan(20);
    for (const { text, token_ids, hf_token_ids, decoded } of goldens) {
      expect(await plain.encode(text, TEXT), text).toEqual(hf_token_ids ?? token_ids);
      const own = await tokenizer.encode(text, TEXT);
      const nfc = NFC.has(name) ? text.normalize('NFC') : text;
      expect(own, text).toEqual(await plain.encode(nfc, TEXT));
      expect(await tokenizer.decode(token_ids, { skipSpecialTokens: false }), text).toBe(decoded);
      const stream = new Detokenizer(tokenizer, { skipSpecialTokens: false });
      const pieces = token_ids.map((id) => stream.push(id));
      expect(pieces.join('') + stream.flush(), text).toBe(decoded);
    }
  });

  it('gives every id its token back', async () => {
    const metadata = goldenMetadata(name);
    const tokenizer = await ggufTokenizer(metadata);
    const tokens = metadata.tokens as string[];
    expect(tokenizer.vocabSize).toBe(tokens.length);
    tokens.forEach((token, id) => {
      const own = tokenizer.idToToken(id) as string;
      expect(tokenizer.tokenToId(own)).toBe(id);
      if (name !== 'wordpiece') expect(own).toBe(token);
      else if (!token.startsWith('[')) {
        expect(own).toBe(token.startsWith('\u2581') ? token.slice(1) : `##${token}`);
      }
    });
    expect(tokenizer.bosTokenId).toBe(metadata.bos_token_id);
    expect(tokenizer.eosTokenId).toBe(metadata.eos_token_id);
  });
});

describe.each(GGUF_CASES)('special tokens of %s', (name) => {
  it('are parsed, BOS and EOS added where asked', async () => {
    const metadata = goldenMetadata(name);
    const tokenizer = await ggufTokenizer(metadata);
    const bos = (metadata.tokens as string[])[metadata.bos_token_id as number];
    const ids = await tokenizer.encode(`hi${bos}`, { addSpecialTokens: false });
    expect(ids.at(-1)).toBe(metadata.bos_token_id);
    const asked = await ggufTokenizer({ ...metadata, add_bos_token: true, add_eos_token: true });
    const both = await asked.encode('hi');
    expect([both[0], both.at(-1)]).toEqual([metadata.bos_token_id, metadata.eos_token_id]);
    expect(await asked.encode(bos)).toEqual([metadata.bos_token_id, metadata.eos_token_id]);
    const first = ['spm', 'gemma4'].includes(name);
    expect((await tokenizer.encode('hi'))[0] === metadata.bos_token_id).toBe(first);
  });
});

describe('encoders', () => {
  it('get their ends around one text, and between two', async () => {
    const word = goldenMetadata('wordpiece');
    const bert = await ggufTokenizer(word);
    const inner = await bert.encode('the sea', { addSpecialTokens: false });
    expect(await bert.encode('the sea')).toEqual([2, ...inner, 3]);
    const { bos_token_id: _, eos_token_id: __, ...older } = word;
    const named = await ggufTokenizer({ ...older, cls_token_id: 2 });
    expect(await named.encode('the sea')).toEqual([2, ...inner, 3]);
    expect(await named.encode('[CLS] the sea')).toEqual([2, 2, ...inner, 3]);
    const pairs = async (metadata: GgufTokenizerMetadata) => {
      const { json } = await ggufTokenizerFiles(metadata);
      const encoding = await Library.fromString(json).encode('the', 'sea');
      return [encoding.getIds(), encoding.getTypeIds()];
    };
    const [a, b] = [await bert.encode('the', TEXT), await bert.encode('sea', TEXT)];
    const types = [...Array(a.length + 2).fill(0), ...Array(b.length + 1).fill(1)];
    expect(await pairs(word)).toEqual([[2, ...a, 3, ...b, 3], types]);

    const uni = goldenMetadata('unigram');
    const t5 = await ggufTokenizer(uni);
    const [c, d] = [await t5.encode('the', TEXT), await t5.encode('sea', TEXT)];
    expect(await t5.encode('the')).toEqual([...c, 1]);
    expect((await pairs(uni))[0]).toEqual([...c, 1, ...d, 1]);
    const xlmr = { ...uni, bos_token_id: 0, add_bos_token: true };
    expect((await pairs(xlmr))[0]).toEqual([0, ...c, 1, 1, ...d, 1]);
    const bare = await ggufTokenizer({ ...uni, add_eos_token: false });
    expect(await bare.encode('the')).toEqual(c);
  });

  it('need them', async () => {
    const { bos_token_id: _, ...word } = goldenMetadata('wordpiece');
    await expect(ggufTokenizer(word)).rejects.toMatchObject({
      code: 'ERR_MODEL_FORMAT',
      param: 'tokenizer.ggml.cls_token_id',
    });
    const { eos_token_id: __, seperator_token_id: ___, ...open } = goldenMetadata('wordpiece');
    await expect(ggufTokenizer(open)).rejects.toMatchObject({
      param: 'tokenizer.ggml.seperator_token_id',
    });
  });
});

describe('Gemma 4', () => {
  it('gets its BOS whatever the file says, and may come as a byte-level file', async () => {
    const metadata = goldenMetadata('gemma4');
    const ids = await (await ggufTokenizer(metadata)).encode('the sea\n\n\nand');
    expect(ids[0]).toBe(metadata.bos_token_id);
    for (const pre of ['gemma4', 'granite-embed-multi-311m']) {
      const other = { ...metadata, model: 'gpt2', pre, add_bos_token: false };
      expect(await (await ggufTokenizer(other)).encode('the sea\n\n\nand')).toEqual(ids);
    }
    const without = await ggufTokenizer({ ...metadata, add_bos_token: false });
    expect(await without.encode('the sea\n\n\nand')).toEqual(ids);
  });
});

describe('token types', () => {
  const base: GgufTokenizerMetadata = {
    model: 'llama',
    tokens: ['<unk>', '<s>', '\u2581', 'a', '\u2581a', '<user>', '\u2581\u2581x', ''],
    scores: [0, 0, -1, -2, -3, 0, 0, 0],
    token_type: [2, 3, 1, 1, 1, 4, 4, 5],
    bos_token_id: 1,
    unknown_token_id: 0,
    add_bos_token: false,
  };

  it('finds user-defined tokens in text and shows them; control tokens are special', async () => {
    const tokenizer = await ggufTokenizer(base);
    expect(await tokenizer.encode('a<user>a')).toEqual([4, 5, 4]);
    expect(await tokenizer.decode([1, 4, 5, 4])).toBe('a<user> a');
    expect(await tokenizer.decode([1, 4], { skipSpecialTokens: false })).toBe('<s> a');
    expect([0, 1, 5, 4].map((id) => tokenizer.isSpecial(id))).toEqual([true, true, false, false]);
    expect(await tokenizer.encode('  x')).toEqual([6]);
    expect(tokenizer.idToToken(7)).toBe('[EMPTY_7]');
    expect(await tokenizer.encode('a?')).toEqual([4, 0]);
  });

  it('keeps spaces as they are without a space prefix', async () => {
    const tokenizer = await ggufTokenizer({ ...base, add_space_prefix: false });
    expect(await tokenizer.encode('a a')).toEqual([3, 4]);
    expect(await tokenizer.decode([4, 4])).toBe(' a a');
  });
});

describe('what the format calls optional', () => {
  const spm = () => goldenMetadata('spm');
  const shapeOf = async (metadata: GgufTokenizerMetadata) => {
    const { json } = await ggufTokenizerFiles(metadata);
    const { added_tokens: added, model } = JSON.parse(json);
    return { added: added.map((t: { content: string }) => t.content), model };
  };

  it('without scores all tokens come in the order of their ids', async () => {
    const tokens = ['<unk>', 'a', 'b', 'c', 'bc', 'ab'];
    const metadata = { model: 'llama', tokens, token_type: [2, 1, 1, 1, 1, 1] };
    const plain = await ggufTokenizer({
      ...metadata,
      add_bos_token: false,
      add_space_prefix: false,
    });
    expect(await plain.encode('abc')).toEqual([1, 4]);
    const scores = [0, -9, -9, -9, -2, -1];
    const scored = { ...metadata, scores, add_bos_token: false, add_space_prefix: false };
    expect(await (await ggufTokenizer(scored)).encode('abc')).toEqual([5, 3]);
  });

  it('without types: control tokens have a key or an ending spelling, bytes are spelled', async () => {
    const { token_type: _, ...metadata } = spm();
    const whole = await shapeOf(spm());
    const { added, model } = await shapeOf({ ...metadata, unknown_token_id: 0 });
    expect(added).toEqual(['<unk>', '<s>', '</s>']);
    expect(model).toMatchObject({ byte_fallback: true, unk_token: '<unk>' });
    expect(model.merges).toEqual(whole.model.merges);
    const more = await shapeOf({ ...spm(), control_token_ids: [300] });
    expect(more.added).toEqual([...whole.added, (spm().tokens as string[])[300]]);
  });
});

import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { ggufTokenizer } from '../../lib/text/gguf-tokenizer.js';
import { MAX_TEXT_LENGTH, Tokenizer } from '../../lib/text/tokenizer.js';
import {
  allTokenizers,
  demoJson,
  demoTokenizer,
  FIXTURES,
  type GoldenText,
  goldenMetadata,
  hf320,
  readJson,
} from './support.js';

interface DemoText {
  text: string;
  prompt_token_ids: number[];
  greedy_token_ids: number[];
  greedy_text: string;
}

const smallJson = () => JSON.parse(readFileSync(`${FIXTURES}hf-320.json`, 'utf8'));

describe('goldens', () => {
  it('hf-320', async () => {
    const tokenizer = hf320();
    for (const { text, token_ids, decoded } of readJson<GoldenText[]>(
      `${FIXTURES}hf-320.texts.json`,
    )) {
      expect(await tokenizer.encode(text), text).toEqual(token_ids);
      expect(await tokenizer.decode(token_ids), text).toBe(decoded);
    }
  });

  it('octavo-demo, with its BOS', async () => {
    const tokenizer = demoTokenizer();
    const texts = readJson<DemoText[]>(`${FIXTURES}octavo-demo.texts.json`);
    expect(texts.length).toBe(16);
    for (const golden of texts) {
      expect(await tokenizer.encode(golden.text)).toEqual(golden.prompt_token_ids);
      const all = { skipSpecialTokens: false };
      expect(await tokenizer.decode(golden.greedy_token_ids, all)).toBe(golden.greedy_text);
    }
    expect(tokenizer.vocabSize).toBe(4096);
    expect([tokenizer.bosTokenId, tokenizer.eosTokenId]).toEqual([0, 1]);
    expect([tokenizer.bosToken, tokenizer.eosToken, tokenizer.padToken]).toEqual([
      '<|bos|>',
      '<|eos|>',
      '<|pad|>',
    ]);
  });
});

describe('BOS and EOS', () => {
  const add = (over: object, config: object = {}) =>
    Tokenizer.fromJson(JSON.stringify({ ...smallJson(), ...over }), config);
  const names = { bos_token: '<|bos|>', eos_token: { content: '<|eos|>', lstrip: false } };
  const processor = JSON.parse(demoJson()).post_processor;

  it('is not doubled when the text begins with it', async () => {
    const tokenizer = demoTokenizer();
    const ids = await tokenizer.encode('Call me');
    expect(ids[0]).toBe(0);
    expect(await tokenizer.encode('<|bos|>Call me')).toEqual(ids);
    expect(await tokenizer.encode('<|bos|><|bos|>Call me')).toEqual([0, ...ids]);
    expect(await tokenizer.encode('<|bos|>Call me', { addSpecialTokens: false })).toEqual(ids);
    expect(await tokenizer.encode('Call me', { addSpecialTokens: false })).toEqual(ids.slice(1));
    expect(await tokenizer.encode('')).toEqual([0]);
  });

  it('is found in the post-processor where the config names none', async () => {
    const tokenizer = Tokenizer.fromJson(demoJson());
    expect([tokenizer.bosTokenId, tokenizer.eosTokenId]).toEqual([0, undefined]);
    expect(await tokenizer.encode('<|bos|>a')).toEqual(await tokenizer.encode('a'));
    const inside = add({ post_processor: { type: 'Sequence', processors: [processor] } });
    expect((await inside.encode('a'))[0]).toBe(0);
    expect(inside.bosTokenId).toBe(0);
  });

  it('comes from tokenizer_config.json where there is no post-processor', async () => {
    const plain = await add({}).encode('ab');
    expect(await add({}, names).encode('ab')).toEqual(plain);
    const both = add({}, { ...names, add_bos_token: true, add_eos_token: true });
    expect(await both.encode('ab')).toEqual([0, ...plain, 1]);
    expect(await both.encode('<|bos|>ab<|eos|>')).toEqual([0, ...plain, 1]);
    expect(await both.encode('ab', { addSpecialTokens: false })).toEqual(plain);
    const llama = add({}, { ...names, tokenizer_class: 'LlamaTokenizer' });
    expect(await llama.encode('ab')).toEqual([0, ...plain]);
    const off = add({}, { ...names, tokenizer_class: 'LlamaTokenizer', add_bos_token: false });
    expect(await off.encode('ab')).toEqual(plain);
  });

  it('follows the config above the post-processor only for Llama classes', async () => {
    const over = { post_processor: processor };
    const plain = await add({}).encode('ab');
    const config = { ...names, add_bos_token: false };
    expect(await add(over, config).encode('ab')).toEqual([0, ...plain]);
    const llama = { ...config, tokenizer_class: 'LlamaTokenizerFast' };
    expect(await add(over, llama).encode('ab')).toEqual(plain);
    expect(await add(over, { ...llama, add_bos_token: null }).encode('ab')).toEqual([0, ...plain]);
  });
});

describe('encode and decode', () => {
  let tokenizers: [string, Tokenizer][];
  beforeAll(async () => {
    tokenizers = await allTokenizers();
  });

  it('gives every text of the goldens back', async () => {
    const texts = readJson<GoldenText[]>(`${FIXTURES}hf-320.texts.json`).map(({ text }) => text);
    for (const [name, tokenizer] of tokenizers) {
      for (const text of texts.filter((t) => !t.includes('<s>'))) {
        const back = name === 'bpe-qwen2' ? text.normalize('NFC') : text;
        expect(await tokenizer.decode(await tokenizer.encode(text)), name).toBe(back);
      }
    }
  });

  it('refuses what is no argument', async () => {
    const [[, tokenizer]] = tokenizers;
    const invalid = expect.objectContaining({ code: 'ERR_INVALID_PARAM' });
    for (const options of [
      null,
      5,
      { addSpecialToken: true },
      { addSpecialTokens: 1 },
      { maxTokens: '5' },
    ]) {
      await expect(tokenizer.encode('x', options as never)).rejects.toEqual(invalid);
    }
    for (const options of [null, { skipSpecial: true }, { skipSpecialTokens: 0 }]) {
      await expect(tokenizer.decode([5], options as never)).rejects.toEqual(invalid);
    }
    for (const ids of [null, undefined, 5, 'x', [Object.create(null)], [Symbol('s')]]) {
      await expect(tokenizer.decode(ids as never)).rejects.toEqual(invalid);
    }
    for (const value of [undefined, null, 5n, {}, true]) {
      expect(() => tokenizer.tokenToId(value as never)).toThrow(invalid);
      expect(() => tokenizer.idToToken(value as never)).toThrow(invalid);
    }
  });

  it('refuses a text of more than maxTokens, and knows its longest token', async () => {
    for (const [name, tokenizer] of tokenizers) {
      const ids = await tokenizer.encode('The sea, the sea!');
      const { length } = ids;
      expect(await tokenizer.encode('The sea, the sea!', { maxTokens: length }), name).toEqual(ids);
      const few = tokenizer.encode('The sea, the sea!', { maxTokens: length - 3 });
      await expect(few, name).rejects.toMatchObject({
        code: 'ERR_PROMPT_TOO_LONG',
        param: 'prompt',
      });
      const lengths = Array.from(
        { length: tokenizer.vocabSize },
        (_, id) => tokenizer.idToToken(id)?.length ?? 0,
      );
      expect(await tokenizer.longestToken(), name).toBe(Math.max(...lengths));
    }
  });

  it('waits for its turn where there is a queue, which prompts have waited in already', async () => {
    const tokenizer = demoTokenizer();
    const sizes: number[] = [];
    tokenizer.useQueue(async (size, encode) => {
      sizes.push(size);
      return encode();
    });
    const ids = await tokenizer.encode('Call me');
    expect(await tokenizer.encodeNow('Call me')).toEqual(ids);
    expect(sizes).toEqual([7]);
    const long = ' '.repeat(MAX_TEXT_LENGTH + 1);
    await expect(tokenizer.encode(long)).rejects.toMatchObject({ code: 'ERR_PROMPT_TOO_LONG' });
  });

  it('refuses ids that are not in the vocabulary', async () => {
    for (const [name, tokenizer] of tokenizers) {
      for (const id of [tokenizer.vocabSize, -1, 1.5, 2 ** 32, Number.NaN, '3' as never]) {
        const error = await tokenizer.decode([3, id]).catch((e) => e);
        expect(error.code, `${name} ${id}`).toBe('ERR_INVALID_PARAM');
        expect(error.message).toMatch(/^Token id \S+ at position 1 is not/);
      }
      expect(await tokenizer.decode([])).toBe('');
      expect(await tokenizer.decode(Int32Array.of(5, 6))).toBe(await tokenizer.decode([5, 6]));
    }
  });

  it('refuses what is not text, and takes broken UTF-16', async () => {
    for (const text of [5, null, undefined, ['a']]) {
      await expect(hf320().encode(text as never)).rejects.toMatchObject({
        code: 'ERR_INVALID_PROMPT',
      });
    }
    const ids = await hf320().encode('a\ud800b');
    expect(await hf320().decode(ids)).toBe('a\ufffdb');
  });

  it('shows or hides special tokens', async () => {
    const tokenizer = demoTokenizer();
    const ids = await tokenizer.encode('a<|eos|>b');
    expect(await tokenizer.decode(ids)).toBe('ab');
    expect(await tokenizer.decode(ids, { skipSpecialTokens: false })).toBe('<|bos|>a<|eos|>b');
    expect([0, 1, 2, 3].map((id) => tokenizer.isSpecial(id))).toEqual([true, true, true, false]);
    expect([tokenizer.idToToken(0), tokenizer.idToToken(9999)]).toEqual(['<|bos|>', null]);
    expect([tokenizer.tokenToId('<|eos|>'), tokenizer.tokenToId('no such')]).toEqual([
      1,
      undefined,
    ]);
  });

  it('keeps valid characters beside broken bytes (SentencePiece)', async () => {
    const spm = await ggufTokenizer(goldenMetadata('spm'));
    const ids = (bytes: number[]) =>
      bytes.map((b) => spm.tokenToId(`<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`)!);
    expect(await spm.decode(ids([0xe2, 0x82, 0xac, 0xe2, 0x82, 0x41, 0xff]))).toBe(
      '€\ufffd\ufffdA\ufffd',
    );
    expect(await spm.decode(ids([0xe2, 0x82, 0xac, 0x41]))).toBe('€A');
    expect(await spm.decode([...ids([0xe2]), 1, ...ids([0x82, 0xac])])).toBe('€');
    expect(await hf320().byteOf(5)).toBe(undefined);
  });

  it('ignores truncation and padding in the file', async () => {
    const truncation = { direction: 'Right', max_length: 2, strategy: 'LongestFirst', stride: 0 };
    const padding = {
      strategy: { Fixed: 50 },
      direction: 'Right',
      pad_to_multiple_of: null,
      pad_id: 2,
      pad_type_id: 0,
      pad_token: '<|pad|>',
    };
    const tokenizer = Tokenizer.fromJson(JSON.stringify({ ...smallJson(), truncation, padding }));
    const text = 'The whale, the whale!';
    expect(await tokenizer.encode(text)).toEqual(await hf320().encode(text));
  });

  it('reads members that stand behind the vocabulary', async () => {
    const { model, ...rest } = JSON.parse(demoJson());
    const tokenizer = Tokenizer.fromJson(JSON.stringify({ model, ...rest }));
    expect([tokenizer.isSpecial(1), tokenizer.bosTokenId]).toEqual([true, 0]);
  });
});

describe('damaged files', () => {
  it.each([
    '',
    '{',
    '{}',
    '[]',
    'null',
    '"x"',
    '{"version":"1.0","model":{"type":"Nonsense"}}',
    demoJson().slice(0, 5000),
  ])('refuses %.20s', (json) => {
    const attempt = () => Tokenizer.fromJson(json, {}, 'my/tokenizer.json');
    expect(attempt).toThrow(
      expect.objectContaining({ code: 'ERR_TOKENIZER', param: 'my/tokenizer.json' }),
    );
    expect(attempt).toThrow(/^my\/tokenizer\.json is not a tokenizer/);
  });

  it('refuses a config that is none, naming the member', () => {
    for (const config of [{ eos_token: 5 }, { add_bos_token: 'yes' }, { bos_token: {} }, null]) {
      expect(() => Tokenizer.fromJson(demoJson(), config as never)).toThrow(
        expect.objectContaining({ code: 'ERR_TOKENIZER' }),
      );
    }
    expect(() => Tokenizer.fromJson(demoJson(), { eos_token: 5 } as never)).toThrow(/"eos_token"/);
    const tokenizer = Tokenizer.fromJson(demoJson(), { eos_token: null, bos_token: 'none such' });
    expect([tokenizer.eosTokenId, tokenizer.bosTokenId]).toEqual([undefined, undefined]);
  });
});

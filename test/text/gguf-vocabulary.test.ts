import { describe, expect, it } from 'vitest';
import type { GgufTokenizerMetadata } from '../../lib/text/gguf-metadata.js';
import {
  addedJson,
  hasBytes,
  indexed,
  readVocabulary,
  scoredVocabJson,
  unknownId,
  vocabJson,
} from '../../lib/text/gguf-vocabulary.js';

const bert: GgufTokenizerMetadata = {
  model: 'bert',
  tokens: ['[PAD]', '[UNK]', '\u2581the', 's', '', '\u2581', '\u2581[unused1]'],
  token_type: [3, 2, 1, 1, 5, 1, 1],
};

describe('tokens as a tokenizer.json spells them', () => {
  it('WordPiece: ## inside words, nothing before others', async () => {
    const { tokens, idOf } = await indexed(await readVocabulary(bert));
    expect(tokens).toEqual([
      ...['[PAD]', '[UNK]', 'the', '##s', '[EMPTY_4]', '[EMPTY_5]', '[unused1]'],
    ]);
    expect(idOf.get('##s')).toBe(3);
    expect(JSON.parse(await vocabJson(await readVocabulary(bert)))).toMatchObject({ the: 2 });
    const odd = ['"', '\\', '\n', 'a"b', '\ud800', '\u007f', '\u{1f600}', '7', '__proto__'];
    const spelled = JSON.parse(
      await vocabJson(await readVocabulary({ model: 'gpt2', tokens: odd })),
    );
    expect(Object.entries(spelled).sort()).toEqual(odd.map((token, id) => [token, id]).sort());
    const twice = { ...bert, tokens: [...(bert.tokens ?? []).slice(0, 6), '\u2581the'] };
    const error = await indexed(await readVocabulary(twice)).catch((e) => e);
    expect(error).toMatchObject({ code: 'ERR_MODEL_FORMAT', param: 'tokenizer.ggml.tokens' });
  });

  it('added ones, special or not', async () => {
    const vocabulary = await readVocabulary({
      model: 'gpt2',
      tokens: ['a', '<s>', '<u>', '<w>'],
      token_type: [1, 3, 2, 4],
    });
    const added = JSON.parse(await addedJson(vocabulary));
    expect(added.map((t: { id: number; special: boolean }) => [t.id, t.special])).toEqual([
      [1, true],
      [2, true],
      [3, false],
    ]);
  });

  it('of a unigram model with scores, the least for whatever is not normal', async () => {
    const metadata = {
      model: 't5',
      tokens: ['</s>', '<unk>', 'a', 'b', '[PAD3]'],
      scores: Float32Array.of(0, 0, -1.5, -0.1, -10000),
      token_type: [3, 2, 1, 1, 5],
    };
    const list = JSON.parse(await scoredVocabJson(metadata, await readVocabulary(metadata)));
    expect(list).toEqual([
      ['</s>', -1.5],
      ['<unk>', -1.5],
      ['a', -1.5],
      ['b', Math.fround(-0.1)],
      ['[PAD3]', -1.5],
    ]);
    const broken = { ...metadata, scores: [0, 0, 0, Number.NaN, 0] };
    await expect(scoredVocabJson(broken, await readVocabulary(broken))).rejects.toMatchObject({
      param: 'tokenizer.ggml.scores',
    });
  });
});

describe('what is looked up', () => {
  it('the unknown token, by key before type', async () => {
    const vocabulary = await readVocabulary(bert);
    expect(unknownId(bert, vocabulary)).toBe(1);
    expect(unknownId({ ...bert, unknown_token_id: 3 }, vocabulary)).toBe(3);
    const none = { ...bert, token_type: [3, 3, 1, 1, 5, 1, 1] };
    expect(unknownId(none, await readVocabulary(none))).toBeUndefined();
  });

  it('bytes, by type or spelling', async () => {
    const read = async (tokens: string[], token_type?: number[]) =>
      indexed(await readVocabulary({ model: 'llama', tokens, token_type }));
    expect(hasBytes(await read(['a', '<0x00>'], [1, 6]))).toBe(true);
    expect(hasBytes(await read(['a', '<0x00>'], [1, 1]))).toBe(true);
    expect(hasBytes(await read(['a', '<0x00>']))).toBe(true);
    expect(hasBytes(await read(['a', '<0x0>']))).toBe(false);
    const wrong = await read(['a', '<0x0>'], [1, 6]);
    expect(() => hasBytes(wrong)).toThrow(
      expect.objectContaining({ param: 'tokenizer.ggml.token_type' }),
    );
  });
});

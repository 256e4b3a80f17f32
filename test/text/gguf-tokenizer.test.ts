import { describe, expect, it } from 'vitest';
import {
  type GgufTokenizerMetadata,
  ggufTokenizer,
  ggufTokenizerFiles,
} from '../../lib/text/gguf-tokenizer.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { watchEventLoop } from '../support/event-loop.js';
import {
  FIXTURES,
  GGUF_CASES,
  type GoldenText,
  goldenMetadata,
  random,
  readJson,
  SEED,
} from './support.js';

/** A tokenizer that does not parse special tokens in the text, as the goldens were made. */
async function withoutAdded(metadata: GgufTokenizerMetadata): Promise<Tokenizer> {
  const { json, config } = await ggufTokenizerFiles(metadata);
  return Tokenizer.fromJson(JSON.stringify({ ...JSON.parse(json), added_tokens: [] }), config);
}

describe.each(GGUF_CASES)('golden %s', (name) => {
  const goldens = readJson<GoldenText[]>(`${FIXTURES}${name}.json`);

  it('encodes and decodes every text as the reference does', async () => {
    const metadata = goldenMetadata(name);
    const plain = await withoutAdded(metadata);
    const tokenizer = await ggufTokenizer(metadata);
    expect(goldens.length).toBeGreaterThan(20);
    for (const { text, token_ids, decoded } of goldens) {
      expect(await plain.encode(text, { addSpecialTokens: false }), text).toEqual(token_ids);
      expect(await tokenizer.decode(token_ids), text).toBe(decoded);
    }
  });

  it('parses special tokens, gives every id its token back, adds BOS where asked', async () => {
    const metadata = goldenMetadata(name);
    const tokenizer = await ggufTokenizer(metadata);
    const tokens = metadata.tokens as string[];
    expect(tokenizer.vocabSize).toBe(tokens.length);
    tokens.forEach((token, id) => {
      expect(tokenizer.idToToken(id)).toBe(token);
      expect(tokenizer.tokenToId(token)).toBe(id);
    });
    const bos = tokens[metadata.bos_token_id as number];
    expect(tokenizer.bosTokenId).toBe(metadata.bos_token_id);
    expect(tokenizer.eosTokenId).toBe(metadata.eos_token_id);
    const ids = await tokenizer.encode(`hi${bos}`, { addSpecialTokens: false });
    expect(ids.at(-1)).toBe(metadata.bos_token_id);
    const asked = await ggufTokenizer({ ...metadata, add_bos_token: true, add_eos_token: true });
    const both = await asked.encode('hi');
    expect([both[0], both.at(-1)]).toEqual([metadata.bos_token_id, metadata.eos_token_id]);
    expect(await asked.encode(bos)).toEqual([metadata.bos_token_id, metadata.eos_token_id]);
    expect((await tokenizer.encode('hi'))[0] === metadata.bos_token_id).toBe(name === 'spm');
  });
});

/** SentencePiece by the book: join the best-scored neighbours, leftmost first, to the end. */
function sentencePiece(
  text: string,
  tokens: readonly string[],
  scores: readonly number[],
): number[] {
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const pieces = [...text.replaceAll(' ', '\u2581')];
  for (;;) {
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let i = 0; i + 1 < pieces.length; i++) {
      const id = idOf.get(pieces[i] + pieces[i + 1]);
      if (id !== undefined && scores[id] > bestScore) [best, bestScore] = [i, scores[id]];
    }
    if (best < 0) break;
    pieces.splice(best, 2, pieces[best] + pieces[best + 1]);
  }
  return pieces.flatMap((piece) => {
    const id = idOf.get(piece);
    if (id !== undefined) return [id];
    return [...Buffer.from(piece)].map(
      (b) => idOf.get(`<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`)!,
    );
  });
}

describe('scores as merges', () => {
  it('equals joining by score on random texts', async () => {
    const metadata = goldenMetadata('spm');
    const { tokens, scores } = metadata as { tokens: string[]; scores: number[] };
    const tokenizer = await withoutAdded({ ...metadata, add_space_prefix: false });
    const next = random(SEED);
    const alphabet = ['a', 'e', 't', 'h', 's', ' ', 'l', 'é', '中', 'th', 'the ', 'in', 'll', '  '];
    for (let round = 0; round < 400; round++) {
      const few = alphabet.slice(Math.floor(next() * 8), 8 + Math.floor(next() * 7));
      const text = Array.from(
        { length: 1 + Math.floor(next() * 40) },
        () => few[Math.floor(next() * few.length)],
      ).join('');
      const ids = await tokenizer.encode(text, { addSpecialTokens: false });
      expect(ids, `seed ${SEED} text ${JSON.stringify(text)}`).toEqual(
        sentencePiece(text, tokens, scores),
      );
    }
  });

  it('orders by score whatever the ids, negative, zero and positive', async () => {
    const tokens = ['<unk>', 'a', 'b', 'c', 'ab', 'bc', 'abc'];
    const token_type = [2, 1, 1, 1, 1, 1, 1];
    const metadata = {
      model: 'llama',
      tokens,
      token_type,
      add_space_prefix: false,
      add_bos_token: false,
    };
    const ids = async (scores: number[], text: string) =>
      (await ggufTokenizer({ ...metadata, scores: Float32Array.from(scores) })).encode(text);
    expect(await ids([0, -5, -6, -7, -2, -1, -9], 'abcab')).toEqual([6, 4]);
    expect(await ids([0, -5, -6, -7, 2, 1.5, -9], 'bcab')).toEqual([5, 4]);
    expect(await ids([0, 0, 0, 0, -1, 3, -9], 'ab')).toEqual([4]);
    const without = { ...metadata, tokens: tokens.slice(0, 6), token_type: token_type.slice(0, 6) };
    const best = (scores: number[]) =>
      ggufTokenizer({ ...without, scores }).then((t) => t.encode('abc'));
    expect(await best([0, 0, 0, 0, -1, -2])).toEqual([4, 3]);
    expect(await best([0, 0, 0, 0, -2, -1])).toEqual([1, 5]);
    expect(await best([0, 0, 0, 0, 1, 2])).toEqual([1, 5]);
    expect(await best([0, 0, 0, 0, 2, -1])).toEqual([4, 3]);
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

describe('a big vocabulary', () => {
  it('is converted without blocking the event loop', async () => {
    const next = random(SEED);
    const letters = 'abcdefghijklmnopqrst';
    const known = new Set<string>(['<unk>', ...letters]);
    const list = [...known];
    while (list.length < 60_000) {
      const token =
        list[1 + Math.floor(next() * (list.length - 1))] + letters[Math.floor(next() * 20)];
      if (token.length < 16 && !known.has(token)) {
        known.add(token);
        list.push(token);
      }
    }
    const metadata = {
      model: 'llama',
      tokens: list,
      scores: list.map((_, id) => -id),
      token_type: list.map((_, id) => (id === 0 ? 2 : 1)),
      add_bos_token: false,
    };
    const { value, turns, longest } = await watchEventLoop(() => ggufTokenizerFiles(metadata));
    const { json } = value;
    expect(JSON.parse(json).model.merges.length).toBeGreaterThan(59_000);
    console.log(`longest turn ${longest.toFixed(1)} ms`);
    expect(turns).toBeGreaterThan(10); // it takes a tenth of a second and yields every few ms
  });
});

import { describe, expect, it } from 'vitest';
import { listedMerges } from '../../lib/text/gguf-merges.js';
import {
  type GgufTokenizerMetadata,
  ggufTokenizer,
  ggufTokenizerFiles,
} from '../../lib/text/gguf-tokenizer.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { watchEventLoop } from '../support/event-loop.js';
import { SEED } from '../support/seed.js';
import { goldenMetadata, random } from './support.js';

/** A tokenizer that does not parse special tokens in the text, as the goldens were made. */
async function withoutAdded(metadata: GgufTokenizerMetadata): Promise<Tokenizer> {
  const { json, config } = await ggufTokenizerFiles(metadata);
  return Tokenizer.fromJson(JSON.stringify({ ...JSON.parse(json), added_tokens: [] }), config);
}

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

describe('merges that a file lists', () => {
  it('are pairs only where a text of both could be read in two ways', async () => {
    const json = async (merges: string[]) => JSON.parse(await listedMerges({ merges }));
    expect(await json(['a b', '" \\', 'a '])).toEqual(['a b', '" \\', 'a ']);
    for (const odd of ['#version a', ' a b', 'a b c', `a ${'b'.repeat(70_000)}`]) {
      const space = odd.indexOf(' ', 1);
      const pair = [odd.slice(0, space), odd.slice(space + 1)];
      expect(await json(['a b', odd])).toEqual([['a', 'b'], pair]);
    }
    expect(await json([])).toEqual([]);
  });

  it('join the same tokens as pairs and as texts', async () => {
    const tokens = ['\u2581', 'a', 'b', 'ab', 'b ', 'c', 'abb '];
    const metadata = { model: 'gemma4', tokens };
    const idsOf = async (merges: string[]) =>
      (await ggufTokenizer({ ...metadata, merges })).encode('abc');
    expect(await idsOf(['a b'])).toEqual([3, 5]);
    expect(await idsOf(['a b', 'ab b '])).toEqual([3, 5]);
  });
});

describe('tokens', () => {
  it('tokens whose cuts would take minutes are refused', async () => {
    for (const length of [50_000, 70_000]) {
      const tokens = ['a', 'x'.repeat(length)];
      const error = await ggufTokenizer({ model: 'llama', tokens }).catch((e) => e);
      expect(error).toMatchObject({ code: 'ERR_MODEL_FORMAT', param: 'tokenizer.ggml.tokens' });
      expect(error.message.length).toBeLessThan(200);
    }
  });
});

import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import {
  idMaker,
  idsBelow,
  idsOfWords,
  prefixRepetitionRequests,
  randomRequests,
  textMaker,
} from '../../lib/loadgen/datasets.js';
import { Random } from '../../lib/loadgen/random.js';
import { objectsOf, shareGptRequests } from '../../lib/loadgen/sharegpt.js';
import { wordIds } from '../support/openai-server.js';
import { random } from '../support/random.js';
import { refusal, temporaryFolder, write } from '../support/write-model.js';

const tokens = { encode: async (text: string) => wordIds(text) };
const OPTIONS = { inputLen: 40, outputLen: 10, rangeRatio: 0.5, prefixLen: 8 };

describe('random', () => {
  it('ids: exact lengths in their range, one prefix, all below the vocabulary', async () => {
    const rng = new Random(1);
    const requests = await randomRequests(500, OPTIONS, idMaker(idsBelow(50), rng), rng);
    const inputs = requests.map(({ promptTokens }) => promptTokens - 8);
    const outputs = requests.map(({ outputTokens }) => outputTokens);
    expect([Math.min(...inputs), Math.max(...inputs)]).toEqual([20, 60]);
    expect([Math.min(...outputs), Math.max(...outputs)]).toEqual([5, 15]);
    const prompts = requests.map(({ prompt }) => prompt as number[]);
    expect(prompts.map(({ length }) => length)).toEqual(requests.map((one) => one.promptTokens));
    expect(new Set(prompts.map((ids) => ids.slice(0, 8).join())).size).toBe(1);
    expect(new Set(prompts.map((ids) => ids.slice(8, 16).join())).size).toBe(500);
    expect(new Set(prompts.flat())).toEqual(new Set(idsBelow(50)));
  });

  it('ids of words are ids that the tokenizer gives', async () => {
    const ids = await idsOfWords(tokens, new Random(2));
    expect(ids.length).toBeGreaterThan(300);
    expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
  });

  it('text: as many tokens as asked, by who counts', async () => {
    for (const counter of [
      tokens,
      {
        encode: async (text: string) =>
          Array.from(text)
            .map((_, i) => i)
            .slice(0, Math.ceil(text.length / 3)),
      },
    ]) {
      const rng = new Random(3);
      const requests = await randomRequests(50, OPTIONS, textMaker(counter, rng), rng);
      for (const { prompt, promptTokens } of requests) {
        const got = (await counter.encode(prompt as string)).length;
        expect(Math.abs(got - promptTokens)).toBeLessThanOrEqual(2); // two parts were joined
        expect(promptTokens).toBeGreaterThanOrEqual(8 + 20 - 2);
        expect(promptTokens).toBeLessThanOrEqual(8 + 60 + 2);
      }
      expect(new Set(requests.map(({ prompt }) => prompt)).size).toBe(50);
    }
  });

  it('text without a counter: a word a token', async () => {
    const rng = new Random(4);
    const options = { inputLen: 12, outputLen: 3, rangeRatio: 0, prefixLen: 0 };
    const [{ prompt, promptTokens, outputTokens }] = await randomRequests(
      1,
      options,
      textMaker(null, rng),
      rng,
    );
    expect((prompt as string).split(' ')).toHaveLength(12);
    expect([promptTokens, outputTokens]).toEqual([12, 3]);
  });

  it('the seed decides', async () => {
    const make = (seed: number) => {
      const rng = new Random(seed);
      return randomRequests(5, OPTIONS, idMaker(idsBelow(1000), rng), rng);
    };
    expect(await make(1)).toEqual(await make(1));
    expect(await make(1)).not.toEqual(await make(2));
  });
});

describe('prefix_repetition', () => {
  const options = { prefixLen: 6, suffixLen: 4, numPrefixes: 3, outputLen: 9 };

  it('uses each prefix equally often, in any order', async () => {
    const rng = new Random(1);
    const requests = await prefixRepetitionRequests(31, options, idMaker(idsBelow(900), rng), rng);
    const prefixes = requests.map(({ prompt }) => (prompt as number[]).slice(0, 6).join());
    expect(requests).toHaveLength(30);
    const counts = [...new Set(prefixes)].map((one) => prefixes.filter((p) => p === one).length);
    expect(counts).toEqual([10, 10, 10]);
    expect(new Set(prefixes.slice(0, 10)).size).toBeGreaterThan(1);
    expect(requests[0]).toMatchObject({ promptTokens: 10, outputTokens: 9 });
  });

  it('wants a prompt for each prefix', async () => {
    const rng = new Random(1);
    const made = prefixRepetitionRequests(2, options, idMaker(idsBelow(9), rng), rng);
    expect((await refusal(made)).message).toBe(
      '--num-prompts (2) must be at least --prefix-repetition-num-prefixes (3)',
    );
  });
});

describe('sharegpt', () => {
  const words = (n: number) => Array.from({ length: n }, (_, i) => `w${i % 10}`).join(' ');
  const talk = (...turns: string[]) => ({
    id: 'x',
    conversations: turns.map((value) => ({ from: 'human', value })),
  });
  const list = [
    talk(words(5), words(6)),
    talk(words(3), words(6)), // a short prompt
    talk(words(6), words(2)), // a short answer
    talk(words(1025), words(6)), // a long prompt
    talk(words(1000), words(1049)), // long together
    talk('alone {"'),
    { id: 'none' },
    talk(words(7), words(8), words(9)),
  ];
  const file = (text: string) => write(temporaryFolder(), 'share.json', text);

  it('takes first turns of usual lengths, and again where they are too few', async () => {
    const path = file(JSON.stringify(list, null, 1));
    const requests = await shareGptRequests(5, { path }, tokens, new Random(1));
    const lengths = requests.map(
      ({ promptTokens, outputTokens }) => `${promptTokens}/${outputTokens}`,
    );
    expect(new Set(lengths)).toEqual(new Set(['5/6', '7/8']));
    expect(lengths).toHaveLength(5);
    // With a length of the caller's, short answers and long ones do as well.
    const fixed = await shareGptRequests(4, { path, outputLen: 2 }, tokens, new Random(1));
    const prompts = fixed.map(({ promptTokens }) => promptTokens);
    expect(new Set(prompts)).toEqual(new Set([5, 6, 7, 1000]));
    expect(fixed.every(({ outputTokens }) => outputTokens === 2)).toBe(true);
  });

  it('guesses four characters a token where nobody counts', async () => {
    const path = file(JSON.stringify([talk('x'.repeat(40), 'y'.repeat(20))]));
    const [one] = await shareGptRequests(1, { path }, null, new Random(1));
    expect([one.promptTokens, one.outputTokens]).toEqual([10, 5]);
  });

  it('a file that is none, is torn, or has nothing is an error with its name', async () => {
    const codes = async (path: string) =>
      refusal(shareGptRequests(1, { path }, tokens, new Random(1)));
    expect((await codes('/nowhere')).message).toMatch(/^cannot read \/nowhere: ENOENT/);
    expect((await codes(file('[{"conversations": ['))).message).toMatch(/ends within an object$/);
    expect((await codes(file('[{"conversations": x}]'))).code).toBe('ERR_FILE');
    expect((await codes(file('[]'))).message).toMatch(/has no conversation of a usual length$/);
  });

  it('objects are found wherever the bytes are cut, braces and quotes in texts too', async () => {
    const objects = [{ a: '}{"\\' }, { b: [{ c: '😀{' }] }, {}, { d: '\\"' }];
    const bytes = Buffer.from(JSON.stringify(objects, null, 2));
    for (let seed = 0; seed < 50; seed++) {
      const rng = random(seed);
      const parts: Buffer[] = [];
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + rng.integer(9);
        parts.push(bytes.subarray(at, (at += size)));
      }
      const found: unknown[] = [];
      for await (const text of objectsOf(Readable.from(parts))) found.push(JSON.parse(text));
      expect(found).toEqual(objects);
    }
  });
});

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nextRate, type Point, rung, rungBelow, sustained } from '../../bench/serving/curve.js';
import { perRow } from '../../bench/serving/int8-folder.js';
import { markdown } from '../../bench/serving/markdown.js';
import { Server } from '../../bench/serving/server.js';
import { wordsOf } from '../../bench/support/words.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { randomFrom } from '../support/fake-executor.js';

const folder = () => mkdtempSync(join(tmpdir(), 'octavo-test-'));

describe('the ladder of rates', () => {
  /** Climbs with a server whose latency is 10 ms, and ever more near its capacity. */
  function climb(capacity: number, limit: number, start: number) {
    const latency = (rate: number) => (rate < capacity ? 10 / (1 - rate / capacity) : 1e4);
    const tried: Point[] = [];
    for (let rate = nextRate(tried, limit, start); rate !== null; ) {
      tried.push({ rate, latency: latency(rate) });
      rate = nextRate(tried, limit, start);
    }
    return tried;
  }

  it('finds the rate at the limit from below and from above', () => {
    for (const capacity of [0.4, 1, 3.3, 6, 17]) {
      for (const start of [rungBelow(capacity) - 3, rungBelow(capacity) + 3]) {
        const tried = climb(capacity, 40, start);
        // 10 / (1 - x) = 40 at x = 3/4.
        const found = sustained(tried, 40)!;
        expect(found / (0.75 * capacity)).toBeGreaterThan(0.8);
        expect(found / (0.75 * capacity)).toBeLessThan(1.2);
        expect(new Set(tried.map(({ rate }) => rate)).size).toBe(tried.length);
      }
    }
  });

  it('stands on the same rungs wherever it starts, and ends without a crossing', () => {
    const rungs = Array.from({ length: 20 }, (_, i) => rung(i - 8));
    expect(rungs).toContain(4.5);
    for (const start of [-6, 0, 5]) {
      // All but the last are rungs: that one is where the limit should be.
      for (const { rate } of climb(3.3, 40, start).slice(0, -1)) expect(rungs).toContain(rate);
    }
    const never = climb(1e9, 40, 0);
    expect(never.length).toBeLessThan(12);
    expect(sustained(never, 40)).toBe(null);
  });

  it('takes the first crossing of a curve that goes to and fro', () => {
    const points = [
      ...[
        { rate: 1, latency: 10 },
        { rate: 2, latency: 50 },
        { rate: 3, latency: 20 },
      ],
    ];
    expect(sustained(points, 30)).toBeCloseTo(1.5);
  });
});

describe('the vocabulary of words', () => {
  it("is one token a word, in the model's own size, by Hugging Face's library", async () => {
    const { words, tokenizer } = wordsOf(20_000);
    const own = Tokenizer.fromJson(JSON.stringify(tokenizer));
    const random = randomFrom(5);
    const picked = Array.from({ length: 300 }, () => words[random(words.length)]);
    const ids = await own.encode(picked.join(''), { addSpecialTokens: false });
    expect(ids.length).toBe(300);
    const vocab = (tokenizer as { model: { vocab: Record<string, number> } }).model.vocab;
    expect([...ids]).toEqual(picked.map((word) => vocab[word.replace(' ', '\u0120')]));
    expect(Object.keys(vocab).length).toBe(20_000);
  });

  it('has the same tokens and merges in GGUF', () => {
    const { ggufKeys, tokenizer } = wordsOf(12_000);
    const bytes = (name: string) => Buffer.concat([...ggufKeys.find(([key]) => key === name)![1]]);
    /** An array of texts behind its kind, its items' kind, and their number. */
    const textsOf = (name: string) => {
      const all = bytes(name);
      const texts: string[] = [];
      for (let at = 16; at < all.length; ) {
        const length = Number(all.readBigUInt64LE(at));
        texts.push(all.subarray(at + 8, at + 8 + length).toString());
        at += 8 + length;
      }
      expect(Number(all.readBigUInt64LE(8))).toBe(texts.length);
      return texts;
    };
    const { model } = tokenizer as {
      model: { vocab: Record<string, number>; merges: [string, string][] };
    };
    const byId = Object.entries(model.vocab)
      .sort(([, a], [, b]) => a - b)
      .map(([token]) => token);
    expect(textsOf('tokenizer.ggml.tokens')).toEqual(byId);
    expect(textsOf('tokenizer.ggml.merges')).toEqual(model.merges.map((pair) => pair.join(' ')));
  });
});

it('int8 rows are the BF16 ones within half a step, each with its own scale', () => {
  const [rows, cols] = [7, 33];
  const random = randomFrom(9);
  const bits = Uint16Array.from({ length: rows * cols }, (_, i) => {
    const value = Float32Array.of(((random(2001) - 1000) / 1000) * 2 ** -Math.floor(i / cols));
    return new Uint32Array(value.buffer)[0] >>> 16;
  });
  // As they are read: somewhere in a file.
  const file = Buffer.concat([Buffer.alloc(999, 0xff), Buffer.from(bits.buffer)]);
  const { values, scales } = perRow(file.subarray(999), rows, cols);
  const int8 = new Int8Array(values.buffer);
  const scale = new Float32Array(scales.buffer);
  for (let i = 0; i < rows * cols; i++) {
    const exact = new Float32Array(Uint32Array.of(bits[i] << 16).buffer)[0];
    const step = scale[Math.floor(i / cols)];
    expect(Math.abs(int8[i] * step - exact)).toBeLessThanOrEqual(step * 0.5001);
  }
  for (let r = 0; r < rows; r++) {
    const row = int8.subarray(r * cols, (r + 1) * cols);
    expect(Math.max(...Array.from(row, Math.abs))).toBe(127);
  }
});

describe('a server process', () => {
  const SCRIPT = `
    const server = require('node:http').createServer((_, answer) => answer.end('yes'));
    server.listen(Number(process.argv[1]), '127.0.0.1');`;
  const commandOf = (port: number) => ({
    program: process.execPath,
    args: ['-e', SCRIPT, `${port}`],
  });

  it('starts, is held, goes on, and is gone', async () => {
    const server = await Server.start(commandOf, join(folder(), 'log'), 30_000);
    const isUp = () =>
      fetch(`${server.url}/health`, { signal: AbortSignal.timeout(500) }).then(
        () => true,
        () => false,
      );
    expect(server.cpuSeconds()).toBeGreaterThan(0);
    expect(server.peakMiB()).toBeGreaterThan(1);
    server.hold();
    expect(await isUp()).toBe(false);
    server.goOn();
    await expect.poll(isUp, { timeout: 10_000 }).toBe(true);
    server.kill();
    await expect.poll(isUp, { timeout: 10_000 }).toBe(false);
  });

  it('that ends, or does not answer, is told with the end of its log', async () => {
    const log = join(folder(), 'log');
    const ends = () => ({ program: process.execPath, args: ['-e', 'throw Error("no model")'] });
    await expect(Server.start(ends, log, 30_000)).rejects.toThrow(/ended with 1.*no model/s);
    const none = () => ({ program: join(log, 'nothing'), args: [] });
    await expect(Server.start(none, log, 30_000)).rejects.toThrow(/ENOTDIR|ENOENT/);
    const silent = () => ({
      program: process.execPath,
      args: ['-e', 'console.log("busy"); setInterval(() => {}, 1000)'],
    });
    await expect(Server.start(silent, log, 1500)).rejects.toThrow(/no answer within 1.5 s/);
  });
});

it('the page says ratios for peers, and what was refused', () => {
  const about = { model: 'm', weights: 'int8' };
  const rates = { name: 'sustained rate', unit: 'requests/s', limitMs: 36.4, ...about };
  const page = markdown(
    [
      { ...rates, engine: 'octavo', value: 6, octavoTimes: 1 },
      { ...rates, engine: 'peer', value: 2, octavoTimes: 3 },
      { name: '4 beams', unit: 's', ...about, engine: 'octavo', value: 1.25, octavoFaster: 1 },
      { name: '4 beams', unit: 's', ...about, engine: 'peer', value: 0, refused: 'it has none' },
    ],
    [],
    { effort: '15 s', limit: 4 },
  );
  expect(page).toContain('| sustained rate at 36.4 ms a token, requests/s | 6 | 2 (3 ×) |');
  expect(page).toContain('| 4 beams, s | 1.25 | refused: it has none |');
});

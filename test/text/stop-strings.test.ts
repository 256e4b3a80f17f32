import { describe, expect, it } from 'vitest';
import { StopStrings } from '../../lib/text/stop-strings.js';
import { SEED } from '../support/seed.js';
import { random } from './support.js';

/** The rule, naively, on the whole text: the earliest end, then the longest. */
function naive(text: string, stops: string[], from = 0): { end: number; stop: string } | null {
  let best: { end: number; stop: string } | null = null;
  for (const stop of stops) {
    for (let at = text.indexOf(stop); at >= 0; at = text.indexOf(stop, at + 1)) {
      const end = at + stop.length;
      if (end <= from) continue;
      if (best === null || end < best.end || (end === best.end && stop.length > best.stop.length)) {
        best = { end, stop };
      }
    }
  }
  return best;
}

/** Length of the longest end of a text that a stop string longer than it begins with. */
function mustHold(text: string, stops: string[]): number {
  for (let n = text.length; n > 0; n--) {
    const end = text.slice(-n);
    if (stops.some((stop) => stop.length > n && stop.startsWith(end))) return n;
  }
  return 0;
}

describe('random texts in random pieces, against indexOf', () => {
  it.each([false, true])('includeStopStrInOutput %s', (include) => {
    const next = random(SEED);
    const word = (letters: number, most: number) =>
      Array.from(
        { length: 1 + Math.floor(next() * most) },
        () => 'abc'[Math.floor(next() * letters)],
      ).join('');
    let found = 0;
    for (let round = 0; round < 4000; round++) {
      const letters = 1 + Math.floor(next() * 3);
      const stops = Array.from({ length: Math.floor(next() * 5) }, () => word(letters, 6));
      const pieces = Array.from({ length: Math.floor(next() * 12) }, () =>
        next() < 0.1 ? '' : word(letters, 4),
      );
      const gate = next() < 0.3 ? Math.floor(next() * pieces.length) : 0;
      const gated = pieces.slice(0, gate).join('').length;
      const about = `seed ${SEED} ${JSON.stringify({ stops, pieces, gate })}`;
      const matcher = new StopStrings(stops, { includeStopStrInOutput: include });
      let text = '';
      let stop: string | null = null;
      let seen = '';
      for (let i = 0; i < pieces.length && stop === null; i++) {
        const result = matcher.push(pieces[i], i >= gate);
        seen += pieces[i];
        text += result.text;
        stop = result.stop;
        if (stop === null) expect(seen.length - text.length, about).toBe(mustHold(seen, stops));
      }
      if (stop === null) text += matcher.flush();
      const expected = naive(pieces.join(''), stops, gated);
      expect(stop, about).toBe(expected?.stop ?? null);
      const end =
        expected === null
          ? undefined
          : include
            ? expected.end
            : expected.end - expected.stop.length;
      expect(text, about).toBe(pieces.join('').slice(0, end));
      if (expected !== null) {
        found++;
        expect(naive(seen.slice(0, -1), stops, gated) === null || pieces.join('').length > 0).toBe(
          true,
        );
      }
    }
    expect(found).toBeGreaterThan(500);
  });
});

it('stops in the piece in which the stop string ends', () => {
  const matcher = new StopStrings(['\n\nUser:']);
  expect(matcher.push('Hello.\n')).toEqual({ text: 'Hello.', stop: null });
  expect(matcher.push('\nUs')).toEqual({ text: '', stop: null });
  expect(matcher.push('er: more')).toEqual({ text: '', stop: '\n\nUser:' });
});

it('lets go of text that turns out not to be a stop string', () => {
  const matcher = new StopStrings(['abab!', 'ba?']);
  expect(matcher.push('xaba').text).toBe('x');
  expect(matcher.push('bab').text).toBe('ab');
  expect(matcher.push('a').text).toBe('ab');
  expect(matcher.push('?')).toEqual({ text: 'a', stop: 'ba?' });
});

it('takes the one that ends first, then the longest', () => {
  expect(new StopStrings(['abcd', 'bc']).push('abcd')).toEqual({ text: 'a', stop: 'bc' });
  expect(new StopStrings(['c', 'abc', 'bc']).push('xabc')).toEqual({ text: 'x', stop: 'abc' });
});

it('passes text through without stop strings', () => {
  const matcher = new StopStrings();
  expect(matcher.push('abc')).toEqual({ text: 'abc', stop: null });
  expect(matcher.flush()).toBe('');
});

it('clones in the middle of a stop string', () => {
  const one = new StopStrings(['stop'], { includeStopStrInOutput: true });
  expect(one.push('a st').text).toBe('a ');
  const two = one.clone();
  expect(one.push('op')).toEqual({ text: 'stop', stop: 'stop' });
  expect(two.push('ay')).toEqual({ text: 'stay', stop: null });
});

it('refuses what cannot be a stop string', () => {
  for (const stop of ['', 5, null, 'a\ud83d', '\ude00b']) {
    expect(() => new StopStrings(['ok', stop as never])).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_PARAM', param: 'stop' }),
    );
  }
});

it('finds the longest of many and of very long ones, in clones as well', () => {
  const many = Array.from({ length: 3000 }, (_, i) => `W${i.toString(36)}.`);
  const long = 'ab'.repeat(200_000);
  const matcher = new StopStrings([...many, long]);
  const other = matcher.clone();
  expect(matcher.push('W1W2')).toEqual({ text: 'W1', stop: null });
  expect(matcher.push('b.')).toEqual({ text: '', stop: 'W2b.' });
  expect(other.push(`x${long.slice(1)}`)).toEqual({ text: 'xb', stop: null });
  expect(other.push(`x${long}`)).toEqual({ text: `${long.slice(2)}x`, stop: long });
});

it('takes long and many stop strings in its stride', () => {
  // Quadratic in any of these numbers, it would take minutes and run into the time limit.
  const stops = Array.from({ length: 500 }, (_, i) => `${'a'.repeat(1000)}${i}`);
  const matcher = new StopStrings(stops);
  const piece = 'a'.repeat(999);
  for (let i = 0; i < 500; i++) {
    expect(matcher.push(piece)).toEqual({ text: '', stop: null });
    expect(matcher.push('b')).toEqual({ text: `${piece}b`, stop: null });
  }
});

import { expect, it } from 'vitest';
import { ByteRun, byteToken } from '../../lib/text/byte-runs.js';
import { SEED } from '../support/seed.js';
import { random } from './support.js';

/** What a run of bytes becomes, with its valid characters put together again. */
function decoded(bytes: readonly number[]): string {
  const run = new ByteRun();
  const out: string[] = [];
  for (const byte of bytes) run.push(byte, out);
  run.end(out);
  const parts = out.map((t) =>
    t === '\ufffd' ? [...Buffer.from(t)] : [Number.parseInt(t.slice(3, 5), 16)],
  );
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
    Uint8Array.from(parts.flat()),
  );
}

it('keeps valid UTF-8 and replaces every other byte', () => {
  const next = random(SEED);
  const leads = [
    0x00, 0x41, 0x80, 0x90, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff,
  ];
  for (let round = 0; round < 3000; round++) {
    const bytes = Array.from({ length: Math.floor(next() * 10) }, () =>
      next() < 0.3 ? 0x80 + Math.floor(next() * 0x40) : leads[Math.floor(next() * leads.length)],
    );
    const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    let expected = '';
    for (let at = 0; at < bytes.length; ) {
      let taken = 0;
      for (let n = 1; n <= 4 && taken === 0 && at + n <= bytes.length; n++) {
        try {
          expected += strict.decode(Uint8Array.from(bytes.slice(at, at + n)));
          taken = n;
        } catch {
          // not a character of n bytes
        }
      }
      if (taken === 0) expected += '\ufffd';
      at += Math.max(1, taken);
    }
    expect(decoded(bytes), `seed ${SEED} bytes ${bytes}`).toBe(expected);
  }
});

it('clones in the middle of a character', () => {
  const one = new ByteRun();
  one.push(0xe2, []);
  const two = one.clone();
  const [a, b]: string[][] = [[], []];
  one.push(0x82, a);
  one.push(0xac, a);
  two.end(b);
  expect([a.join(''), b.join(''), byteToken(0x0a)]).toEqual([
    '<0xE2><0x82><0xAC>',
    '\ufffd',
    '<0x0A>',
  ]);
  expect([one.strays, two.strays]).toEqual([0, 1]);
});

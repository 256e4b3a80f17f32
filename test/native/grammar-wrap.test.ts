/** The JS objects around native grammars: what they take, refuse, and do to memory that is closed. */
import { beforeAll, describe, expect, it } from 'vitest';
import { GrammarBuilder } from '../../lib/grammar/grammar.js';
import { encodeProgram } from '../../lib/grammar/program.js';
import type { NativeGrammar, NativeVocabulary } from '../../lib/native.js';
import { testAddon } from '../support/addon.js';

const LIMITS = { maxStates: 10_000, maxBytes: 2 ** 24, maxMs: 1_000 };
const TOKENS = ['a', 'b', 'ab', '"', 'aab', '', ''];
const TOOL = 5;
const END = 6;

const addon = testAddon();
let vocabulary: NativeVocabulary & { close(): void };

/** a b*, then the special token any number of times. */
function program(): Int32Array {
  const builder = new GrammarBuilder();
  const r = builder.regex;
  const word = r.concat(r.text('a'), r.repeat(r.text('b'), 0, Number.POSITIVE_INFINITY));
  const start = builder.newRule();
  builder.addAlternative(start, [{ terminal: word }]);
  builder.addAlternative(start, [{ rule: start }, { token: [TOOL] }]);
  builder.start({ rule: start });
  return encodeProgram(builder.build());
}

const compile = () =>
  addon.Grammar.compile(vocabulary, program(), LIMITS) as Promise<
    NativeGrammar & { close(): void; readonly numStates: number }
  >;

beforeAll(async () => {
  const bytes = TOKENS.map((t) => new TextEncoder().encode(t));
  const offsets = [0];
  for (const b of bytes) offsets.push(offsets.at(-1)! + b.length);
  const built = await addon.Vocabulary.build(
    Uint8Array.from(bytes.flatMap((b) => [...b])),
    Int32Array.from(offsets),
    Int32Array.of(END),
  );
  vocabulary = built as typeof vocabulary;
});

describe('a matcher', () => {
  const allowed = (matcher: { fillMask(into: Int32Array, offset: number): void }) => {
    const into = new Int32Array(3).fill(-1);
    matcher.fillMask(into, 1);
    expect([into[0], into[2]]).toEqual([-1, -1]);
    return TOKENS.flatMap((_, id) => ((into[1] >>> id) & 1 ? [id] : []));
  };

  it('allows what it then takes, and nothing else', async () => {
    const matcher = (await compile()).start();
    expect(allowed(matcher)).toEqual([0, 2]);
    expect([matcher.advance(1), matcher.length, matcher.complete()]).toEqual([false, 0, false]);
    expect([...matcher.forcedBytes()]).toEqual([97]);
    expect(matcher.advance(2)).toBe(true);
    expect(allowed(matcher)).toEqual([1, TOOL, END]);
    expect(matcher.acceptsBytes(new TextEncoder().encode('bba'))).toBe(2);
    expect([matcher.advance(TOOL), matcher.advance(1)]).toEqual([true, false]);
    expect([...matcher.forcedTokens()]).toEqual([]);
    expect(matcher.advance(END)).toBe(true);
    expect(allowed(matcher)).toEqual([]);
    expect([matcher.length, matcher.complete(), matcher.failure]).toEqual([3, true, '']);
  });

  it('forks and goes back', async () => {
    const matcher = (await compile()).start();
    matcher.advance(0);
    const fork = matcher.fork();
    expect([fork.advance(TOOL), fork.length, matcher.length]).toEqual([true, 2, 1]);
    fork.rollback(2);
    expect([fork.length, ...allowed(fork)]).toEqual([0, 0, 2]);
    expect(() => fork.rollback(1)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
    expect(matcher.advance(1)).toBe(true);
  });

  it('refuses a place outside the mask, and what is no token', async () => {
    const matcher = (await compile()).start();
    const bad = expect.objectContaining({ code: 'ERR_INVALID_OPTION' });
    for (const [words, offset] of [
      [0, 0],
      [1, 1],
      [1, -1],
      [1, 0.5],
    ]) {
      expect(() => matcher.fillMask(new Int32Array(words), offset)).toThrow(bad);
    }
    expect(() => matcher.fillMask(new Uint8Array(64) as never, 0)).toThrow(bad);
    expect(() => matcher.advance(-1)).toThrow(bad);
    expect(() => matcher.acceptsBytes('a' as never)).toThrow(bad);
    expect(matcher.advance(TOKENS.length)).toBe(false);
  });

  it('outlives its grammar and its vocabulary; closed ones refuse', async () => {
    const grammar = await compile();
    const matcher = grammar.start() as ReturnType<NativeGrammar['start']> & { close(): void };
    expect(grammar.memory).toBeGreaterThan(0);
    grammar.close();
    expect(() => grammar.start()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
    expect(allowed(matcher)).toEqual([0, 2]);
    matcher.close();
    matcher.close();
    expect(() => matcher.advance(0)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });
});

describe('a grammar', () => {
  it('is refused where its program is cut, spoilt or names no token', async () => {
    const words = program();
    const spoilt = Int32Array.from(words);
    spoilt[0]++;
    const few = await addon.Vocabulary.build(
      Uint8Array.of(97),
      Int32Array.of(0, 1),
      Int32Array.of(),
    );
    const code = { code: 'ERR_GRAMMAR' };
    await expect(
      addon.Grammar.compile(vocabulary, words.subarray(1), LIMITS),
    ).rejects.toMatchObject(code);
    await expect(addon.Grammar.compile(vocabulary, spoilt, LIMITS)).rejects.toMatchObject(code);
    await expect(addon.Grammar.compile(few, words, LIMITS)).rejects.toMatchObject(code);
    const small = { ...LIMITS, maxBytes: 100 };
    await expect(addon.Grammar.compile(vocabulary, words, small)).rejects.toMatchObject(code);
  });

  it('is made of a vocabulary, an Int32Array and limits', async () => {
    const code = { code: 'ERR_INVALID_OPTION' };
    const words = program();
    await expect(addon.Grammar.compile({} as never, words, LIMITS)).rejects.toMatchObject(code);
    await expect(
      addon.Grammar.compile(vocabulary, [...words] as never, LIMITS),
    ).rejects.toMatchObject(code);
    await expect(addon.Grammar.compile(vocabulary, words, {} as never)).rejects.toMatchObject(code);
    const fake = Object.create(Object.getPrototypeOf(vocabulary) as object) as NativeVocabulary;
    await expect(async () => addon.Grammar.compile(fake, words, LIMITS)).rejects.toThrow();
  });
});

describe('a vocabulary', () => {
  it.each<[string, number[], number[], number[]]>([
    ['no offsets', [], [], []],
    ['offsets that go back', [97, 98], [0, 2, 1], []],
    ['offsets past its bytes', [97], [0, 2], []],
    ['an end token that is none', [97], [0, 1], [1]],
  ])('with %s is refused', async (_, bytes, offsets, end) => {
    const built = addon.Vocabulary.build(
      Uint8Array.from(bytes),
      Int32Array.from(offsets),
      Int32Array.from(end),
    );
    await expect(built).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  });

  it('says how many tokens it has and what it takes', () => {
    expect(vocabulary.numTokens).toBe(TOKENS.length);
    expect(vocabulary.bytes).toBeGreaterThan(TOKENS.length);
  });
});

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
  const allowed = (matcher: { fillMask(into: Int32Array, offset: number): boolean }) => {
    const into = new Int32Array(3).fill(-1);
    expect(matcher.fillMask(into, 1)).toBe(true);
    expect([into[0], into[2]]).toEqual([-1, -1]);
    return TOKENS.flatMap((_, id) => ((into[1] >>> id) & 1 ? [id] : []));
  };

  it('allows what it then takes, and nothing else', async () => {
    const matcher = (await compile()).start();
    expect(allowed(matcher)).toEqual([0, 2]);
    expect([matcher.advance(1), matcher.length, matcher.complete()]).toEqual([false, 0, false]);
    expect([...matcher.forcedBytes()!]).toEqual([97]);
    expect(matcher.advance(2)).toBe(true);
    expect(allowed(matcher)).toEqual([1, TOOL, END]);
    expect(await matcher.acceptsBytes(new TextEncoder().encode('bba'))).toBe(2);
    expect([matcher.advance(TOOL), matcher.advance(1)]).toEqual([true, false]);
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
    await expect(matcher.acceptsBytes('a' as never)).rejects.toEqual(bad);
    expect(matcher.advance(TOKENS.length)).toBe(false);
  });

  it('outlives its grammar and its vocabulary; closed ones refuse', async () => {
    const grammar = await compile();
    const matcher = grammar.start();
    expect(grammar.memory).toBeGreaterThan(0);
    grammar.close();
    expect(() => grammar.start()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
    expect(allowed(matcher)).toEqual([0, 2]);
    matcher.close();
    matcher.close();
    const closed = expect.objectContaining({ code: 'ERR_CLOSED' });
    expect(() => matcher.advance(0)).toThrow(closed);
    await expect(matcher.settle()).rejects.toEqual(closed);
  });

  it('takes on trust what takes long, and finds it out on another thread', async () => {
    const limits = { ...LIMITS, maxBytes: 2 ** 28, maxStates: 250_000, maxMs: 20_000 };
    const matcher = (await addon.Grammar.compile(vocabulary, trees(), limits)).start();
    for (let i = 0; i < 500; i++) expect(matcher.advance(0)).toBe(true);
    const wrong = matcher.fork();
    expect(wrong.advance(3)).toBe(true);
    expect(matcher.fillMask(new Int32Array(1), 0)).toBe(false);
    expect([matcher.complete(), matcher.forcedBytes()]).toEqual([null, null]);
    let turns = 0;
    const counting = setInterval(() => turns++, 0);
    await matcher.settle();
    clearInterval(counting);
    expect(turns).toBeGreaterThan(5);
    expect(allowed(matcher)).toEqual([0, END]);
    expect([matcher.complete(), matcher.advance(3), matcher.failure]).toEqual([true, false, '']);
    await wrong.settle();
    expect([wrong.length, wrong.complete(), ...allowed(wrong)]).toEqual([501, false]);
  });
});

/** Any number of a, in as many ways as there are trees: a place has the more to look at. */
function trees(): Int32Array {
  const builder = new GrammarBuilder();
  const tree = builder.newRule();
  builder.addAlternative(tree, [{ terminal: builder.regex.text('a') }]);
  builder.addAlternative(tree, [{ rule: tree }, { rule: tree }]);
  builder.start({ rule: tree });
  return encodeProgram(builder.build());
}

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

describe('compilations', () => {
  const ended = async (all: Promise<NativeGrammar>[]) =>
    (await Promise.allSettled(all)).map((one) =>
      one.status === 'rejected' ? (one.reason as { code: string }).code : 'done',
    );
  const count = (ends: string[]) => ends.filter((end) => end !== 'done').length;

  it('end where their vocabulary is closed', async () => {
    const own = await addon.Vocabulary.build(
      Uint8Array.of(97),
      Int32Array.of(0, 1),
      Int32Array.of(),
    );
    const words = trees();
    const all = Array.from({ length: 500 }, () => addon.Grammar.compile(own, words, LIMITS));
    own.close();
    const ends = await ended(all);
    expect(new Set(ends)).toContain('ERR_CLOSED');
    expect(count(ends)).toBe(ends.filter((end) => end === 'ERR_CLOSED').length);
  });

  it('that wait are so many and no more', async () => {
    const words = trees();
    const all = Array.from({ length: 10_000 }, () =>
      addon.Grammar.compile(vocabulary, words, LIMITS),
    );
    const ends = await ended(all);
    expect(count(ends)).toBe(ends.filter((end) => end === 'ERR_BUSY').length);
    expect(count(ends)).toBeGreaterThan(0);
    expect(ends.slice(0, 1024)).not.toContain('ERR_BUSY');
    await compile();
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

  it('takes some bytes a token, till it is closed', async () => {
    const numTokens = 20_000;
    const bytes = Uint8Array.from({ length: 8 * numTokens }, (_, i) => 97 + ((i >> (i % 8)) % 26));
    const offsets = Int32Array.from({ length: numTokens + 1 }, (_, i) => 8 * i);
    const large = await addon.Vocabulary.build(bytes, offsets, Int32Array.of());
    expect(large.bytes).toBeGreaterThan(8 * numTokens);
    large.close();
    expect(() => large.bytes).toThrow(/closed/);
  });

  it('says how many tokens it has and what it takes', () => {
    expect(vocabulary.numTokens).toBe(TOKENS.length);
    expect(vocabulary.bytes).toBeGreaterThan(TOKENS.length);
  });
});

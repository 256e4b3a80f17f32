import { describe, expect, it, vi } from 'vitest';
import {
  type CompiledProgram,
  GrammarCache,
  type GrammarSource,
  type Matcher,
} from '../../lib/grammar/compile.js';
import { GrammarBuilder } from '../../lib/grammar/grammar.js';
import { grammarError, tooSlow } from '../../lib/grammar/problem.js';

const MATCHER = {} as Matcher;

function source(key: string): GrammarSource & { builds: number } {
  const made = {
    key,
    builds: 0,
    build() {
      made.builds++;
      const builder = new GrammarBuilder();
      builder.start(builder.text(key));
      return { grammar: builder.build(), warnings: [`of ${key}`] };
    },
  };
  return made;
}

/** Grammars of a size that can change. */
function compiler(memory = 100) {
  const made: { memory: number; close: () => void }[] = [];
  const compile = vi.fn(async (_: Int32Array): Promise<CompiledProgram> => {
    const one = { memory, start: () => MATCHER, close: vi.fn() };
    made.push(one);
    return one;
  });
  return { compile, made };
}

it('compiles the same once, for those who ask at once and later', async () => {
  const { compile } = compiler();
  const cache = new GrammarCache(compile, 1000);
  const a = source('a');
  const [first, second] = await Promise.all([cache.compile(a), cache.compile(source('a'))]);
  expect(await cache.compile(source('a'))).toBe(first);
  expect(second).toBe(first);
  expect(first).toMatchObject({ warnings: ['of a'], numBytes: 100 });
  expect(first.start()).toBe(MATCHER);
  expect(compile).toHaveBeenCalledTimes(1);
  expect(cache.counts).toEqual({ numCompiled: 1, numHits: 2, numKept: 1, numBytes: 100 });
});

it('keeps what was asked for last, within its bytes, as they are now', async () => {
  const { compile, made } = compiler();
  const cache = new GrammarCache(compile, 250);
  for (const key of ['a', 'b']) await cache.compile(source(key));
  await cache.compile(source('a'));
  await cache.compile(source('c'));
  expect(cache.counts).toMatchObject({ numKept: 2, numBytes: 200 });
  await cache.compile(source('a'));
  expect(compile).toHaveBeenCalledTimes(3);
  await cache.compile(source('b'));
  expect(compile).toHaveBeenCalledTimes(4);
  // a and b are left; a has grown while it was used.
  made[0].memory = 1000;
  await cache.compile(source('d'));
  expect(cache.counts).toMatchObject({ numKept: 2, numBytes: 200 });
  await cache.compile(source('b'));
  expect(compile).toHaveBeenCalledTimes(5);
});

it('keeps nothing that alone is too large', async () => {
  const cache = new GrammarCache(compiler(500).compile, 250);
  expect((await cache.compile(source('a'))).numBytes).toBe(500);
  expect(cache.counts).toMatchObject({ numKept: 0, numBytes: 0 });
});

/** The error of a source that is refused. */
async function refusal(cache: GrammarCache, key: string, param?: string) {
  const error = await cache.compile({ ...source(key), param }).catch((caught) => caught);
  expect(error).toBeInstanceOf(Error);
  return error as Error & { param?: string; pointer?: string };
}

describe('what was refused', () => {
  it.each([
    [grammarError('no use'), 59_999, 1],
    [grammarError('no use'), 60_001, 2],
    [tooSlow(7), 1_999, 1],
    [tooSlow(7), 2_001, 2],
    [new Error('a bug'), 0, 2],
  ])('by "%s" is known %i ms later: %i tries', async (error, ms, numTries) => {
    let now = 1_000;
    const read = vi.fn().mockRejectedValue(error);
    const cache = new GrammarCache(compiler().compile, 250, { read, now: () => now });
    expect((await refusal(cache, 'a')).message).toBe(error.message);
    now += ms;
    expect((await refusal(cache, 'a')).message).toBe(error.message);
    expect(read).toHaveBeenCalledTimes(numTries);
    expect(cache.counts).toMatchObject({ numKept: 0, numCompiled: 0 });
  });

  it('comes each time as an error of its own, with its place', async () => {
    const wrong = Object.assign(grammarError('no use'), { pointer: '/a/0' });
    const read = vi.fn().mockRejectedValue(wrong);
    const cache = new GrammarCache(compiler().compile, 250, { read });
    const errors = [await refusal(cache, 'a', 'there'), await refusal(cache, 'a', 'there')];
    for (const error of errors) {
      expect(error).toMatchObject({ code: 'ERR_GRAMMAR', param: 'there', pointer: '/a/0' });
    }
    expect(errors[0]).not.toBe(errors[1]);
    expect(read).toHaveBeenCalledTimes(1);
  });

  it('by native code is known as well, and does not grow without bound', async () => {
    const compile = vi.fn().mockRejectedValue(grammarError('too many states'));
    const cache = new GrammarCache(compile, 250);
    for (let i = 0; i < 300; i++) await refusal(cache, `${i}`);
    await refusal(cache, '299');
    expect(compile).toHaveBeenCalledTimes(300);
    await refusal(cache, '0');
    expect(compile).toHaveBeenCalledTimes(301);
  });
});

it('compiles nothing once it is closed', async () => {
  const { compile } = compiler();
  const cache = new GrammarCache(compile, 250);
  cache.close();
  expect(await refusal(cache, 'a')).toMatchObject({ code: 'ERR_CLOSED' });
  expect(compile).not.toHaveBeenCalled();
});

it('gives back what is kept, what comes later too', async () => {
  const { compile, made } = compiler();
  const cache = new GrammarCache(compile, 250);
  await cache.compile(source('a'));
  const late = cache.compile(source('b'));
  cache.close();
  await late;
  await Promise.resolve();
  for (const { close } of made) expect(close).toHaveBeenCalledTimes(1);
  expect(made).toHaveLength(2);
  expect(cache.counts).toMatchObject({ numKept: 0, numBytes: 0 });
});

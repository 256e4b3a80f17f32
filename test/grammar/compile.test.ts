import { expect, it, vi } from 'vitest';
import {
  type CompiledProgram,
  GrammarCache,
  type GrammarSource,
  type Matcher,
} from '../../lib/grammar/compile.js';
import { GrammarBuilder } from '../../lib/grammar/grammar.js';

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

it('forgets what failed', async () => {
  const compile = vi.fn(compiler().compile).mockRejectedValueOnce(new Error('too many states'));
  const cache = new GrammarCache(compile, 250);
  await expect(cache.compile(source('a'))).rejects.toThrow('too many states');
  await expect(
    cache.compile({
      key: 'b',
      build: () => {
        throw new Error('no grammar');
      },
    }),
  ).rejects.toThrow('no grammar');
  expect(cache.counts.numKept).toBe(0);
  expect((await cache.compile(source('a'))).numBytes).toBe(100);
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

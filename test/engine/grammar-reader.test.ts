import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { GrammarReader } from '../../lib/engine/grammar-reader.js';
import { Budget, type BudgetLimits } from '../../lib/grammar/budget.js';
import { type GrammarSource, specSource } from '../../lib/grammar/compile.js';
import { readProgram } from '../../lib/grammar/reading.js';
import { ROOT } from '../support/addon.js';

const open: GrammarReader[] = [];
afterEach(async () => {
  for (const reader of open.splice(0)) await reader.close();
});

function readerOf(
  limits: BudgetLimits = {},
  options?: ConstructorParameters<typeof GrammarReader>[1],
): GrammarReader {
  const reader = new GrammarReader({ maxMs: 600_000, maxWork: 2_000_000, ...limits }, options);
  open.push(reader);
  return reader;
}

const threadOf = (code: string) => new URL(`data:text/javascript,${encodeURIComponent(code)}`);
/** Takes its tasks, and answers none. */
const SILENT = threadOf(
  "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => {});",
);

/** Of 2^n cases: more work than any moment suffices for. */
function manyCases(n: number): object {
  const names = Array.from({ length: n }, (_, i) => `n${i}`);
  const allOf = names.map((name) => ({
    anyOf: [{ required: [name] }, { required: [`${name}x`] }],
  }));
  return { type: 'object', allOf };
}

/** How often the event loop turned until the promise was settled, and how that was. */
async function turnsOf(promise: Promise<unknown>) {
  let turns = 0;
  let settled = false;
  const count = () => {
    turns++;
    if (!settled) setImmediate(count);
  };
  setImmediate(count);
  const [result] = await Promise.allSettled([promise]);
  settled = true;
  return { turns, result };
}

const rejected = async (promise: Promise<unknown>) =>
  (await turnsOf(promise)).result as PromiseRejectedResult;

/** For whom a moment never suffices, where it is built. */
function slow(job?: GrammarSource['job']): GrammarSource & { builds: number } {
  const made = {
    key: 'slow',
    builds: 0,
    build(budget: Budget) {
      made.builds++;
      if (made.builds === 1) budget.reserve(100);
      return specSource({ choice: ['a', 'b'] }).build(budget);
    },
    ...(job && { job }),
  };
  return made;
}

describe('a source', () => {
  it('for which a moment suffices is read at once, without a thread', async () => {
    const file = threadOf('throw new Error("a thread was started")');
    const reader = readerOf({}, { file, tryMs: 60_000 });
    const source = specSource({ json: { type: 'object', properties: { a: { type: 'string' } } } });
    expect(await reader.read(source)).toEqual(readProgram(source, new Budget()));
  });

  it.each<[string, Parameters<typeof specSource>]>([
    // The tables of Unicode are read where the loop does not wait for them.
    ['a property', [{ json: { type: 'string', pattern: '^\\p{Lu}+$' } }]],
    ['warnings', [{ json: { pattern: '\\p{Lt}', items: { uniqueItems: true } }, strict: false }]],
    [
      'named tokens',
      [
        { grammar: 'start: <|end|> /\\p{Nl}/' },
        { tokenIds: (text) => (text === '<|end|>' ? 7 : 0) },
      ],
    ],
    [
      'a tag as text',
      [
        {
          structuralTag:
            '{"type": "tag", "begin": {"type": "token", "token": "\\u003cb>"}, ' +
            '"content": {"type": "regex", "pattern": "\\\\p{No}"}, "end": "."}',
        },
        { tokenIds: (text) => (text === '<b>' ? 5 : undefined) },
      ],
    ],
    ['an order', [{ json: '{"properties": {"10": {"pattern": "\\\\p{Pc}"}, "9": {}}}' }]],
  ])('is read in a thread as here: %s', async (_, [spec, limits]) => {
    const source = specSource(spec, limits);
    const build = vi.fn(source.build);
    const elsewhere = await readerOf().read({ ...source, build });
    expect(build).toHaveBeenCalledTimes(1);
    expect(elsewhere).toEqual(readProgram(source, new Budget()));
  });

  it('that takes much work lets the event loop turn', async () => {
    const source = specSource({ json: manyCases(8) });
    const { turns, result } = await turnsOf(readerOf().read(source));
    expect(result.status).toBe('fulfilled');
    expect(turns).toBeGreaterThan(20);
  });

  it('that takes too much is refused by its work, here as in a thread, again and again', async () => {
    const source = specSource({ json: { properties: { a: manyCases(8) } } });
    const sentence = /more work than is allowed \(20000 steps\)/;
    for (const tryMs of [0, 600_000]) {
      const reader = readerOf({ maxWork: 20_000 }, { tryMs });
      for (let i = 0; i < 2; i++) {
        const { reason } = await rejected(reader.read(source));
        expect(reason).toMatchObject({ code: 'ERR_GRAMMAR' });
        expect(reason.message).toMatch(sentence);
      }
    }
  });

  it('that is refused in the thread is so with code and place', async () => {
    const json = { properties: { a: { pattern: '\\p{Pf}' }, 'b/': { multipleOf: 0.123456789 } } };
    const { reason } = await rejected(readerOf().read(specSource({ json })));
    expect(reason).toMatchObject({
      code: 'ERR_GRAMMAR',
      status: 400,
      pointer: '/properties/b~1/multipleOf',
    });
  });

  it.each<[string, GrammarSource['job']]>([
    ['has no job', undefined],
    ['has one that cannot be sent', () => ({ kind: 'spec', data: () => 1 })],
  ])('that %s is read here', async (_, job) => {
    const source = slow(job);
    expect(await readerOf().read(source)).toEqual(readProgram(slow(), new Budget()));
    expect(source.builds).toBe(2);
    expect(await readerOf().read(specSource({ choice: ['a'] }))).toBeDefined();
  });

  it('has no more of a turn of the event loop than others leave', async () => {
    const busy = () => {
      const until = performance.now() + 11;
      while (performance.now() < until);
      return slow().build(new Budget());
    };
    const reader = readerOf();
    const reads = Array.from({ length: 6 }, (_, i) => reader.read({ key: `${i}`, build: busy }));
    expect((await turnsOf(Promise.all(reads))).turns).toBeGreaterThanOrEqual(5);
  });
});

describe('the thread', () => {
  const job = () => specSource({ choice: ['a'] }).job!();

  it('that does not give up when its time has passed is ended, for its source alone', async () => {
    const endless = threadOf(
      "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => { for (;;); });",
    );
    const reader = readerOf({ maxMs: 20 }, { file: endless });
    const both = await Promise.all([1, 2].map(() => rejected(reader.read(slow(job)))));
    for (const { reason } of both) {
      expect(reason).toMatchObject({
        code: 'ERR_GRAMMAR',
        message: expect.stringMatching(/longer than 20 ms/),
      });
    }
  });

  it('that dies fails the source that it had; the next one has another', async () => {
    const reader = readerOf({}, { file: threadOf('throw new Error("it broke")') });
    for (let i = 0; i < 2; i++) {
      expect((await rejected(reader.read(slow(job)))).reason.message).toBe('it broke');
    }
  });

  it('has a bounded queue', async () => {
    const reader = readerOf({}, { file: SILENT });
    const reads = Array.from({ length: 300 }, () => rejected(reader.read(slow(job))));
    expect((await reads[257]).reason).toMatchObject({ code: 'ERR_OVERLOADED' });
    await reader.close();
    const codes = (await Promise.all(reads)).map(({ reason }) => reason.code);
    expect(new Set(codes.slice(0, 257))).toEqual(new Set(['ERR_CLOSED']));
  });

  it('ends with its reader, and with it all that waits', async () => {
    const reader = readerOf({}, { file: SILENT });
    const waiting = [1, 2, 3].map(() => rejected(reader.read(slow(job))));
    await new Promise((resolve) => setImmediate(resolve));
    await reader.close();
    for (const { reason } of await Promise.all(waiting)) expect(reason.code).toBe('ERR_CLOSED');
    const late = specSource({ choice: ['a'] });
    expect((await rejected(reader.read(late))).reason.code).toBe('ERR_CLOSED');
  });

  it('keeps the process alive while it works, and no longer', async () => {
    const script = `
      import { GrammarReader } from './dist/engine/grammar-reader.js';
      import { specSource } from './dist/grammar/compile.js';
      const reader = new GrammarReader({ maxMs: 60_000, maxWork: 1_000_000 });
      const { words } = await reader.read(specSource({ regex: '\\\\p{Sc}' }));
      console.log(words.length > 0);`;
    const args = ['--input-type=module', '-e', script];
    const child = spawn(process.execPath, args, {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    expect([...(await once(child, 'close')), output]).toEqual([0, null, 'true\n']);
  });
});

import { describe, expect, it } from 'vitest';
import { Deadline } from '../../lib/engine/deadline.js';
import { EncodingQueue } from '../../lib/engine/encoding-queue.js';

const SHORT = 100;
const LONG = 100_000;
const HUGE = 5_000_000;

/** Work that ends when it is told to, and what of it is under way. */
function bench(numThreads: number) {
  const queue = new EncodingQueue(numThreads);
  const running: string[] = [];
  const begun: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const add = (name: string, size: number, deadline = new Deadline()) =>
    queue.run(
      size,
      () => {
        running.push(name);
        begun.push(name);
        return new Promise<string>((resolve, reject) => {
          ends.set(name, (error) => {
            running.splice(running.indexOf(name), 1);
            if (error) reject(error);
            else resolve(name);
          });
        });
      },
      deadline,
    );
  const end = async (name: string, error?: Error) => {
    ends.get(name)?.(error);
    await settled();
  };
  return { add, end, running, begun };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('the queue of encodings', () => {
  it('leaves a thread of the pool alone, and keeps the order', async () => {
    const { add, end, running } = bench(4);
    const all = ['a', 'b', 'c', 'd', 'e'].map((name) => add(name, SHORT));
    expect(running).toEqual(['a', 'b', 'c']);
    await end('b');
    expect(running).toEqual(['a', 'c', 'd']);
    for (const name of ['a', 'c', 'd', 'e']) await end(name);
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('always has a thread that no longer text holds', async () => {
    const { add, end, running } = bench(4);
    const texts = [add('H1', HUGE), add('H2', HUGE), add('L1', LONG), add('L2', LONG)];
    expect(running).toEqual(['H1', 'L1']);
    texts.push(add('s1', SHORT), add('s2', SHORT));
    expect(running).toEqual(['H1', 'L1', 's1']);
    await end('L1');
    expect(running).toEqual(['H1', 's1', 'L2']);
    await end('H1');
    expect(running).toEqual(['s1', 'L2', 'H2']);
    for (const name of ['s1', 's2', 'L2', 'H2']) await end(name);
    await Promise.all(texts);
  });

  it('starves nobody: a long text gets its turn among ever more short ones', async () => {
    const { add, end, running, begun } = bench(4);
    void add('L', LONG);
    for (let i = 0; i < 20; i++) void add(`s${i}`, SHORT);
    void add('L2', LONG);
    void add('H', HUGE);
    for (let i = 0; i < 20 && !begun.includes('H'); i++) {
      await end(running[0]);
      void add(`t${i}`, SHORT);
    }
    expect(begun).toEqual(expect.arrayContaining(['L', 'L2', 'H']));
  });

  it.each([1, 2, 3])('works on a pool of %i', async (numThreads) => {
    const { add, end, running } = bench(numThreads);
    const texts = [add('H', HUGE), add('s', SHORT), add('L', LONG)];
    expect(running).toHaveLength(Math.max(1, numThreads - 1));
    for (let i = 0; i < 3; i++) await end(running[0]);
    expect(await Promise.all(texts)).toEqual(['H', 's', 'L']);
  });

  it('gives an error to its owner, and the slot to the next', async () => {
    const { add, end, running } = bench(2);
    const bad = expect(add('a', SHORT)).rejects.toThrow('no such text');
    const good = add('b', SHORT);
    await end('a', new Error('no such text'));
    await bad;
    expect(running).toEqual(['b']);
    await end('b');
    expect(await good).toBe('b');
  });

  it('what its deadline ends is answered at once; begun work keeps its slot', async () => {
    const { add, end, running, begun } = bench(2);
    const controller = new AbortController();
    const deadline = () => new Deadline({ signal: controller.signal });
    const calls = [add('a', SHORT, deadline()), add('b', SHORT, deadline())];
    const other = add('c', SHORT);
    const refused = calls.map((call) => expect(call).rejects.toThrow(/aborted/));
    controller.abort();
    await Promise.all(refused);
    expect(running).toEqual(['a']);
    await end('a');
    expect(begun).toEqual(['a', 'c']);
    await end('c');
    expect(await other).toBe('c');
    await expect(add('d', SHORT, deadline())).rejects.toThrow(/aborted/);
    expect(begun).toEqual(['a', 'c']);
  });
});

import { describe, expect, it } from 'vitest';
import {
  PoolingEngine,
  type PoolingSizes,
  type ReadyText,
  type TextOwner,
  TextQueue,
} from '../../lib/engine/pooling-engine.js';
import { octavoError } from '../../lib/errors.js';
import { FakePooling, fakeValues } from '../support/fake-pooling.js';

const WIDTH = 4;

class Owner implements TextOwner {
  readonly pooling = 'mean';
  readonly values = new Map<number, number[]>();
  error: (Error & { code?: string }) | null = null;
  numTaken = 0;
  /** Thrown where a text is delivered. */
  refuses = -1;
  #wake: () => void = () => {};

  constructor(readonly tokenLogits?: readonly number[]) {}

  deliver({ index }: ReadyText, values: Float32Array): void {
    if (index === this.refuses) throw octavoError('ERR_NON_FINITE', 'no number');
    this.values.set(index, [...values]);
    this.#wake();
  }

  onTaken(): void {
    this.numTaken++;
  }

  fail(error: Error): void {
    this.error = error;
    this.#wake();
  }

  async ended(count: number): Promise<void> {
    while (this.values.size < count && this.error === null) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

function made(sizes: Partial<PoolingSizes> = {}) {
  const executor = new FakePooling(WIDTH);
  const all = { maxNumSeqs: 8, stepTokens: 16, longRopeFrom: undefined, ...sizes };
  return { executor, engine: new PoolingEngine(executor, all) };
}

const text = (index: number, length = 3, first = index): ReadyText => ({
  index,
  tokenIds: Int32Array.from({ length }, (_, i) => first + i),
  isTruncated: false,
});

function call(engine: PoolingEngine, lengths: readonly number[], first = 0, owner = new Owner()) {
  const queue = engine.enter(owner, lengths.length);
  lengths.forEach((length, i) => {
    engine.push(queue, text(i, length, first + 100 * i));
  });
  return { owner, queue };
}

const lengthsOf = (executor: FakePooling) =>
  executor.batches.map(({ texts }) => texts.map(({ ids }) => ids.length));

describe('packing', () => {
  it('takes texts in order up to the tokens of a step, and a longer one alone', async () => {
    const { engine, executor } = made();
    const { owner } = call(engine, [8, 8, 1, 40, 15, 1, 1]);
    await owner.ended(7);
    expect(lengthsOf(executor)).toEqual([[8, 8], [1], [40], [15, 1], [1]]);
    const ids = Array.from(text(3, 40, 300).tokenIds);
    const types = ids.map(() => 0);
    expect(owner.values.get(3)).toEqual(fakeValues({ ids, types, pooling: 0, longRope: 0 }, WIDTH));
    await engine.close();
  });

  it('takes no more texts than maxNumSeqs', async () => {
    const { engine, executor } = made({ maxNumSeqs: 3 });
    const { owner } = call(engine, [1, 1, 1, 1, 1, 1, 1]);
    await owner.ended(7);
    expect(lengthsOf(executor).map(({ length }) => length)).toEqual([3, 3, 1]);
    await engine.close();
  });

  it('lets calls take turns: a long list keeps nobody waiting for its end', async () => {
    const { engine, executor } = made({ maxNumSeqs: 40, stepTokens: 1000 });
    const long = call(engine, Array(200).fill(1));
    const short = call(engine, [2, 2]);
    await short.owner.ended(2);
    expect(long.owner.values.size).toBeLessThan(100);
    expect(lengthsOf(executor)[0].slice(32, 34)).toEqual([2, 2]);
    await long.owner.ended(200);
    await engine.close();
  });

  it('parts texts that ask for other logits, and says who needs long angles', async () => {
    const { engine, executor } = made({ longRopeFrom: 4 });
    const plain = call(engine, [4, 5]);
    const asked = call(engine, [3], 0, new Owner([7, 9]));
    await Promise.all([plain.owner.ended(2), asked.owner.ended(1)]);
    expect(executor.batches.map(({ tokenLogits }) => tokenLogits)).toEqual([[], [7, 9]]);
    expect(executor.batches[0].texts.map(({ longRope }) => longRope)).toEqual([0, 1]);
    expect(asked.owner.values.get(0)).toHaveLength(2);
    await engine.close();
  });
});

describe('what goes wrong', () => {
  it('with a text ends its call, and no other', async () => {
    const { engine } = made();
    const bad = new Owner();
    bad.refuses = 1;
    const broken = call(engine, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 0, bad);
    const sound = call(engine, [1, 1]);
    await Promise.all([broken.owner.ended(12), sound.owner.ended(2)]);
    expect(bad.error?.code).toBe('ERR_NON_FINITE');
    expect(sound.owner.error).toBeNull();
    const stats = engine.stats();
    expect(stats.numRequestsBy).toEqual({ stop: 3, length: 0, abort: 0, error: 11 });
    expect([stats.numRequestsWaiting, engine.numWaiting]).toEqual([0, 0]);
    await engine.close();
  });

  it('with a step that was refused is told from what shared it', async () => {
    const { engine, executor } = made({ maxNumSeqs: 6, stepTokens: 100 });
    executor.fateOf = ({ texts }) =>
      texts.some(({ ids }) => ids[0] >= 1000)
        ? { reject: octavoError('ERR_INVALID_STEP', 'no') }
        : 'run';
    const before = call(engine, [1, 1]);
    const guilty = call(engine, [1, 1], 1000);
    const behind = call(engine, [1, 1, 1]);
    await Promise.all([before.owner.ended(2), guilty.owner.ended(2), behind.owner.ended(3)]);
    expect(guilty.owner.error?.code).toBe('ERR_INVALID_STEP');
    expect([before.owner.error, behind.owner.error]).toEqual([null, null]);
    expect(behind.owner.values.size).toBe(3);
    const stats = engine.stats();
    expect(stats.numRequestsBy).toEqual({ stop: 5, length: 0, abort: 0, error: 2 });
    expect([stats.numRequestsWaiting, stats.numRequestsRunning, engine.numWaiting]).toEqual([
      0, 0, 0,
    ]);
    await engine.close();
  });

  it('leaves the order of a list as it was, taken often and put back', () => {
    const queue = new TextQueue(new Owner(), 100);
    for (let i = 0; i < 70; i++) queue.push(text(i, 2));
    const taken = Array.from({ length: 50 }, () => queue.take());
    queue.putBack(taken.slice(40));
    for (let i = 70; i < 100; i++) queue.push(text(i, 2));
    expect([queue.numReady, queue.numReadyTokens, queue.numLeft]).toEqual([60, 120, 60]);
    const rest = Array.from({ length: 60 }, () => queue.take());
    const order = [...taken.slice(0, 40), ...rest].map(({ index }) => index);
    expect(order).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect([queue.numReady, queue.numReadyTokens, queue.numLeft]).toEqual([0, 0, 0]);
  });

  it('with any other step ends the calls in it, and what comes later runs', async () => {
    const { engine, executor } = made();
    executor.fateOf = (_, count) =>
      count === 0 ? { reject: octavoError('ERR_OUT_OF_MEMORY', 'no') } : 'run';
    const [a, b] = [call(engine, [1]), call(engine, [2, 2, 2, 2, 2, 2, 2, 2, 2, 2])];
    await Promise.all([a.owner.ended(1), b.owner.ended(10)]);
    expect([a.owner.error?.code, b.owner.error?.code]).toEqual(Array(2).fill('ERR_OUT_OF_MEMORY'));
    const later = call(engine, [1]);
    await later.owner.ended(1);
    expect(later.owner.error).toBeNull();
    await engine.close();
  });

  it.each([
    ['ERR_DEVICE_LOST', octavoError('ERR_DEVICE_LOST', 'gone')],
    ['ERR_INTERNAL', new TypeError('a mistake')],
  ])('with the executor (%s) ends the engine', async (code, reject) => {
    const { engine, executor } = made();
    executor.fateOf = () => ({ reject });
    const running = call(engine, [1]);
    const waiting = call(engine, [30]);
    await Promise.all([running.owner.ended(1), waiting.owner.ended(1)]);
    expect([running.owner.error?.code, waiting.owner.error?.code]).toEqual([code, code]);
    expect(() => engine.enter(new Owner(), 1)).toThrow(expect.objectContaining({ code }));
    await engine.close();
  });
});

describe('ending', () => {
  it('frees the places of a call at once, and computes no more of it', async () => {
    const { engine, executor } = made({ maxNumSeqs: 2 });
    const leaving = call(engine, [1, 1, 1, 1, 1, 1]);
    const staying = call(engine, [5]);
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    engine.end(leaving.queue, octavoError('ERR_ABORTED', 'left'));
    expect(leaving.owner.error?.code).toBe('ERR_ABORTED');
    expect(engine.stats().numRequestsWaiting).toBeLessThanOrEqual(1);
    engine.push(leaving.queue, text(0, 9)); // encoded too late
    await staying.owner.ended(1);
    expect(
      lengthsOf(executor)
        .flat()
        .filter((length) => length === 1).length,
    ).toBeLessThan(5);
    expect(lengthsOf(executor).flat()).not.toContain(9);
    engine.end(leaving.queue, octavoError('ERR_ABORTED', 'again'));
    const { abort, stop, error } = engine.stats().numRequestsBy;
    expect([abort + stop, error]).toEqual([7, 0]);
    await engine.close();
  });

  it('by close() ends all, also what hangs, and frees once', async () => {
    const { engine, executor } = made();
    executor.fateOf = () => 'hang';
    const room: number[] = [];
    engine.onRoom = () => room.push(engine.numWaiting);
    const running = call(engine, [1]);
    const waiting: { owner: Owner; queue: TextQueue }[] = [];
    await new Promise((resolve) => setTimeout(resolve, 5));
    waiting.push(call(engine, [1]));
    await Promise.all([engine.close(), engine.close()]);
    for (const { owner } of [running, ...waiting]) expect(owner.error?.code).toBe('ERR_CLOSED');
    expect(executor.numCloses).toBe(1);
    expect(room.at(-1)).toBe(0);
    expect(() => engine.checkOpen()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });

  it('is told by events and stats as it is of a model that generates', async () => {
    const { engine } = made();
    const events = engine.events.subscribe();
    const next = events.next();
    const { owner } = call(engine, [3, 4]);
    await owner.ended(2);
    const { value } = await next;
    expect(value).toMatchObject({ numSteps: 1, promptTokens: 7, generationTokens: 0 });
    expect(value).toMatchObject({ numBlocksUsed: 0, step: { numSeqs: 2, numTokens: 7 } });
    expect(owner.numTaken).toBe(1);
    await engine.close();
    expect((await events.next()).done).toBe(true);
  });
});

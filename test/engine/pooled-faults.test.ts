import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { DTYPES } from '../../lib/native.js';
import type { PooledText } from '../../lib/wire/pooled.js';
import { simtDevice } from '../support/addon.js';
import { someOf } from '../support/all.js';
import { PooledModel, type PooledSource } from '../support/pooled-model.js';
import { random } from '../support/random.js';
import { randomSpec } from '../support/random-spec.js';
import { SEED } from '../support/seed.js';
import { writeSpec } from '../support/spec-file.js';
import { temporaryFolder } from '../support/write-model.js';

/**
 * As simt-faults.test.ts, of texts that are pooled: at each call of the CUDA runtime memory runs out. The
 * caller gets a coded error, nothing stays taken, and what runs next has the bits that it has without.
 */

/** Every call in `npm run test:all`, else a few. */
const callsOf = (num: number) =>
  someOf(
    Array.from({ length: num }, (_, k) => k),
    3,
  );

const VOCAB = 40;
const folder = temporaryFolder();
const rng = random(SEED);
const limits = { vocabSize: VOCAB, maxTokens: 40, headSizes: [32, 64], multiple: 8, pools: true };
const spec = { ...randomSpec(rng, limits), head: { tied: true, scale: 1, softcap: 0 } };
const source: PooledSource = { spec, ...writeSpec(rng, spec, folder) };

const open = () =>
  PooledModel.open(source, {
    ...{ maxNumSeqs: 4, maxNumBatchedTokens: 64, maxModelLen: 40 },
    device: { index: 0, dtype: DTYPES.F16 },
  });

const text = (length: number, pooling: PooledText['pooling']): PooledText => ({
  tokenIds: Array.from({ length }, (_, i) => (7 * i + length) % VOCAB),
  pooling,
  longRope: false,
});
const ask = async (model: PooledModel) => {
  const texts = [text(19, 'mean'), text(3, 'cls'), text(1, 'last')];
  return [await model.embed({ texts }), await model.embed({ texts, tokenLogits: [3, 0] })];
};

const outcome = (promise: Promise<unknown>) =>
  promise.then(
    (value) => ({ value }),
    ({ code }: { code?: string }) => ({ code }),
  );
const taken = () => {
  const { usedBytes, pinnedBytes, graphs } = simtDevice();
  return { usedBytes, pinnedBytes, graphs };
};
const NOTHING = { usedBytes: 0, pinnedBytes: 0, graphs: 0 };

beforeEach(() => {
  simtDevice({ failAtLaunch: -1, failAtCall: -1, memoryBytes: 2 ** 29, streamsLate: 1 });
});
afterEach(() => {
  expect(taken()).toEqual(NOTHING);
});
afterAll(() => {
  simtDevice({ failAtLaunch: -1, failAtCall: -1, streamsLate: 0 });
});

async function countCalls(run: () => Promise<unknown>): Promise<number> {
  const before = simtDevice().calls;
  await run();
  return simtDevice().calls - before;
}

it('memory runs out at every call of a load', async () => {
  const num = await countCalls(async () => (await open()).close());
  expect(num).toBeGreaterThan(30);
  for (const k of callsOf(num)) {
    simtDevice({ failAtCall: k });
    const model = await outcome(open());
    simtDevice({ failAtCall: -1 });
    if ('value' in model) await (model.value as PooledModel).close();
    else expect(model.code, `call ${k}`).toBe('ERR_OUT_OF_MEMORY');
    expect(taken(), `call ${k}`).toEqual(NOTHING);
  }
});

it('memory runs out at every call of a step', async () => {
  const model = await open();
  const wanted = await ask(model);
  const num = await countCalls(() => ask(model));
  const steady = taken();
  for (const k of callsOf(num)) {
    simtDevice({ failAtCall: k });
    const failed = await outcome(ask(model));
    simtDevice({ failAtCall: -1 });
    if ('value' in failed) expect(failed.value).toEqual(wanted);
    else expect(failed.code, `call ${k}`).toBe('ERR_OUT_OF_MEMORY');
    expect(await ask(model), `after call ${k}`).toEqual(wanted);
    expect(taken(), `call ${k}`).toEqual(steady);
  }
  await model.close();
});

it('a load takes all that steps need', async () => {
  const model = await open();
  const { usedBytes } = taken();
  await ask(model);
  const most = { tokenIds: Array(16).fill(1), pooling: 'mean', longRope: false } as const;
  await model.embed({ texts: [most, most, most, most] });
  expect(taken().usedBytes).toBe(usedBytes);
  await model.close();
});

it('a lost device ends a step, and nothing else', async () => {
  const model = await open();
  simtDevice({ failAtLaunch: 3 });
  expect(await outcome(ask(model))).toEqual({ code: 'ERR_DEVICE_LOST' });
  expect(await outcome(ask(model))).toEqual({ code: 'ERR_DEVICE_LOST' });
  await model.close();
  simtDevice({ failAtLaunch: -1 });
});

import { afterAll, describe, expect, test } from 'vitest';
import { leastSizes } from '../../lib/core/recurrent-states.js';
import { sample } from '../support/all.js';
import { type Outcome, Simulation, TINY_WORLD, type World } from '../support/simulate.js';

const BASE: World = {
  ...TINY_WORLD,
  numRequests: 150,
  abortPercent: 2,
};

const groups = (...of: [window: number, blockSize: number, chunked?: boolean][]) =>
  of.map(([window, blockSize, chunked = false]) => ({ window, blockSize, chunked }));

/** What recurrent layers have at least, and so much more; states in the host's memory. */
function recurrent(
  maxNumSeqs: number,
  slots: number,
  records: number,
  interval = 32,
  numHostSlots = 0,
) {
  const least = leastSizes(maxNumSeqs);
  const numSlots = least.numSlots + slots;
  return { numSlots, numRecords: least.numRecords + records, interval, numHostSlots };
}

const WORLDS: Record<string, World> = {
  'a tiny pool': BASE,
  'a pool that just holds one group': { ...BASE, numBlocks: 30, maxN: 4 },
  'a roomy pool': { ...BASE, numBlocks: 400, maxNumSeqs: 24, maxNumBatchedTokens: 64 },
  'small chunks': { ...BASE, numBlocks: 60, longPrefillThreshold: 5, maxNumBatchedTokens: 9 },
  'no chunks': { ...BASE, enableChunkedPrefill: false, maxNumBatchedTokens: 90 },
  'no chunks, many forks': {
    ...BASE,
    enableChunkedPrefill: false,
    maxNumBatchedTokens: 90,
    maxN: 8,
    numBlocks: 70,
    blockSize: 3,
  },
  'two tables of angles': { ...BASE, longRopeFrom: 45, numBlocks: 60, beamTenths: 2 },
  'no prefix cache': { ...BASE, enablePrefixCaching: false, numBlocks: 60 },
  'blocks of one': { ...BASE, blockSize: 1, numBlocks: 150 },
  'odd blocks, many forks': { ...BASE, blockSize: 7, numBlocks: 50, maxN: 8, maxNumSeqs: 12 },
  'forks without cache': { ...BASE, enablePrefixCaching: false, maxN: 6, numBlocks: 50 },
  beams: { ...BASE, beamTenths: 5, maxN: 4, numBlocks: 60 },
  'beams in a pool that just holds one search': { ...BASE, beamTenths: 8, maxN: 6, numBlocks: 70 },
  'beams and nothing else, odd blocks': {
    ...BASE,
    beamTenths: 10,
    maxN: 5,
    blockSize: 7,
    numBlocks: 50,
    maxNumBatchedTokens: 12,
  },
  swap: { ...BASE, preemptionPolicy: 'swap', numHostBlocks: 100, beamTenths: 2, maxN: 4 },
  'beams swapped, no room to spare': {
    ...BASE,
    preemptionPolicy: 'swap',
    numHostBlocks: 200,
    beamTenths: 10,
    maxN: 6,
    blockSize: 6,
    numBlocks: 34,
    maxModelLen: 60,
    maxNumSeqs: 24,
    maxNumBatchedTokens: 64,
  },
  'swap space for a few': {
    ...BASE,
    preemptionPolicy: 'swap',
    numHostBlocks: 12,
    beamTenths: 3,
    maxN: 4,
    failPercent: 2,
  },
  'groups swapped, others computed again': {
    ...BASE,
    numHostBlocks: 60,
    beamTenths: 3,
    maxN: 6,
    numBlocks: 70,
    abortPercent: 6,
  },
  priorities: { ...BASE, schedulingPolicy: 'priority', numHostBlocks: 30, beamTenths: 2 },
  'a window': { ...BASE, groups: [{ window: 9, blockSize: 4 }], numHostBlocks: 30, beamTenths: 3 },
  'a window of one block, swapped': {
    ...BASE,
    groups: [{ window: 4, blockSize: 4 }],
    preemptionPolicy: 'swap',
    numHostBlocks: 40,
    maxN: 5,
    beamTenths: 4,
    numBlocks: 60,
  },
  'windows and all': {
    ...BASE,
    groups: groups([9, 4], [0, 4]),
    numBlocks: 48,
    maxNumSeqs: 16,
    beamTenths: 2,
  },
  'five windows to one, blocks of two sizes, swapped': {
    ...BASE,
    groups: groups([12, 4], [12, 4], [12, 4], [12, 4], [12, 4], [0, 8]),
    preemptionPolicy: 'swap',
    numHostBlocks: 150,
    numBlocks: 90,
    maxNumSeqs: 16,
    longPrefillThreshold: 8,
    beamTenths: 3,
    maxN: 4,
  },
  'a window of one, a wide one, coarse blocks': {
    ...BASE,
    groups: groups([1, 8], [30, 4], [0, 16]),
    numHostBlocks: 60,
    longPrefillThreshold: 11,
    numBlocks: 34,
    maxNumSeqs: 16,
    maxN: 5,
    refusePercent: 5,
  },
  'windows only, blocks of two sizes': {
    ...BASE,
    groups: groups([10, 4], [21, 8]),
    longPrefillThreshold: 6,
    preemptionPolicy: 'swap',
    numHostBlocks: 60,
    numBlocks: 24,
    maxNumSeqs: 16,
    maxN: 4,
    beamTenths: 3,
  },
  'groups that just hold one request': {
    ...BASE,
    groups: groups([8, 4], [0, 4], [17, 8]),
    longPrefillThreshold: 9,
    numHostBlocks: 40,
    numBlocks: 38,
    maxNumSeqs: 16,
    maxN: 3,
    beamTenths: 4,
    abortPercent: 4,
    failPercent: 1,
    refusePercent: 10,
  },
  'chunks of tokens and all, blocks that cross their borders': {
    ...BASE,
    groups: groups([10, 4, true], [0, 4]),
    numBlocks: 48,
    maxNumSeqs: 16,
    longPrefillThreshold: 7,
    beamTenths: 2,
  },
  'chunks of tokens beside a window, swapped': {
    ...BASE,
    groups: groups([16, 4, true], [9, 4], [8, 8, true]),
    preemptionPolicy: 'swap',
    numHostBlocks: 80,
    numBlocks: 40,
    maxNumSeqs: 16,
    maxN: 4,
    beamTenths: 3,
    refusePercent: 4,
  },
  'groups, no chunks': {
    ...BASE,
    groups: groups([7, 4], [0, 8], [21, 4, true]),
    enableChunkedPrefill: false,
    maxNumBatchedTokens: 90,
    numBlocks: 40,
    maxNumSeqs: 16,
    maxN: 6,
    schedulingPolicy: 'priority',
  },
  'everything at once': {
    ...BASE,
    numBlocks: 36,
    schedulingPolicy: 'priority',
    numHostBlocks: 25,
    preemptionPolicy: 'swap',
    groups: [{ window: 40, blockSize: 4 }],
    longPrefillThreshold: 7,
    beamTenths: 3,
    maxN: 4,
    failPercent: 1,
    refusePercent: 3,
    abortPercent: 4,
  },
  'steps refused, copies and swaps in them': {
    ...BASE,
    refusePercent: 25,
    preemptionPolicy: 'swap',
    numHostBlocks: 100,
    beamTenths: 4,
    maxN: 5,
    abortPercent: 6,
  },
  'steps refused, a window, chunks': {
    ...BASE,
    refusePercent: 20,
    groups: [{ window: 9, blockSize: 4 }],
    numHostBlocks: 30,
    longPrefillThreshold: 5,
    maxN: 5,
  },
  'recurrent layers': { ...BASE, recurrent: recurrent(8, 6, 16) },
  'recurrent layers, nothing to spare': {
    ...BASE,
    recurrent: recurrent(8, 0, 0, 16),
    maxN: 5,
    beamTenths: 2,
    numBlocks: 60,
  },
  'recurrent layers, two at once, nothing to spare': {
    ...BASE,
    recurrent: recurrent(2, 0, 0, 16),
    maxN: 2,
    maxNumSeqs: 2,
    maxNumBatchedTokens: 29,
    numBlocks: 60,
  },
  'recurrent layers, a roomy pool, blocks as long as chunks': {
    ...BASE,
    recurrent: recurrent(24, 20, 16),
    blockSize: 16,
    numBlocks: 150,
    maxNumSeqs: 24,
    maxNumBatchedTokens: 64,
    maxN: 4,
  },
  'recurrent layers and no KV': {
    ...BASE,
    recurrent: recurrent(8, 6, 16),
    groups: [{ window: 1, blockSize: 4 }],
    beamTenths: 2,
  },
  'recurrent layers and no KV, blocks as long as chunks, forks': {
    ...BASE,
    recurrent: recurrent(12, 2, 0),
    groups: [{ window: 1, blockSize: 16 }],
    blockSize: 16,
    maxNumSeqs: 12,
    maxN: 6,
    numBlocks: 40,
  },
  'recurrent layers, small chunks, pairs': {
    ...BASE,
    recurrent: recurrent(8, 3, 5),
    longPrefillThreshold: 5,
    maxNumBatchedTokens: 9,
    maxN: 2,
    numBlocks: 60,
    refusePercent: 10,
  },
  'recurrent layers, beams that part and meet': {
    ...BASE,
    recurrent: recurrent(16, 1, 0),
    beamTenths: 9,
    maxN: 6,
    maxNumSeqs: 16,
    numBlocks: 70,
    blockSize: 8,
    maxNumBatchedTokens: 40,
  },
  'recurrent layers, blocks of one': {
    ...BASE,
    recurrent: recurrent(8, 4, 0, 48),
    blockSize: 1,
    numBlocks: 170,
    beamTenths: 2,
  },
  'recurrent layers, blocks of two chunks': {
    ...BASE,
    recurrent: recurrent(10, 4, 16),
    blockSize: 32,
    numBlocks: 30,
    maxNumSeqs: 10,
    maxN: 4,
  },
  'recurrent layers, no chunks, odd blocks': {
    ...BASE,
    recurrent: recurrent(8, 8, 0),
    enableChunkedPrefill: false,
    maxNumBatchedTokens: 90,
    blockSize: 3,
    numBlocks: 70,
    maxN: 6,
    longRopeFrom: 45,
  },
  'recurrent layers, no prefix cache': {
    ...BASE,
    recurrent: recurrent(8, 0, 3),
    enablePrefixCaching: false,
    numBlocks: 60,
    beamTenths: 3,
    maxN: 4,
  },
  'recurrent layers beside windows, coarse blocks': {
    ...BASE,
    recurrent: recurrent(16, 6, 16, 32, 16),
    groups: groups([9, 4], [0, 8], [16, 4, true]),
    preemptionPolicy: 'swap',
    numHostBlocks: 60,
    numBlocks: 64,
    maxNumSeqs: 16,
    longPrefillThreshold: 11,
    beamTenths: 2,
    maxN: 4,
  },
  'recurrent layers, swapped': {
    ...BASE,
    recurrent: recurrent(8, 6, 16, 32, 8),
    preemptionPolicy: 'swap',
    numHostBlocks: 100,
    maxN: 4,
    beamTenths: 2,
  },
  'recurrent layers, swapped, nothing to spare, few places': {
    ...BASE,
    recurrent: recurrent(8, 0, 0, 16, 3),
    preemptionPolicy: 'swap',
    numHostBlocks: 40,
    maxN: 4,
    beamTenths: 3,
    abortPercent: 6,
    failPercent: 2,
    refusePercent: 10,
  },
  'recurrent layers, groups swapped, others computed again': {
    ...BASE,
    recurrent: recurrent(16, 4, 0, 32, 16),
    numHostBlocks: 80,
    enablePrefixCaching: false,
    longPrefillThreshold: 7,
    numBlocks: 60,
    maxNumSeqs: 16,
    maxN: 6,
    beamTenths: 3,
  },
  'recurrent layers, everything goes wrong': {
    ...BASE,
    recurrent: recurrent(12, 2, 4, 16, 5),
    schedulingPolicy: 'priority',
    numHostBlocks: 20,
    blockSize: 8,
    numBlocks: 30,
    maxNumSeqs: 12,
    beamTenths: 3,
    maxN: 5,
    failPercent: 2,
    refusePercent: 12,
    abortPercent: 8,
  },
  'aborts everywhere': { ...BASE, abortPercent: 25, numRequests: 400 },
};

/** More worlds: OCTAVO_SIMULATION_SEEDS=100 npx vitest run test/simulation. */
const NUM_SEEDS = Number(process.env.OCTAVO_SIMULATION_SEEDS ?? sample(3, 20));

/** One world only, one seed only: OCTAVO_SIMULATE='a tiny pool:17', or all seeds without ':17'. */
const [ONLY_WORLD, ONLY_SEED = ''] = (process.env.OCTAVO_SIMULATE ?? '').split(':');

function simulate(name: string, seed: number, world: World): Outcome {
  try {
    return new Simulation(seed, world).run();
  } catch (error) {
    const { message } = error as Error;
    const replay = `OCTAVO_SIMULATE='${name}:${seed}' npx vitest run test/simulation`;
    throw new Error(`${message}\nreplay it: ${replay}`, { cause: error });
  }
}

describe('every request comes out as if it were alone', () => {
  const total = {
    steps: 0,
    preemptions: 0,
    copies: 0,
    hits: 0,
    aborted: 0,
    finished: 0,
    failed: 0,
    swappedIn: 0,
    putBack: 0,
    undone: 0,
    stateHits: 0,
    overwritten: 0,
    forkedStates: 0,
    statesSwappedIn: 0,
  };

  for (const [name, world] of Object.entries(WORLDS)) {
    test.skipIf(ONLY_WORLD !== '' && name !== ONLY_WORLD)(name, () => {
      const seeds = Array.from({ length: NUM_SEEDS }, (_, i) => i + 1);
      for (const seed of ONLY_SEED === '' ? seeds : [Number(ONLY_SEED)]) {
        const outcome = simulate(name, seed, world);
        total.steps += outcome.numSteps;
        total.preemptions += outcome.numPreemptions;
        total.copies += outcome.numCopies;
        total.hits += outcome.numHits;
        total.aborted += outcome.numAborted;
        total.finished += outcome.numFinished;
        total.failed += outcome.numFailed;
        total.swappedIn += outcome.numSwappedIn;
        total.putBack += outcome.numPutBack;
        total.undone += outcome.numUndone;
        total.stateHits += outcome.numStateHits;
        total.overwritten += outcome.numOverwritten;
        total.forkedStates += outcome.numForkedStates;
        total.statesSwappedIn += outcome.numStatesSwappedIn;
        const { numFinished, numAborted, numRefused, numFailed } = outcome;
        expect(numFinished + numAborted + numRefused + numFailed).toBe(world.numRequests);
      }
    });
  }

  afterAll(() => {
    const { steps, preemptions, swappedIn, statesSwappedIn } = total;
    console.log(
      `simulated ${steps} steps, ${preemptions} preemptions, ${swappedIn} blocks and ` +
        `${statesSwappedIn} states swapped in`,
    );
  });

  test('a failure prints the command that replays it', () => {
    const [world] = Object.keys(WORLDS);
    const failing = () => simulate(world, 17, { ...BASE, numBlocks: 1 });
    expect(failing).toThrow(/OCTAVO_SIMULATE='a tiny pool:17' npx vitest run test\/simulation/);
  });

  test.skipIf(ONLY_WORLD !== '')('and everything that can go wrong was there to go wrong', () => {
    expect(total.steps).toBeGreaterThan(2_500 * NUM_SEEDS);
    expect(total.preemptions).toBeGreaterThan(75 * NUM_SEEDS);
    expect(total.copies).toBeGreaterThan(250 * NUM_SEEDS);
    expect(total.hits).toBeGreaterThan(2_500 * NUM_SEEDS);
    expect(total.aborted).toBeGreaterThan(250 * NUM_SEEDS);
    expect(total.finished).toBeGreaterThan(500 * NUM_SEEDS);
    expect(total.failed).toBeGreaterThan(10 * NUM_SEEDS);
    expect(total.swappedIn).toBeGreaterThan(100 * NUM_SEEDS);
    expect(total.putBack).toBeGreaterThan(50 * NUM_SEEDS);
    expect(total.undone).toBeGreaterThan(50 * NUM_SEEDS);
    expect(total.stateHits).toBeGreaterThan(50 * NUM_SEEDS);
    expect(total.overwritten).toBeGreaterThan(200 * NUM_SEEDS);
    expect(total.forkedStates).toBeGreaterThan(100 * NUM_SEEDS);
    expect(total.statesSwappedIn).toBeGreaterThan(20 * NUM_SEEDS);
  });
});

import { afterAll, describe, expect, test } from 'vitest';
import { type Outcome, Simulation, TINY_WORLD, type World } from '../support/simulate.js';

const BASE: World = {
  ...TINY_WORLD,
  numRequests: 150,
  abortPercent: 2,
};

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
  'a window': { ...BASE, slidingWindow: 9, numHostBlocks: 30, beamTenths: 3 },
  'a window of one block, swapped': {
    ...BASE,
    slidingWindow: 4,
    preemptionPolicy: 'swap',
    numHostBlocks: 40,
    maxN: 5,
    beamTenths: 4,
    numBlocks: 60,
  },
  'everything at once': {
    ...BASE,
    numBlocks: 36,
    schedulingPolicy: 'priority',
    numHostBlocks: 25,
    preemptionPolicy: 'swap',
    slidingWindow: 40,
    longPrefillThreshold: 7,
    beamTenths: 3,
    maxN: 4,
    failPercent: 1,
    abortPercent: 4,
  },
  'aborts everywhere': { ...BASE, abortPercent: 25, numRequests: 400 },
};

/** More worlds: OCTAVO_SIMULATION_SEEDS=100 npx vitest run test/simulation. */
const NUM_SEEDS = Number(process.env.OCTAVO_SIMULATION_SEEDS ?? 5);

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
        const { numFinished, numAborted, numRefused, numFailed } = outcome;
        expect(numFinished + numAborted + numRefused + numFailed).toBe(world.numRequests);
      }
    });
  }

  afterAll(() => {
    const { steps, preemptions, swappedIn } = total;
    console.log(
      `simulated ${steps} steps, ${preemptions} preemptions, ${swappedIn} blocks swapped in`,
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
  });
});

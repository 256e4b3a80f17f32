/**
 * What the scheduler costs the event loop: schedule + encode + commit of one decode step.
 *
 * All sequences have prompts of 512 tokens and fill a block of 16 in the same step (the worst case
 * that the median hides: 4,096 blocks to allocate and 4,096 to publish at once). The reference is
 * nano-vllm's schedule + postprocess in Python, without any encoding.
 *
 *   npx tsc -p tsconfig.bench.json && node .bench/bench/scheduler.js [--json FILE]
 */
import { completeParams, validateSamplingParams } from '../lib/core/sampling-params.js';
import { Scheduler } from '../lib/core/scheduler.js';
import { SequenceGroup } from '../lib/core/sequence.js';
import { resultOfTokens } from '../lib/core/step-result.js';
import { StepEncoder } from '../lib/wire/encode.js';
import { type BenchRow, jsonPath, report } from './support/report.js';

const PROMPT = 512;
const BLOCK = 16;
const WARM_STEPS = 96;
const STEPS = 320;
const MAX_TOKENS = WARM_STEPS + STEPS + 8;
const VOCAB = 151_936;
const REFERENCE_US: Record<number, number> = { 64: 26, 256: 103, 1024: 438, 4096: 2040 };
const neverStop = () => null;

function fill(scheduler: Scheduler, numSeqs: number): void {
  const limits = { vocabSize: VOCAB };
  const params = validateSamplingParams({ maxTokens: MAX_TOKENS }, limits);
  const draw = completeParams(params, { ...limits, eosTokenIds: [VOCAB - 1], seed: 1 });
  for (let i = 0; i < numSeqs; i++) {
    const promptTokens = Int32Array.from({ length: PROMPT }, (_, k) => (i * 31 + k * 7) % 1000);
    scheduler.add(new SequenceGroup({ id: `request-${i}`, promptTokens, params: draw }));
  }
}

/** Microseconds of each decode step with `numSeqs` sequences. */
function measure(numSeqs: number): number[] {
  const blocksEach = Math.ceil((PROMPT + MAX_TOKENS) / BLOCK);
  const scheduler = new Scheduler({
    numBlocks: numSeqs * (blocksEach + 1) + 1,
    blockSize: BLOCK,
    maxModelLen: 4096,
    maxNumSeqs: numSeqs,
    maxNumBatchedTokens: Math.max(PROMPT * numSeqs, 8192),
  });
  const encoder = new StepEncoder(scheduler.config);
  const result = resultOfTokens(new Int32Array(numSeqs));
  fill(scheduler, numSeqs);
  const times: number[] = [];
  for (let s = 0; s < 1 + WARM_STEPS + STEPS; s++) {
    for (let i = 0; i < numSeqs; i++) result.tokenIds[i] = (s * 131 + i * 17) % (VOCAB - 1);
    const start = performance.now();
    const step = scheduler.schedule();
    if (step === null || step.numSamples !== numSeqs) throw new Error('not a full batch');
    encoder.encode(step);
    scheduler.commit(step, result, neverStop);
    const time = (performance.now() - start) * 1000;
    if (s > WARM_STEPS) times.push(time);
  }
  return times.sort((a, b) => a - b);
}

function rowsFor(numSeqs: number): BenchRow[] {
  const times = measure(numSeqs);
  const median = times[times.length >> 1];
  const reference = REFERENCE_US[numSeqs];
  const shape = { sequences: numSeqs, prompt: PROMPT, block: BLOCK };
  return [
    { name: 'median', ...shape, value: median, unit: 'us', reference, ratio: median / reference },
    { name: 'per sequence', ...shape, value: (median * 1000) / numSeqs, unit: 'ns' },
    { name: 'worst', ...shape, value: times[times.length - 1], unit: 'us' },
  ];
}

const sizes = Object.keys(REFERENCE_US).map(Number);
// The compiler sees every size once before anything counts.
for (const size of sizes) measure(Math.min(size, 256));
report({ bench: 'scheduler', rows: sizes.flatMap(rowsFor), json: jsonPath() });

/**
 * What the KV of one long sequence takes where layers have windows: the pages that the scheduler
 * holds for it, beside uniform blocks (every layer keeps every token) and beside the least that
 * its layers look at. `held` is after a decode step, `peak` the most while the prompt is computed.
 *
 *   npx tsc -p tsconfig.bench.json && node .bench/bench/kv-groups.js [--json FILE]
 */
import { type LayerKv, planGroups } from '../lib/core/kv-groups.js';
import { completeParams, validateSamplingParams } from '../lib/core/sampling-params.js';
import { Scheduler } from '../lib/core/scheduler.js';
import { SequenceGroup } from '../lib/core/sequence.js';
import { resultOfTokens } from '../lib/core/step-result.js';
import { type BenchRow, jsonPath, report } from './support/report.js';

const BLOCK = 16;
const STEP_TOKENS = 2048;
const DECODES = 40;
const CONTEXTS = [32_768, 131_072];
const VOCAB = 1000;

interface Heads {
  readonly window: number;
  readonly numKvHeads: number;
  readonly headSize: number;
}

interface Shape {
  readonly name: string;
  readonly numLayers: number;
  /** Every so many layers one looks at all tokens. */
  readonly every: number;
  readonly local: Heads;
  readonly global: Omit<Heads, 'window'>;
}

const heads = (numKvHeads: number, headSize: number) => ({ numKvHeads, headSize });
const SHAPES: Shape[] = [
  {
    ...{ name: 'Gemma-3-27B, 5:1 of 1,024', numLayers: 62, every: 6 },
    ...{ local: { window: 1024, ...heads(16, 128) }, global: heads(16, 128) },
  },
  {
    ...{ name: 'gpt-oss-20b, 1:1 of 128', numLayers: 24, every: 2 },
    ...{ local: { window: 128, ...heads(8, 64) }, global: heads(8, 64) },
  },
  {
    ...{ name: 'as Gemma 4, 5:1 of 1,024, heads of 256 and 512', numLayers: 60, every: 6 },
    ...{ local: { window: 1024, ...heads(16, 256) }, global: heads(4, 512) },
  },
];

/** Its layers with 16-bit KV, or 8-bit with scales. */
function layersOf({ numLayers, every, local, global }: Shape, bits: number): LayerKv[] {
  return Array.from({ length: numLayers }, (_, i) => {
    const { window, numKvHeads, headSize } =
      (i + 1) % every === 0 ? { window: 0, ...global } : local;
    const valueBytes = (2 * numKvHeads * headSize * bits) / 8;
    return { window, valueBytes, scaleBytes: bits === 8 ? 2 * numKvHeads * 4 : 0 };
  });
}

/** Bytes of the pages that one sequence of `context` tokens holds, and the most on its way. */
function measure(layers: readonly LayerKv[], context: number) {
  const { groups, pageBytes } = planGroups(layers, BLOCK);
  const scheduler = new Scheduler({
    numBlocks: 1 + groups.length * Math.ceil(context / BLOCK + 2),
    blockSize: BLOCK,
    groups: groups.map(({ window, blockSize }) => ({ window, blockSize })),
    maxModelLen: context + 1,
    maxNumSeqs: 1,
    maxNumBatchedTokens: STEP_TOKENS,
  });
  const limits = { vocabSize: VOCAB };
  const params = validateSamplingParams({ maxTokens: DECODES + 1 }, limits);
  const draw = completeParams(params, { ...limits, eosTokenIds: [], seed: 1 });
  const promptTokens = Int32Array.from({ length: context - DECODES }, (_, i) => i % VOCAB);
  const group = new SequenceGroup({ id: 'one', promptTokens, params: draw });
  scheduler.add(group);
  const { pool } = scheduler;
  let [held, peak] = [0, 0];
  while (group.sequences[0].numComputed < context) {
    const step = scheduler.schedule();
    if (step === null) throw new Error('nothing to do before the context was reached');
    held = (pool.numUsable - pool.numFree) * pageBytes;
    peak = Math.max(peak, held);
    scheduler.commit(step, resultOfTokens(new Int32Array(step.numSamples).fill(7)), () => null);
    if (group.sequences[0].finishReason !== null) break;
  }
  return { held, peak, numGroups: groups.length };
}

/** What the layers look at. */
function least(layers: readonly LayerKv[], context: number): number {
  return layers.reduce((sum, { window, valueBytes, scaleBytes }) => {
    const tokens = window === 0 ? context : Math.min(window, context);
    return sum + tokens * (valueBytes + scaleBytes);
  }, 0);
}

function rowsFor(shape: Shape, bits: number, context: number): BenchRow[] {
  const layers = layersOf(shape, bits);
  const { held, peak, numGroups } = measure(layers, context);
  const uniform = measure(
    layers.map((layer) => ({ ...layer, window: 0 })),
    context,
  ).held;
  const what = { shape: shape.name, bits, context, groups: numGroups };
  const row = (name: string, bytes: number): BenchRow => {
    const value = bytes / context / 1024;
    return { name, ...what, value, unit: 'KiB', ofUniform: bytes / uniform };
  };
  const need = least(layers, context);
  return [
    { ...row('held', held), ofNeed: held / need },
    { ...row('peak', peak), ofNeed: peak / need },
    row('need', need),
    row('uniform', uniform),
  ];
}

const rows = SHAPES.flatMap((shape) =>
  [16, 8].flatMap((bits) => CONTEXTS.flatMap((context) => rowsFor(shape, bits, context))),
);
report({ bench: 'kv-groups', rows, json: jsonPath() });

import { expect, it } from 'vitest';
import { createNativeExecutor } from '../../lib/engine/executor.js';
import { ERRORS } from '../../lib/errors.js';
import { type Checkpoint, openCheckpoint } from '../../lib/model/checkpoint.js';
import type { NativeTensor } from '../../lib/native.js';
import { STEP_LAYOUT as L } from '../../lib/wire/layout.js';
import { ON_CPU, testAddon, testDevice } from '../support/addon.js';
import { sample } from '../support/all.js';
import { mutants } from '../support/mutants.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';

const RUNS = Number(process.env.FUZZ_RUNS ?? sample(150, 400));
const addon = testAddon();

/** Loads and runs a step of four tokens. */
async function tryOut(checkpoint: Checkpoint, tensors: readonly NativeTensor[]): Promise<string> {
  const { spec, files } = checkpoint;
  const limits = {
    numBlocks: 3,
    blockSize: 16,
    groups: [{ window: 0, blockSize: 16, layers: spec.layers.map((_, i) => i) }],
    maxNumSeqs: 1,
    maxNumBatchedTokens: 16,
    maxModelLen: 32,
    blocksPerRow: 2,
    numHostBlocks: 2,
  };
  try {
    const executor = await createNativeExecutor(
      { spec, limits, files, tensors, ...ON_CPU, device: testDevice() },
      addon,
    );
    const words = Int32Array.of(
      ...Array(L.headerWords).fill(0),
      // one sequence, its tokens
      ...[4, 4, 0, 0, 1],
      ...[0, 0, 0, 0],
      // the sample, and what begins its row
      ...[3, 0, 4, L.headerWords + 14, L.noMask],
      ...[L.rowBegins, L.everyToken, 0, 0, 0, 0],
    );
    words[L.headerVersion] = L.version;
    words[L.headerTotalWords] = words.length;
    words[L.headerNumSeqs] = words[L.headerNumSamples] = 1;
    words[L.headerNumTokens] = 4;
    words[L.headerNumGroups] = 1;
    const at = L.headerWords;
    words[L.headerSeqsAt] = at;
    words[L.headerTokensAt] = at + 5;
    words[L.headerRecordsAt] = words[L.headerSwapsAt] = words[L.headerCopiesAt] = at + 9;
    words[L.headerSamplesAt] = at + 9;
    words[L.headerPromptRowsAt] = words[L.headerExtrasAt] = at + 14;
    const samplers = Float64Array.of(0, 1, 0, 1, 0, 0, 0, -1, 0, 0);
    try {
      await executor.execute(words, Int32Array.of(1, 2), samplers);
    } finally {
      await executor.close();
    }
    return 'ran';
  } catch (error) {
    const { code } = error as { code: string };
    if (!(code in ERRORS)) throw error;
    return code;
  }
}

/** What lib/ would never send: native must not believe it either. */
function spoil(tensors: readonly NativeTensor[], seed: number): NativeTensor[] {
  const rng = random(seed);
  const list = tensors.map((t) => ({ ...t }));
  const fields = ['rows', 'cols', 'file', 'offset', 'bytes'] as const;
  const values = [0, 1, 7, 2 ** 20, 2 ** 31, 2 ** 40, 2 ** 52];
  const target = list[rng.integer(list.length)];
  if (rng.integer(5) === 0)
    target.dtype = (['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0'] as const)[rng.integer(5)];
  target[fields[rng.integer(fields.length)]] = values[rng.integer(values.length)];
  if (rng.integer(6) === 0) list.splice(rng.integer(list.length), 1);
  if (rng.integer(6) === 0) list.push({ ...target });
  return list;
}

it(`${RUNS} damaged models and tensor lists do the native side no harm`, async () => {
  const counts: Record<string, number> = {};
  const note = (outcome: string) => {
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  };
  for (const { path, run } of mutants(RUNS)) {
    const checkpoint = await openCheckpoint(path).catch(() => null);
    if (checkpoint === null) continue;
    // A damaged config may ask for sizes that only memory forbids; the point here is the files.
    const { vocabSize, maxPositionEmbeddings } = checkpoint.spec;
    if (vocabSize > 1e5 || maxPositionEmbeddings < 32) continue;
    note(await tryOut(checkpoint, checkpoint.tensors));
    note(`spoiled: ${await tryOut(checkpoint, spoil(checkpoint.tensors, SEED + run))}`);
  }
  console.log(`native fuzz: ${JSON.stringify(counts)}`);
  expect(counts.ran).toBeGreaterThan(0);
  expect(counts['spoiled: ERR_MODEL_FORMAT']).toBeGreaterThan(0);
});

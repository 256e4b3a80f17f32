/**
 * A mixture of experts, 5.1 billion parameters of which a token meets 0.9 billion, with random
 * weights: octavo beside node-llama-cpp, taking turns in one run over the same file, as in `peers`.
 * Both decode greedily from the same prompts, 1, 8 and 32 of them.
 * `--quick`: fewer layers, prompts and tokens; `--type Q8_0`: another type than Q4_K.
 */
import { parseArgs } from 'node:util';
import { machine, machineRows, median } from './support/machine.js';
import { installPeer, type Load, measure, startWorkers } from './support/peer-workers.js';
import { MOE_5B, randomModel, type Shape, type StoredType } from './support/random-models.js';
import { type BenchRow, jsonPath, report, saveJson } from './support/report.js';

const { quick, type } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    type: { type: 'string', default: 'Q4_K' },
    json: { type: 'string' },
  },
}).values;
const TYPES: readonly string[] = ['Q4_K', 'Q8_0', 'Q4_0'];
if (!TYPES.includes(type)) throw new Error(`--type must be one of ${TYPES.join(', ')}`);

const shape: Shape = quick ? { ...MOE_5B, name: 'moe-small', layers: 2 } : MOE_5B;
const load = (n: number, prompt: number, output = quick ? 8 : 32): Load => ({ n, prompt, output });
const loads = quick
  ? [load(1, 32), load(8, 32)]
  : [load(1, 128), load(8, 128), load(32, 128), load(1, 1024, 8)];

/** Experts that n tokens meet at least once, if each is as likely. */
function expertsMet(n: number): number {
  const { count, each } = shape.experts!;
  return count * (1 - (1 - each / count) ** n);
}

/** Bytes of weights that a step of n sequences reads: attention, head, and the experts it meets. */
function bytesRead(n: number): number {
  const { hidden, headSize, heads, kvHeads, layers, vocab, ffn } = shape;
  const attention = hidden * headSize * 2 * (heads + kvHeads);
  const values = layers * (attention + expertsMet(n) * 3 * hidden * ffn) + hidden * vocab;
  return values * { Q4_K: 144 / 256, Q8_0: 34 / 32, Q4_0: 18 / 32 }[type as 'Q4_K']!;
}

installPeer();
const m = machine();
const rows: BenchRow[] = machineRows(m);
const path = randomModel(shape, type as StoredType);
const workers = startWorkers();
try {
  for (const worker of workers) await worker.call('load', { model: path });
  for (const one of loads) {
    for (const { name, ours, theirs } of await measure(workers, one, quick ? 2 : 3)) {
      const ratios = ours.map((rate, i) => rate / theirs[i]);
      const value = median(ours);
      rows.push({
        name,
        model: shape.name,
        type,
        concurrent: one.n,
        prompt: one.prompt,
        value,
        unit: 'tok/s',
        reference: median(theirs),
        ratio: median(ratios),
        least: Math.min(...ratios),
        most: Math.max(...ratios),
        ...(name === 'decode' ? { ofRead: value / one.n / (m.read / bytesRead(one.n)) } : {}),
      });
    }
    saveJson({ bench: 'moe', rows, json: jsonPath() });
  }
} finally {
  for (const worker of workers) worker.stop();
}
report({ bench: 'moe', rows, json: jsonPath() });

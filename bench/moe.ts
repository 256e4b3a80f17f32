/**
 * A mixture of experts, 5.1 billion parameters of which a token meets 0.9 billion, with random
 * weights: octavo beside node-llama-cpp, taking turns in one run over the same file, as in `peers`.
 * Both decode greedily from the same prompts, 1, 8 and 32 of them.
 * `--quick`: fewer layers, prompts and tokens; `--type Q8_0`: another type than Q4_K.
 */
import { machine } from './support/machine.js';
import { besidePeer, shapeFlags } from './support/one-shape.js';
import { MOE_5B, randomModel, type Shape } from './support/random-models.js';
import { jsonPath, report } from './support/report.js';

const { quick, type } = shapeFlags(['Q4_K', 'Q8_0', 'Q4_0']);
const shape: Shape = quick ? { ...MOE_5B, name: 'moe-small', layers: 2 } : MOE_5B;

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

const m = machine();
const path = randomModel(shape, type);
const setup = { bench: 'moe', machine: m, model: shape.name, type, path, quick };
const rows = await besidePeer(setup, (row, { n }) =>
  row.name === 'decode' ? { ofRead: row.value / n / (m.read / bytesRead(n)) } : {},
);
report({ bench: 'moe', rows, json: jsonPath() });

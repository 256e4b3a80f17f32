/**
 * Gemma 4 E2B's shape (heads of 256 and 512, sliding windows, KV that layers share, a table for
 * each layer; random weights), Q4_K in memory: octavo beside node-llama-cpp, taking turns in one
 * run over the same file, as in `peers`.
 * `--quick`: fewer layers, prompts and tokens; `--type Q8_0`: another type than Q4_K.
 */
import { machine } from './support/machine.js';
import { besidePeer, shapeFlags } from './support/one-shape.js';
import { GEMMA4_E2B, randomModel, type Shape } from './support/random-models.js';
import { jsonPath, report } from './support/report.js';

const { quick, type } = shapeFlags(['Q4_K', 'Q8_0']);
const { gemma } = GEMMA4_E2B;
const shape: Shape =
  quick && gemma
    ? { ...GEMMA4_E2B, name: 'gemma4-small', layers: 10, gemma: { ...gemma, sharing: 5 } }
    : GEMMA4_E2B;

const path = randomModel(shape, type);
const setup = { bench: 'gemma4', machine: machine(), model: shape.name, type, path, quick };
report({ bench: 'gemma4', rows: await besidePeer(setup), json: jsonPath() });

/** What benches of one shape beside node-llama-cpp share: their flags, their loads, the turns. */
import { parseArgs } from 'node:util';
import { type Machine, machineRows } from './machine.js';
import { besideRow, installPeer, type Load, measure, startWorkers } from './peer-workers.js';
import type { StoredType } from './random-models.js';
import { type BenchRow, jsonPath, saveJson } from './report.js';

/** Flags of the process: `--quick`, `--type` (the first of the types if not given), `--json`. */
export function shapeFlags(types: readonly [StoredType, ...StoredType[]]) {
  const { quick, type } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      type: { type: 'string', default: types[0] },
      json: { type: 'string' },
    },
  }).values;
  const known = types.find((one) => one === type);
  if (known === undefined) throw new Error(`--type must be one of ${types.join(', ')}`);
  return { quick, type: known };
}

interface Setup {
  readonly bench: string;
  readonly machine: Machine;
  /** What rows say of the model. */
  readonly model: string;
  readonly type: StoredType;
  readonly path: string;
  readonly quick: boolean;
}

/** Rows of the machine, and of prefill and decode at 1, 8 and 32 sequences, engines in turn. */
export async function besidePeer(
  { bench, machine, model, type, path, quick }: Setup,
  more: (row: BenchRow & { value: number }, load: Load) => object = () => ({}),
): Promise<BenchRow[]> {
  const load = (n: number, prompt: number, output = quick ? 8 : 32) => ({ n, prompt, output });
  const loads: Load[] = quick
    ? [load(1, 32), load(8, 32)]
    : [load(1, 128), load(8, 128), load(32, 128), load(1, 1024, 8)];
  installPeer();
  const rows = machineRows(machine);
  const workers = startWorkers();
  try {
    for (const worker of workers) await worker.call('load', { model: path });
    for (const one of loads) {
      for (const rates of await measure(workers, one, quick ? 2 : 3)) {
        const row = besideRow(rates, one, { model, type });
        rows.push({ ...row, ...more(row, one) });
      }
      saveJson({ bench, rows, json: jsonPath() });
    }
  } finally {
    for (const worker of workers) worker.stop();
  }
  return rows;
}

/** The engines' table: cells in turns, medians and ranges, octavo beside the best of the others. */
import type { Weights } from '../serving/engines.js';
import { median } from '../support/machine.js';
import type { Shape } from '../support/random-models.js';
import type { BenchRow } from '../support/report.js';
import { wordsOf } from '../support/words.js';
import { type Cell, isOnce, type Line, linesOf } from './cells.js';
import type { Engine } from './engine.js';
import { CANDIDATES, type Given } from './engines.js';

export interface Plan {
  readonly shape: Shape;
  readonly weights: Weights;
  readonly cells: readonly Cell[];
  readonly repeats: number;
  readonly options: Given['options'];
}

const OURS = 'octavo';

/** Measures one shape with one kind of weights; appends to `rows` and tells `save` now and then. */
export async function enginesTable(plan: Plan, rows: BenchRow[], save: () => void): Promise<void> {
  const { shape, weights, cells, repeats } = plan;
  console.log(`\n${shape.name}, ${weights}`);
  const engines = await startAll(plan, rows);
  const texts: string[][] = [];
  try {
    for (const cell of cells) {
      const found = await inTurns(engines, cell, isOnce(cell) ? 1 : repeats);
      for (const [i, line] of linesOf(cell).entries()) {
        const values = new Map([...found].map(([name, runs]) => [name, runs.map((r) => r[i])]));
        rows.push(...rowsOf(plan, line, values));
        texts.push([`${line.name}, ${line.unit}`, ...textsOf(engines, line, values)]);
        console.log(texts.at(-1)!.join(' | '));
      }
      save();
    }
    for (const engine of engines) {
      const value = engine.peakMiB();
      if (value === undefined) continue;
      rows.push({ ...about(plan, 'peak memory', engine.name), value, unit: 'MiB' });
      console.log(`${engine.name}: at most ${Math.round(value)} MiB, cache and all`);
    }
    save();
  } finally {
    for (const engine of engines) engine.stop();
  }
  printTable([
    [`${shape.name} ${weights}`, ...engines.map((e) => e.name), 'to the best'],
    ...texts,
  ]);
}

const about = ({ shape, weights }: Plan, name: string, engine: string) => ({
  ...{ name, model: shape.name, weights, engine },
});

/** One after the other; who is not here or does not start is said, and left out. */
async function startAll(plan: Plan, rows: BenchRow[]): Promise<Engine[]> {
  const { shape, weights, options } = plan;
  const given = { shape, weights, options, words: wordsOf(shape.vocab) };
  const engines: Engine[] = [];
  for (const { name, missing, start } of CANDIDATES) {
    if (missing !== undefined) {
      console.log(`${name} is not here; to have it measured: ${missing}`);
      continue;
    }
    try {
      const engine = await start(given);
      engines.push(engine);
      console.log(`${name}: ${engine.about}`);
      const { loadSeconds: value } = engine;
      if (value === undefined) continue;
      rows.push({ ...about(plan, 'load', name), value, unit: 's', given: engine.about });
      console.log(`${name}: loads in ${value.toFixed(2)} s, its program's start included`);
    } catch (error) {
      if (name === OURS) throw error;
      console.log(`${name} is left out: ${(error as Error).message}`);
    }
  }
  return engines;
}

/** Values of each engine, by run; who fails is said, and has none. Who begins changes. */
async function inTurns(
  engines: readonly Engine[],
  cell: Cell,
  repeats: number,
): Promise<Map<string, number[][]>> {
  const found = new Map<string, number[][]>(engines.map(({ name }) => [name, []]));
  for (let r = 0; r < repeats; r++) {
    const begin = r % engines.length;
    for (const engine of [...engines.slice(begin), ...engines.slice(0, begin)]) {
      const runs = found.get(engine.name);
      if (!runs) continue;
      const values = await engine.measure(cell).catch((error: Error) => error.message);
      if (typeof values !== 'string') {
        runs.push(values);
        continue;
      }
      if (engine.name === OURS) throw new Error(values);
      console.log(`${engine.name}: ${linesOf(cell)[0].name}: ${values}`);
      found.delete(engine.name);
    }
  }
  return found;
}

/** How many times better octavo is than the best of the others; undefined: there is none. */
function leadOf({ unit }: Line, values: ReadonlyMap<string, readonly number[]>) {
  const medians = [...values].filter(([name]) => name !== OURS).map(([, runs]) => median(runs));
  if (medians.length === 0) return undefined;
  const ours = median(values.get(OURS)!);
  const best = unit === 's' ? Math.min(...medians) : Math.max(...medians);
  return { best, times: unit === 's' ? best / ours : ours / best };
}

function rowsOf(plan: Plan, line: Line, values: ReadonlyMap<string, readonly number[]>) {
  const lead = leadOf(line, values);
  return [...values].map(([engine, runs]): BenchRow => {
    const row = { ...about(plan, line.name, engine), value: median(runs), unit: line.unit };
    const range = { least: Math.min(...runs), most: Math.max(...runs), runs: runs.length };
    const beside = engine === OURS && lead ? { reference: lead.best, ratio: lead.times } : {};
    return { ...row, ...range, ...beside };
  });
}

const short = (value: number) =>
  value >= 100 ? `${Math.round(value)}` : `${Number(value.toPrecision(3))}`;

function textsOf(
  engines: readonly Engine[],
  line: Line,
  values: ReadonlyMap<string, readonly number[]>,
): string[] {
  const texts = engines.map(({ name }) => {
    const runs = values.get(name);
    if (!runs) return '–';
    const middle = short(median(runs));
    if (runs.length === 1) return middle;
    return `${middle} (${short(Math.min(...runs))}–${short(Math.max(...runs))})`;
  });
  const lead = leadOf(line, values);
  return [...texts, lead ? `${lead.times.toFixed(2)}x` : '–'];
}

/** As Markdown, for the README. */
function printTable([head, ...lines]: readonly (readonly string[])[]): void {
  const text = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  console.log(`\n${[text(head), text(head.map(() => '---')), ...lines.map(text)].join('\n')}`);
}

/**
 * The experiment of the PagedAttention paper on real servers: octavo's, vLLM's on the CPU, and
 * llama.cpp's, each in its own processes, asked by `octavo bench serve` in turns. Models have
 * random weights and one vocabulary; lengths are like ShareGPT's, arrivals a Poisson process, both
 * the same for all. Who is not asked is stopped. What limits a rate is the normalized latency: the
 * sustained rate is where its mean is LIMIT times that of the slowest server with one request at a
 * time, so that each has at least so much room.
 * `--quick`: little of everything; `--full`: longer runs, and the 1B shape; `--only int8|BF16`;
 * `--out FOLDER` (default docs/serving). Peers: bench/serving/install-peers.sh.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Chart, drawCharts } from './paper/charts.js';
import { nextRate, type Point, rungBelow, sustained } from './serving/curve.js';
import { ENGINES, type Engine, type Weights } from './serving/engines.js';
import {
  askSeveral,
  BEAMS,
  benchServe,
  type Load,
  type Measured,
  PARALLEL,
  type Several,
  writeDataset,
} from './serving/load.js';
import { markdown } from './serving/markdown.js';
import { Server } from './serving/server.js';
import { median } from './support/machine.js';
import { LLAMA32_1B, randomModel, type Shape, SMOLLM2_135M } from './support/random-models.js';
import { type BenchRow, jsonPath, saveJson } from './support/report.js';
import { type Words, wordsOf } from './support/words.js';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    out: { type: 'string' },
    json: { type: 'string' },
  },
});
const { quick, full, only } = values;

const LIMIT = 2;
const SEED = 7;

/** Seconds of arrivals, requests at least, and those of the run with one at a time. */
const EFFORT = quick
  ? { window: 2, least: 6, alone: 3, repeats: 1 }
  : full
    ? { window: 60, least: 60, alone: 12, repeats: 5 }
    : { window: 15, least: 30, alone: 8, repeats: 3 };

/** An engine that runs, and what has been measured of it. */
interface Runner {
  readonly engine: Engine;
  readonly server: Server;
  readonly points: Point[];
}

interface Group {
  readonly shape: Shape;
  readonly weights: Weights;
  readonly words: Words;
  /** A folder whose tokenizer counts. */
  readonly folder: string;
  readonly runners: Runner[];
}

const rows: BenchRow[] = [];
const charts: Chart[] = [];

function add(row: BenchRow, what: string): void {
  rows.push(row);
  const { engine, value, unit } = row;
  console.log(`${engine}: ${what}: ${Number(value.toPrecision(3))} ${unit}`);
}

/** Starts who is there, one after the other; the others are said, and the bench goes on. */
async function start(group: Group): Promise<void> {
  const { shape, weights, words, runners } = group;
  for (const find of ENGINES) {
    const engine = find({ shape, vocabulary: words, weights });
    if ('missing' in engine) {
      console.log(`${engine.name} is not here; to have it measured: ${engine.missing}`);
      continue;
    }
    const log = join('.bench', 'serving', `${engine.name}-${shape.name}-${weights}.log`);
    const begin = performance.now();
    try {
      const server = await Server.start(engine.commandOf, log, engine.startTimeoutMs);
      server.hold();
      runners.push({ engine, server, points: [] });
      const { program, args, env = {} } = engine.commandOf(server.port);
      const set = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      const row = {
        ...{ name: 'start', model: shape.name, weights, engine: engine.name },
        ...{ version: engine.version, arithmetic: engine.arithmetic },
        ...{ given: [...set, program, ...args].join(' ') },
        ...{ value: (performance.now() - begin) / 1000, unit: 's' },
      };
      add(row, `${engine.version}, ${engine.arithmetic}, starts`);
    } catch (error) {
      console.log(`${engine.name} did not start: ${(error as Error).message}`);
    }
  }
}

/** Asks one; null, and it is left out from then on, where that fails. */
async function turn<T>(
  group: Group,
  runner: Runner,
  ask: (server: Server) => Promise<T>,
): Promise<T | null> {
  const { engine, server } = runner;
  server.goOn();
  try {
    return await ask(server);
  } catch (error) {
    console.log(`${engine.name} is left out from here on: ${(error as Error).message}`);
    server.kill();
    group.runners.splice(group.runners.indexOf(runner), 1);
    return null;
  } finally {
    server.hold();
  }
}

async function measure(group: Group, runner: Runner, load: Load): Promise<Measured | null> {
  const { words, folder, shape, weights } = group;
  const dataset = writeDataset(load, words.words, SEED);
  const measured = await turn(group, runner, (server) =>
    benchServe(server, { load, dataset, folder, seed: SEED }),
  );
  if (!measured) return null;
  const { rate, normalizedMs, ...rest } = measured;
  const row = {
    ...{ name: 'normalized latency', model: shape.name, weights, engine: runner.engine.name },
    ...{ rate: rate ?? 'one at a time', ...rest, value: normalizedMs, unit: 'ms/token' },
  };
  add(row, rate === null ? 'one at a time' : `${rate} requests/s`);
  sayIfOther(row);
  return measured;
}

/** All count alike, or they were not asked the same. */
function sayIfOther(row: BenchRow): void {
  const isSame = (one: BenchRow) =>
    ['name', 'model', 'weights', 'rate', 'requests'].every((key) => one[key] === row[key]);
  const { promptTokens, outputTokens } = rows.find(isSame)!;
  if (promptTokens !== row.promptTokens || outputTokens !== row.outputTokens) {
    const own = `${row.promptTokens} and ${row.outputTokens} tokens`;
    console.log(`${row.engine} counts ${own}, another ${promptTokens} and ${outputTokens}`);
  }
}

/** The limit, by the slowest with one request at a time, and the first rung, by the fastest. */
async function alone(group: Group): Promise<{ limit: number; first: number }> {
  const all: Measured[] = [];
  for (const runner of [...group.runners]) {
    const one = await measure(group, runner, { rate: null, requests: EFFORT.alone });
    if (one) all.push(one);
  }
  const limit = LIMIT * Math.max(...all.map(({ normalizedMs }) => normalizedMs));
  const rate = 1000 / Math.min(...all.map(({ e2eMs }) => e2eMs));
  return { limit, first: rungBelow(2.5 * rate) };
}

/** Rung by rung, in turns: who begins changes. */
async function curves(group: Group, limit: number, first: number): Promise<void> {
  for (let round = 0; ; round++) {
    const next = group.runners.flatMap((runner) => {
      const rate = nextRate(runner.points, limit, first);
      return rate === null ? [] : [{ runner, rate }];
    });
    if (next.length === 0) return;
    const begin = round % next.length;
    for (const { runner, rate } of [...next.slice(begin), ...next.slice(0, begin)]) {
      const requests = Math.max(EFFORT.least, Math.ceil(rate * EFFORT.window));
      const measured = await measure(group, runner, { rate, requests });
      if (measured) runner.points.push({ rate, latency: measured.normalizedMs });
    }
  }
}

/** Several sequences of one prompt, with nothing beside them; the median. */
async function several(group: Group, what: Several): Promise<void> {
  const { words, shape, weights } = group;
  const found = new Map<Runner, number[] | string>();
  for (let repeat = 0; repeat <= EFFORT.repeats; repeat++) {
    for (const runner of [...group.runners]) {
      const { engine } = runner;
      const times = found.get(runner) ?? [];
      if (typeof times === 'string') continue;
      const none = what === BEAMS ? engine.noBeams : undefined;
      const answer =
        none ??
        (await turn(group, runner, (server) =>
          askSeveral(server, what, words.words, SEED + repeat).catch((e: Error) => e.message),
        ));
      if (answer === null) found.delete(runner);
      else if (typeof answer === 'string') found.set(runner, answer);
      // The first one is for warming up.
      else found.set(runner, repeat === 0 ? [] : [...times, answer]);
    }
  }
  const ours = [...found].find(([{ engine }]) => engine.name === 'octavo')?.[1];
  for (const [{ engine }, times] of found) {
    const about = { name: what.name, model: shape.name, weights, engine: engine.name };
    if (typeof times === 'string') {
      console.log(`${engine.name}: ${what.name}: ${times}`);
      rows.push({ ...about, value: 0, unit: 's', refused: times });
      continue;
    }
    const value = median(times);
    const ratio = Array.isArray(ours) ? value / median(ours) : undefined;
    add({ ...about, value, unit: 's', octavoFaster: ratio }, what.name);
  }
}

/** octavo's rate beside each peer's, and the plot. */
function conclude(group: Group, limit: number): void {
  const { shape, weights, runners } = group;
  const rates = runners.map(({ engine, points }) => ({ engine, rate: sustained(points, limit) }));
  const ours = rates.find(({ engine }) => engine.name === 'octavo')?.rate;
  for (const { engine, rate } of rates) {
    if (rate === null) {
      console.log(`${engine.name}: its sustained rate was not found`);
      continue;
    }
    const about = { model: shape.name, weights, engine: engine.name, limitMs: limit };
    const times = ours ? { octavo: ours, octavoTimes: ours / rate } : {};
    const row = { name: 'sustained rate', ...about, value: rate, unit: 'requests/s', ...times };
    add(row, `sustained at ${limit.toFixed(1)} ms a token`);
  }
  for (const { engine, server } of runners) {
    const about = { model: shape.name, weights, engine: engine.name };
    add({ name: 'peak memory', ...about, value: server.peakMiB(), unit: 'MiB' }, 'peak memory');
  }
  charts.push({
    name: `${shape.name}-${weights.toLowerCase()}`,
    title: `${shape.name}, ${weights}: normalized latency against request rate`,
    x: 'requests a second',
    y: 'ms a token',
    kind: 'line',
    yMax: Math.ceil(1.5 * limit),
    series: runners.map(({ engine, points }) => ({
      name: engine.name,
      points: [...points].sort((a, b) => a.rate - b.rate).map((p) => [p.rate, p.latency] as const),
    })),
  });
}

async function compare(shape: Shape, weights: Weights): Promise<void> {
  console.log(`\n${shape.name}, ${weights}`);
  const words = wordsOf(shape.vocab);
  const folder = randomModel(shape, 'BF16', { vocabulary: words });
  const group: Group = { shape, weights, words, folder, runners: [] };
  await start(group);
  try {
    if (group.runners.length === 0) throw new Error('no server started');
    const { limit, first } = await alone(group);
    await curves(group, limit, first);
    for (const what of [PARALLEL, BEAMS]) await several(group, what);
    conclude(group, limit);
  } finally {
    for (const { server } of group.runners) server.kill();
  }
}

const out = values.out ?? (quick ? join('.bench', 'serving') : join('docs', 'serving'));
mkdirSync(out, { recursive: true });
const begin = performance.now();
for (const shape of full ? [SMOLLM2_135M, LLAMA32_1B] : [SMOLLM2_135M]) {
  for (const weights of (quick ? ['int8'] : ['int8', 'BF16']) as Weights[]) {
    if (!weights.toLowerCase().includes(only.toLowerCase())) continue;
    await compare(shape, weights);
    saveJson({ bench: 'serving', rows, json: jsonPath() ?? join(out, 'serving.json') });
  }
}
drawCharts(charts, out);
const effort = `${EFFORT.window} s of arrivals, at least ${EFFORT.least} requests a point`;
writeFileSync(join(out, 'figures.md'), markdown(rows, charts, { effort, limit: LIMIT }));
console.log(`${((performance.now() - begin) / 60_000).toFixed(1)} min; figures: ${out}`);

/**
 * Vectors of 1,000 texts of 20 to 300 tokens, by an encoder of random weights in the shape of
 * all-MiniLM-L6-v2: octavo beside @huggingface/transformers (onnxruntime), taking turns in one run
 * with the same weights. The peer is given the texts in the order of their lengths, in batches of
 * 1, 8 or 32, whichever is faster for it; octavo gets them as they come. Without {@link INSTALL}
 * octavo is measured alone. `--quick`: fewer texts and rounds.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { median } from './support/machine.js';
import { writeOnnx } from './support/onnx-encoder.js';
import { bareNode, Worker } from './support/peer-workers.js';
import { encoderTensors, MINILM, wordPieces, writeEncoder } from './support/random-encoder.js';
import { type BenchRow, jsonPath, report } from './support/report.js';

/** Its scripts would fetch what a GPU needs. */
const INSTALL =
  'npm install --ignore-scripts --prefix .bench/peers/embed @huggingface/transformers';
const quick = process.argv.includes('--quick');
const NUM_TEXTS = quick ? 100 : 1000;
const ROUNDS = quick ? 2 : 5;
const BATCHES = [1, 8, 32];

interface Measured {
  readonly ms: number;
  readonly vector: readonly number[];
  /** Of all texts, special tokens included; octavo says it. */
  readonly numTokens?: number;
  /** Most memory that the process has held, in bytes. */
  readonly peak: number;
  readonly isa?: string;
}

/** The folder of the model, which is written once. */
function model(): string {
  const folder = join('.bench', 'models-random', 'minilm');
  if (existsSync(join(folder, 'onnx', 'model.onnx'))) return folder;
  mkdirSync(join(folder, 'onnx'), { recursive: true });
  const tensors = encoderTensors(MINILM, 'vectors');
  writeEncoder(folder, MINILM, 'vectors', tensors);
  writeOnnx(join(folder, 'onnx', 'model.onnx'), MINILM, tensors);
  return folder;
}

/** Texts of `count` words each, a token a word; two more stand around them. */
function textOf(count: number, salt: number): string {
  const { words } = vocabulary;
  return Array.from({ length: count }, (_, i) => words[(salt * 7919 + i * 31) % words.length]).join(
    ' ',
  );
}

const vocabulary = wordPieces(MINILM.vocab);

/** Lengths from 20 to 300, evenly, in an order without order. */
const lengths = Array.from({ length: NUM_TEXTS }, (_, i) => 18 + ((i * 7919) % 281));
const textsOf = (round: number) => lengths.map((n, i) => textOf(n, round * NUM_TEXTS + i));

const byLength = (texts: readonly string[]) => texts.toSorted((a, b) => a.length - b.length);

const hasPeer = existsSync(
  join('.bench', 'peers', 'embed', 'node_modules', '@huggingface', 'transformers'),
);
const ours = new Worker<Measured>(join('.bench', 'bench', 'embed-octavo.js'));
const theirs = hasPeer ? new Worker<Measured>(join('bench', 'peers', 'transformers.mjs')) : null;

/** The batch with which the peer is fastest. */
async function bestBatch(peer: Worker<Measured>): Promise<number> {
  const texts = byLength(textsOf(90).slice(0, 96));
  let best = { batch: 1, ms: Number.POSITIVE_INFINITY };
  // The first run warms up.
  for (const batch of [1, ...BATCHES]) {
    const { ms } = await peer.call('run', { texts, batch });
    if (ms < best.ms) best = { batch, ms };
  }
  return best.batch;
}

/** Greatest difference of a vector's values, of its largest. */
function difference(a: readonly number[], b: readonly number[]): number {
  const most = Math.max(...b.map(Math.abs));
  return Math.max(...a.map((value, i) => Math.abs(value - b[i]))) / most;
}

interface Rates {
  readonly ours: number[];
  readonly theirs: number[];
}

/** Texts a second in each round. */
async function rates(textsFor: (round: number) => string[], batch: number): Promise<Rates> {
  const found: Rates = { ours: [], theirs: [] };
  for (let round = 0; round < ROUNDS; round++) {
    const texts = textsFor(round);
    const { ms } = await ours.call('run', { texts });
    found.ours.push(texts.length / (ms / 1000));
    if (theirs === null) continue;
    const answer = await theirs.call('run', { texts: byLength(texts), batch });
    found.theirs.push(texts.length / (answer.ms / 1000));
  }
  return found;
}

function row(name: string, { ours, theirs }: Rates, more: object): BenchRow {
  const ratios = theirs.map((rate, i) => ours[i] / rate);
  return {
    ...{ name, value: median(ours), unit: 'texts/s', least: Math.min(...ours) },
    ...{ most: Math.max(...ours), ...more },
    ...(theirs.length > 0 ? { reference: median(theirs), ratio: median(ratios) } : {}),
  };
}

const rows: BenchRow[] = [];
const folder = model();
const { isa } = await ours.call('load', { model: folder });
await theirs?.call('load', { model: folder });
const batch = theirs === null ? 0 : await bestBatch(theirs);
const warm = textsOf(91).slice(0, 64);
const { vector } = await ours.call('run', { texts: warm });
if (theirs !== null) {
  const answer = await theirs.call('run', { texts: warm, batch: 1 });
  const value = difference(vector, answer.vector);
  rows.push({ name: 'greatest difference of a vector', value, unit: 'of its largest value' });
}
const all = await rates(textsOf, batch);
const numTokens = lengths.reduce((sum, n) => sum + n + 2, 0);
rows.push(
  row(`${NUM_TEXTS} texts of 20 to 300 tokens`, all, {
    tokensPerSecond: (median(all.ours) * numTokens) / NUM_TEXTS,
    ...(theirs === null ? {} : { batch }),
  }),
);
for (const length of [20, 300]) {
  const one = await rates((round) => [textOf(length - 2, 9000 + round)], 1);
  rows.push(row(`one text of ${length} tokens`, one, {}));
}
const peaks = { ours: (await ours.call('run', { texts: warm })).peak - bareNode() };
const theirPeak = await theirs?.call('run', { texts: warm, batch: 1 });
rows.push({
  ...{ name: 'peak memory above bare Node', value: peaks.ours / 2 ** 20, unit: 'MiB' },
  ...(theirPeak === undefined ? {} : { reference: (theirPeak.peak - bareNode()) / 2 ** 20 }),
});
report({ bench: `embed (${isa})`, rows, json: jsonPath() });
if (theirs === null) {
  console.log(`no peer is installed; it comes by: ${INSTALL}`);
}
ours.stop();
theirs?.stop();

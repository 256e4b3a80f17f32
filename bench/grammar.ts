/**
 * Structured output: what grammars take to compile and masks to fill, over vocabularies of 4,096,
 * 128,256 and 151,936 tokens; what forks and rollbacks take; and tokens a second of 32 constrained
 * requests beside 32 others, on SmolLM2-135M's shape. `--quick`: the demo model alone; `--peer`:
 * web-xgrammar beside it, and node-llama-cpp (llama.cpp's grammars) beside the tokens a second.
 */
import { parseArgs } from 'node:util';
import { BUNDLED_MODEL, engineConfig } from '../lib/config/options.js';
import { Grammars } from '../lib/engine/grammars.js';
import { openTokenizer } from '../lib/engine/load.js';
import { Budget } from '../lib/grammar/budget.js';
import { specSource } from '../lib/grammar/compile.js';
import { encodeProgram } from '../lib/grammar/program.js';
import { LLM, type StructuredOutputs } from '../lib/index.js';
import { type NativeMatcher, native } from '../lib/native.js';
import type { Tokenizer } from '../lib/text/tokenizer.js';
import { median } from './support/machine.js';
import { installPeer, prompts, THEIRS, Worker } from './support/peer-workers.js';
import { randomModel, SMOLLM2_135M } from './support/random-models.js';
import { type BenchRow, jsonPath, report, saveJson } from './support/report.js';
import { PERSONS, RECORD, WORKLOADS, type Workload } from './support/schemas.js';
import { LLAMA3, QWEN3, tokenizerOf } from './support/vocabularies.js';
import { wordsOf } from './support/words.js';
import { xgrammarOf } from './support/xgrammar.js';

const { quick, peer: withPeer } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    peer: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
}).values;

const [PERSON] = WORKLOADS;

interface Vocabulary {
  readonly name: string;
  readonly tokenizer: Tokenizer;
  readonly vocabSize: number;
  readonly eosTokenId: number;
}

async function vocabularies(): Promise<Vocabulary[]> {
  const demo = await openTokenizer(BUNDLED_MODEL);
  const own = { name: 'demo', tokenizer: demo, vocabSize: demo.vocabSize };
  const known = quick ? [] : [LLAMA3, QWEN3];
  return [
    { ...own, eosTokenId: demo.eosTokenId! },
    ...known.map((one) => {
      const tokenizer = tokenizerOf(one);
      const { name, vocabSize, eosToken } = one;
      return { name, vocabSize, tokenizer, eosTokenId: tokenizer.tokenToId(eosToken)! };
    }),
  ];
}

/** Rows of percentiles, in the unit of the values. */
function percentiles(name: string, values: number[], unit: string, rest: object): BenchRow {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  const [p50, p90, p99] = [at(0.5), at(0.9), at(0.99)];
  return { name, ...rest, value: p50, unit, p90, p99, max: sorted.at(-1)!, count: sorted.length };
}

const timed = async (work: () => Promise<unknown> | unknown) => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

/** A fresh grammar each time, and the first walk over its texts; then walks over what is known. */
async function measureVocabulary(vocabulary: Vocabulary): Promise<BenchRow[]> {
  const { name, tokenizer, vocabSize, eosTokenId } = vocabulary;
  const options = { ...engineConfig({}), grammarCacheBytes: 2 ** 28 };
  const model = { vocabSize, eosTokenIds: [eosTokenId] };
  const grammars = new Grammars(native(), tokenizer, model, options);
  const rows: BenchRow[] = [];
  const buildMs = await timed(() => grammars.warmUp());
  rows.push({ name: 'tokens read', vocabulary: name, value: buildMs, unit: 'ms' });
  const peer = withPeer ? await xgrammarOf(tokenizer, vocabSize, eosTokenId) : null;
  const all = { compile: [] as number[], cold: [] as number[], warm: [] as number[] };
  const onLoop: number[] = [];
  for (const workload of WORKLOADS) {
    const own = await measureWorkload(grammars, vocabulary, workload);
    onLoop.push(...own.onLoop);
    const theirs = peer === null ? null : await peer(workload, quick ? 2 : 3);
    for (const kind of KINDS) {
      all[kind].push(...own[kind]);
      const rest = { vocabulary: name, workload: workload.name };
      rows.push(rowOf(kind, own[kind], rest));
      if (theirs !== null) rows.push(rowOf(kind, theirs[kind], { ...rest, peer: 'web-xgrammar' }));
    }
  }
  for (const kind of KINDS) {
    rows.push(rowOf(kind, all[kind], { vocabulary: name, workload: 'all' }));
  }
  const loop = { vocabulary: name, workload: 'all' };
  rows.push(percentiles('compile, on the event loop', onLoop, 'ms', loop));
  return rows;
}

const KINDS = ['compile', 'cold', 'warm'] as const;

function rowOf(kind: (typeof KINDS)[number], values: number[], rest: object): BenchRow {
  if (kind === 'compile') return percentiles('compile', values, 'ms', rest);
  return percentiles(
    `mask, ${kind}`,
    values.map((ms) => ms * 1000),
    'µs',
    rest,
  );
}

async function measureWorkload(
  grammars: Grammars,
  { tokenizer, vocabSize }: Vocabulary,
  w: Workload,
) {
  const mask = new Int32Array(Math.ceil(vocabSize / 32));
  const [compile, cold, warm, onLoop]: number[][] = [[], [], [], []];
  for (let salt = 0; salt < (quick ? 5 : 60); salt++) {
    const source = specSource(w.spec(salt), grammars.limits);
    onLoop.push(await timed(() => encodeProgram(source.build(new Budget()).grammar)));
    compile.push(await timed(() => grammars.compile(source)));
    const grammar = await grammars.compile(source);
    for (const into of [cold, warm, warm]) {
      for (const text of w.texts) {
        const ids = await tokenizer.encode(text, { addSpecialTokens: false });
        const matcher = grammar.start();
        for (const id of ids) {
          const start = performance.now();
          while (!matcher.fillMask(mask, 0)) await matcher.settle();
          into.push(performance.now() - start);
          if (!matcher.advance(id)) throw new Error(`${w.name}: ${text} is refused`);
        }
        matcher.close();
      }
    }
  }
  return { compile, cold, warm, onLoop };
}

/** Microseconds a call, in the middle of a text. */
async function measureForks({ name, tokenizer, vocabSize, eosTokenId }: Vocabulary) {
  const model = { vocabSize, eosTokenIds: [eosTokenId] };
  const grammars = new Grammars(native(), tokenizer, model, engineConfig({}));
  const grammar = await grammars.compile(specSource(PERSON.spec(0)));
  const ids = await tokenizer.encode(PERSON.texts[0], { addSpecialTokens: false });
  const matcher = grammar.start() as NativeMatcher;
  const half = ids.length >> 1;
  for (const id of ids.slice(0, half)) matcher.advance(id);
  const times = quick ? 2_000 : 20_000;
  const each = async (what: string, work: () => unknown): Promise<BenchRow> => {
    const ms = await timed(() => {
      for (let i = 0; i < times; i++) work();
    });
    return { name: what, vocabulary: name, value: (ms / times) * 1000, unit: 'µs' };
  };
  const next = ids[half];
  return [
    await each('advance + rollback of 1', () => matcher.advance(next) && matcher.rollback(1)),
    await each('fork', () => matcher.fork().close()),
  ];
}

/** Tokens a second from the first to the last, of 32 requests at once. */
async function rate(llm: LLM, structuredOutputs: StructuredOutputs | undefined, salt: number) {
  const n = 32;
  const maxTokens = quick ? 48 : 64;
  const prompts = Array.from({ length: n }, (_, i) => ({
    promptTokenIds: Array.from({ length: 32 }, (_, t) => 300 + ((salt * 31 + i * 77 + t) % 2000)),
  }));
  const rest = structuredOutputs ? { structuredOutputs } : { ignoreEos: true };
  const params = prompts.map((_, i) => ({ ...rest, maxTokens, seed: salt * 1000 + i }));
  const start = performance.now();
  const outputs = await llm.generate(prompts, params);
  const tokens = outputs.reduce((sum, { outputs: [one] }) => sum + one.tokenIds.length, 0);
  const first = Math.max(...outputs.map(({ metrics }) => metrics.timeToFirstTokenMs!));
  return (tokens - n) / ((performance.now() - start - first) / 1000);
}

async function measureServing(): Promise<BenchRow[]> {
  const model = quick
    ? BUNDLED_MODEL
    : randomModel(SMOLLM2_135M, 'BF16', { vocabulary: wordsOf(SMOLLM2_135M.vocab) });
  const llm = await LLM.load({ model, enablePrefixCaching: false });
  try {
    await rate(llm, PERSONS, 0);
    await rate(llm, undefined, 0);
    const [constrained, free]: number[][] = [[], []];
    for (let round = 1; round <= (quick ? 3 : 7); round++) {
      free.push(await rate(llm, undefined, round));
      constrained.push(await rate(llm, PERSONS, round));
    }
    const ratios = constrained.map((value, i) => value / free[i]);
    return [
      {
        name: '32 constrained beside 32 others',
        model: quick ? 'demo' : SMOLLM2_135M.name,
        value: median(constrained),
        unit: 'tok/s',
        reference: median(free),
        ratio: median(ratios),
        least: Math.min(...ratios),
        most: Math.max(...ratios),
      },
    ];
  } finally {
    await llm.close();
  }
}

/** The same of llama.cpp, over a file of the same shape and vocabulary. */
async function measureLlamaCpp(): Promise<BenchRow[]> {
  installPeer();
  const vocabulary = wordsOf(SMOLLM2_135M.vocab);
  const worker = new Worker(THEIRS);
  try {
    await worker.call('load', { model: randomModel(SMOLLM2_135M, 'F16', { vocabulary }) });
    const n = 32;
    const output = 64;
    const rateWith = async (schema: object | undefined, salt: number) => {
      const load = { n, prompt: 32, output };
      const run = { prompts: prompts(load, salt), output, schema, seed: salt * 1000 };
      const { times } = await worker.call('run', { ...run, flashAttention: true });
      const first = Math.max(...times.map(([one]) => one));
      const end = Math.max(...times.map((own) => own.at(-1)!));
      return (times.flat().length - n) / ((end - first) / 1000);
    };
    await rateWith(undefined, 0);
    const [constrained, free]: number[][] = [[], []];
    for (let round = 1; round <= 3; round++) {
      free.push(await rateWith(undefined, round));
      constrained.push(await rateWith(PERSONS.json as object, round));
    }
    return [
      {
        name: '32 constrained beside 32 others',
        ...{ model: SMOLLM2_135M.name, peer: 'node-llama-cpp' },
        ...{ value: median(constrained), unit: 'tok/s', reference: median(free) },
        ratio: median(constrained.map((value, i) => value / free[i])),
      },
    ];
  } finally {
    worker.stop();
  }
}

/** Steps that one request after the other takes, beside those it takes where all is drawn. */
async function measureJumps(): Promise<BenchRow[]> {
  const stepsWith = async (enableJumpForward: boolean) => {
    const llm = await LLM.load({ enableJumpForward });
    try {
      for (let seed = 0; seed < 16; seed++) {
        await llm.generate('A letter: ', { structuredOutputs: RECORD, seed, maxTokens: 300 });
      }
      const { numSteps, generationTokens, numTokensForced } = llm.stats();
      return { steps: numSteps / generationTokens, forced: numTokensForced / generationTokens };
    } finally {
      await llm.close();
    }
  };
  const [jumping, drawing] = [await stepsWith(true), await stepsWith(false)];
  return [
    {
      name: 'steps a token, forced tokens together',
      model: 'demo',
      value: jumping.steps,
      unit: 'steps',
      reference: drawing.steps,
      ratio: jumping.steps / drawing.steps,
      forced: jumping.forced,
    },
  ];
}

const rows: BenchRow[] = [];
for (const vocabulary of await vocabularies()) {
  rows.push(...(await measureVocabulary(vocabulary)), ...(await measureForks(vocabulary)));
  saveJson({ bench: 'grammar', rows, json: jsonPath() });
}
rows.push(...(await measureJumps()), ...(await measureServing()));
if (withPeer && !quick) rows.push(...(await measureLlamaCpp()));
report({ bench: 'grammar', rows, json: jsonPath() });

/**
 * What live copy-on-write is worth on the real engine (the demo model, CPU): parallel samples
 * beside the same requests as independent ones, beam search beside a beam search emulated by
 * re-submission (each step, every live beam is a request of its own for one token: what engines
 * without live forks do), both with the prefix cache on. Prompts and outputs have the mean lengths
 * of the paper's two traces: Alpaca 19/58, ShareGPT 161/338 (arXiv 2309.06180, section 6).
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EngineEvent, LLM, type RequestOutput } from '../lib/index.js';
import { type BenchRow, jsonPath, report } from './support/report.js';

const quick = process.argv.includes('--quick');
const LENGTHS = [
  { trace: 'Alpaca', prompt: 19, output: 58 },
  ...(quick ? [] : [{ trace: 'ShareGPT', prompt: 161, output: 338 }]),
];
const NUM_PROMPTS = 4;
const REPEATS = quick ? 1 : 3;

type Prompts = { promptTokenIds: number[] }[];
type Work = (llm: LLM, prompts: Prompts, length: number) => Promise<RequestOutput[]>;

interface Measured {
  readonly seconds: number;
  readonly peakBlocks: number;
  /** Share of the blocks that sharing saves, on average over steps. */
  readonly saved: number;
  readonly copies: number;
  readonly copiedBytes: number;
  readonly computed: number;
  readonly outputs: RequestOutput[];
}

const samples =
  (n: number): Work =>
  (llm, prompts, maxTokens) =>
    llm.generate(
      prompts,
      prompts.map((_, i) => ({ n, maxTokens, seed: 100 * i, ignoreEos: true })),
    );

const independent =
  (n: number): Work =>
  (llm, prompts, maxTokens) =>
    llm.generate(
      prompts.flatMap((prompt) => Array<Prompts[0]>(n).fill(prompt)),
      prompts.flatMap((_, i) =>
        Array.from({ length: n }, (__, k) => ({ maxTokens, seed: 100 * i + k, ignoreEos: true })),
      ),
    );

const beams =
  (beamWidth: number): Work =>
  (llm, prompts, maxTokens) =>
    llm.beamSearch(prompts, { beamWidth, maxTokens, ignoreEos: true });

/** The best `width` sequences of `maxTokens` tokens, by re-submission; no ending ids. */
async function resubmitted(llm: LLM, prompt: number[], width: number, maxTokens: number) {
  let live = [{ ids: [] as number[], logprob: 0 }];
  for (let step = 0; step < maxTokens; step++) {
    const rows = await llm.generate(
      live.map(({ ids }) => ({ promptTokenIds: [...prompt, ...ids] })),
      { maxTokens: 1, temperature: 0, ignoreEos: true, logprobs: 2 * width },
    );
    const all = rows.flatMap((row, beam) =>
      row.outputs[0].logprobs![0].top.map(({ tokenId, logprob }) => ({
        beam,
        ids: [...live[beam].ids, tokenId],
        logprob: live[beam].logprob + logprob,
      })),
    );
    live = all.sort((a, b) => b.logprob - a.logprob || a.beam - b.beam).slice(0, width);
  }
  return live;
}

/** Each prompt's beams, all prompts at once. */
const emulated =
  (width: number, found: number[][][]): Work =>
  async (llm, prompts, maxTokens) => {
    const lists = await Promise.all(
      prompts.map(({ promptTokenIds }) => resubmitted(llm, promptTokenIds, width, maxTokens)),
    );
    found.push(...lists.map((list) => list.map(({ ids }) => ids)));
    return [];
  };

async function measure(work: Work, prompts: Prompts, output: number): Promise<Measured> {
  const llm = await LLM.load({ maxNumSeqs: 64 });
  const events: EngineEvent[] = [];
  const reading = (async () => {
    for await (const event of llm.events()) events.push(event);
  })();
  try {
    await llm.generate('warm', { maxTokens: 8, ignoreEos: true });
    events.length = 0;
    const before = llm.stats();
    const start = performance.now();
    const outputs = await work(llm, prompts, output);
    const seconds = (performance.now() - start) / 1000;
    const { info } = llm;
    const stats = llm.stats();
    const total = (of: (event: EngineEvent) => number) =>
      events.reduce((sum, event) => sum + of(event), 0);
    const copies = stats.numBlockCopies - before.numBlockCopies;
    return {
      seconds,
      peakBlocks: Math.round(stats.peakKvCacheUsage * (info.numBlocks - 1)),
      saved: 1 - total((e) => e.numBlocksUsed) / total((e) => e.numTableEntries),
      copies,
      copiedBytes: copies * info.blockBytes,
      computed: total((e) => e.step.numTokens),
      outputs,
    };
  } finally {
    await llm.close();
    await reading;
  }
}

/** The fastest of a few: others of this machine only ever add. */
async function best(work: Work, prompts: Prompts, output: number): Promise<Measured> {
  const runs: Measured[] = [];
  for (let i = 0; i < REPEATS; i++) runs.push(await measure(work, prompts, output));
  return runs.sort((a, b) => a.seconds - b.seconds)[0];
}

function row(name: string, n: number, trace: string, ours: Measured, theirs: Measured): BenchRow {
  return {
    name,
    trace,
    n,
    value: ours.seconds,
    unit: 's',
    reference: theirs.seconds,
    faster: theirs.seconds / ours.seconds,
    savedPercent: 100 * ours.saved,
    peakBlocks: ours.peakBlocks,
    theirPeakBlocks: theirs.peakBlocks,
    copies: ours.copies,
    copiedMB: ours.copiedBytes / 1e6,
    computed: ours.computed,
    theirComputed: theirs.computed,
  };
}

async function main(): Promise<void> {
  const llm = await LLM.load();
  const text = readFileSync(join('models', 'octavo-demo', 'README.md'), 'utf8');
  const source = await llm.tokenizer.encode(text, { addSpecialTokens: false });
  await llm.close();
  const rows: BenchRow[] = [];
  for (const { trace, prompt, output } of LENGTHS) {
    const prompts = Array.from({ length: NUM_PROMPTS }, (_, i) => ({
      promptTokenIds: [0, ...source.slice(60 * i, 60 * i + prompt - 1)],
    }));
    for (const n of [2, 4, 6]) {
      const ours = await best(samples(n), prompts, output);
      const theirs = await best(independent(n), prompts, output);
      rows.push(row('parallel samples / independent requests', n, trace, ours, theirs));
    }
    for (const width of [2, 4, 6]) {
      const found: number[][][] = [];
      const ours = await best(beams(width), prompts, output);
      const theirs = await best(emulated(width, found), prompts, output);
      ours.outputs.forEach((request, i) => {
        assert.deepEqual(
          request.outputs.map((o) => o.tokenIds),
          found[i],
          'both searches find the same beams',
        );
      });
      rows.push(row('beam search / beams re-submitted', width, trace, ours, theirs));
    }
  }
  report({ bench: 'sharing', rows, json: jsonPath() });
}

await main();

import type { LLM } from '../engine/llm.js';
import type { EngineStats, RequestOutput } from '../engine/outputs.js';
import { bytes, count, printRows } from './report.js';

type Row = [name: string, text: string];

/** Of a model with recurrent layers. */
function statesRow({ numStatesUsed, numStatesCached, numStateHits }: EngineStats): Row {
  const kept = `${count(numStatesUsed)} in use, ${count(numStatesCached)} cached`;
  return ['states', `${kept}, ${count(numStateHits)} found again`];
}

function swappedStatesRow({ numStatesSwappedOut, numStatesSwappedIn }: EngineStats): Row {
  return ['states swapped', `${count(numStatesSwappedOut)} out, ${count(numStatesSwappedIn)} in`];
}

/** The table of --stats, on stderr. `wallMs` is generation only, without loading. */
export function printStats(llm: LLM, outputs: readonly RequestOutput[], wallMs: number): void {
  const stats = llm.stats();
  const { info } = llm;
  const first = outputs
    .map((output) => output?.metrics.timeToFirstTokenMs)
    .filter((ms): ms is number => typeof ms === 'number')
    .sort((a, b) => a - b);
  const pool = info.numBlocks * info.blockBytes;
  const hits = stats.prefixCacheHits;
  const shared = Math.max(0, ...outputs.map((output) => output?.numSharedBlocks ?? 0));
  printRows(
    [
      ['model', `${info.architecture}, ${count(info.numParameters)} parameters, ${info.dtype}`],
      ['device', `${info.device} (${info.isa}, ${info.numThreads} threads)`],
      [
        'requests',
        `${count(stats.numRequestsFinished)} finished, ${count(stats.numRequestsAborted)} aborted`,
      ],
      [
        'TTFT',
        first.length
          ? `${first[first.length >> 1].toFixed(1)} ms (median of ${first.length})`
          : '-',
      ],
      [
        'generated',
        `${count(stats.generationTokens)} tokens, ` +
          `${((1000 * stats.generationTokens) / wallMs).toFixed(1)} tokens/s`,
      ],
      ['prompts', `${count(stats.promptTokens)} tokens`],
      ['KV peak', `${(100 * stats.peakKvCacheUsage).toFixed(1)} % of ${bytes(pool)}`],
      ['cache hits', `${count(hits)} of ${count(stats.prefixCacheQueries)} prompt tokens`],
      ...(info.numStates > 0 ? [statesRow(stats)] : []),
      ['blocks shared', `${count(shared)} at most by one request`],
      ['block copies', count(stats.numBlockCopies)],
      ['preemptions', count(stats.numPreemptions)],
      [
        'blocks swapped',
        `${count(stats.numBlocksSwappedOut)} out, ${count(stats.numBlocksSwappedIn)} in`,
      ],
      ...(info.numStates > 0 ? [swappedStatesRow(stats)] : []),
      ['steps', count(stats.numSteps)],
    ],
    process.stderr,
  );
}

/** What pool and scheduler say of themselves: in stats(), and in the event of a step. */
import type { Scheduler } from '../core/scheduler.js';
import type { Step } from '../core/step.js';
import type { EngineEvent, EngineStats } from './outputs.js';

export function figuresOf(scheduler: Scheduler) {
  const { pool, states, stats } = scheduler;
  return {
    numRequestsRunning: scheduler.numRunning,
    numRequestsWaiting: scheduler.numWaiting,
    numRequestsSwapped: scheduler.numSwapped,
    kvCacheUsage: pool.usage,
    prefixCacheQueries: stats.numPrefixQueries,
    prefixCacheHits: stats.numPrefixHits,
    numStatesUsed: states?.slots.numUsed ?? 0,
    numStatesCached: states?.slots.numCached ?? 0,
    numStateHits: states?.numHits ?? 0,
    numPreemptions: stats.numPreemptions,
    numBlockCopies: stats.numBlockCopies,
    numBlocksSwappedOut: stats.numSwappedOut,
    numBlocksSwappedIn: stats.numSwappedIn,
    numStatesSwappedOut: stats.numStatesSwappedOut,
    numStatesSwappedIn: stats.numStatesSwappedIn,
  };
}

/** Figures after a step, which took `ms` and of them computed `computeMs`. */
export function stepEvent(
  scheduler: Scheduler,
  step: Step,
  stats: EngineStats,
  { ms, computeMs }: { readonly ms: number; readonly computeMs: number },
): EngineEvent {
  const { pool, config, states, numFreeHostBlocks } = scheduler;
  return {
    ...stats,
    time: Date.now(),
    numBlocksUsed: pool.numUsable - pool.numFree,
    numBlocksFree: pool.numFree,
    numBlocksCached: pool.prefixes.numPublished,
    numTableEntries: scheduler.numTableEntries,
    numHostBlocksUsed: config.numHostBlocks - numFreeHostBlocks,
    numHostStatesUsed: states === null ? 0 : states.host.slots.length - states.host.slots.numFree,
    step: {
      ms,
      computeMs,
      numSeqs: step.numSeqs,
      numTokens: step.numTokens,
      numBlockCopies: step.numCopies,
      numBlocksSwappedOut: step.numSwapOuts,
      numBlocksSwappedIn: step.numSwapIns,
    },
  };
}

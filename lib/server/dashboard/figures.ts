/** Figures in words: tiles, caches, grammars, preemption, the model. */
import { quantileMs } from '../../engine/durations.js';
import type { FiguresFrame, HelloFrame, LiveFrame, SpelledPrefix } from '../live-frames.js';
import { byId, bytes, count, pairs, percent, say, tag, time } from './dom.js';
import type { LiveState } from './state.js';

const part = (some: number, all: number) => (all === 0 ? 0 : some / all);

export function drawTiles({ frame, points, isLive }: LiveState): void {
  if (frame === null) return;
  const { stats } = frame;
  const last = points.at(-1);
  const rate = (value?: number | null) => (value == null ? '–' : count(Math.round(value)));
  const pool = frame.type === 'frame' ? frame.pool : null;
  const told: Record<string, string> = {
    'tokens/s generated': rate(last?.generated),
    'tokens/s of prompts': rate(last?.prompt),
    running: count(stats.numRequestsRunning),
    waiting: count(stats.numRequestsWaiting + stats.numRequestsSwapped),
    ...(pool === null
      ? {}
      : {
          'KV in use': percent(part(pool.numBlocks - pool.numFree, pool.numBlocks)),
          'prefix hits': percent(part(stats.prefixCacheHits, stats.prefixCacheQueries)),
        }),
    preemptions: count(stats.numPreemptions),
    'requests ended': count(stats.numRequestsFinished + stats.numRequestsAborted),
  };
  if (!isLive) for (const name of Object.keys(told)) told[name] = '–';
  pairs(byId('tiles'), told);
}

export function drawFigures(frame: LiveFrame | FiguresFrame): void {
  const { stats } = frame;
  const hits = part(stats.prefixCacheHits, stats.prefixCacheQueries);
  byId('prefix-bar').style.width = percent(hits);
  pairs(byId('prefix'), {
    'hit rate': percent(hits),
    'tokens looked up': count(stats.prefixCacheQueries),
    'tokens not computed': count(stats.promptTokensCached),
    ...(frame.type === 'frame' ? { 'blocks that can be hit': count(frame.pool.numCached) } : {}),
    'blocks copied on write': count(stats.numBlockCopies),
  });
  const { numRequestsBy: by } = stats;
  pairs(byId('preemption'), {
    preemptions: count(stats.numPreemptions),
    'blocks out, in': `${count(stats.numBlocksSwappedOut)}, ${count(stats.numBlocksSwappedIn)}`,
    ...(frame.type === 'frame' && frame.pool.numHostBlocks > 0
      ? { 'host blocks': `${count(frame.pool.numHostUsed)} of ${count(frame.pool.numHostBlocks)}` }
      : {}),
    'ended: stop, length': `${count(by.stop)}, ${count(by.length)}`,
    'abort, error': `${count(by.abort)}, ${count(by.error)}`,
  });
  if (frame.type !== 'frame') return;
  const { grammars, grammarTimes } = frame;
  pairs(byId('grammar'), {
    'compiled, found': `${count(grammars.numCompiled)}, ${count(grammars.numHits)}`,
    kept: `${count(grammars.numKept)} in ${bytes(grammars.numBytes)}`,
    'compile time': quantiles(grammarTimes.compileMs, time),
    'masks filled': count(stats.numMasks),
    'time of a mask': quantiles(grammarTimes.maskUs, (us) => `${us.toPrecision(2)} µs`),
    'tokens without a choice': count(stats.numTokensForced),
  });
}

function quantiles(counts: readonly number[], told: (value: number) => string): string {
  const [half, most] = [0.5, 0.99].map((part) => quantileMs(counts, part));
  return half === null || most === null ? '–' : `p50 ${told(half)}, p99 ${told(most)}`;
}

export function drawPrefixes(prefixes: readonly SpelledPrefix[]): void {
  const list = byId('prefixes');
  byId('prefixes-title').hidden = prefixes.length === 0;
  const state = JSON.stringify(prefixes);
  if (list.dataset.state === state) return;
  list.dataset.state = state;
  list.replaceChildren(
    ...prefixes.map(({ text, isSalted, numBlocks, numTokens, numUsers, users }) => {
      const name = isSalted ? tag('i', '', 'under a salt') : tag('q', '', text);
      const by = users.length < numUsers ? `${users.join(', ')} …` : users.join(', ');
      const used = numUsers === 0 ? 'not in use' : `used by ${count(numUsers)}`;
      const shared = `${count(numTokens)} tokens in common`;
      const facts = tag(
        'small',
        '',
        `${count(numBlocks)} block${numBlocks > 1 ? 's' : ''}, ${shared}, ${used}`,
      );
      const item = tag('li', '', name, ' ', facts);
      item.title = by;
      return item;
    }),
  );
}

export function drawInfo({ info, model, version }: HelloFrame): void {
  const isPooling = info.runner === 'pooling';
  const numUsable = info.numBlocks - 1;
  pairs(byId('info'), {
    model,
    architecture: info.architecture,
    parameters: count(info.numParameters),
    weights: `${bytes(info.weightBytes)}, computes in ${info.dtype}`,
    device: `${info.device} (${info.isa}, threads: ${info.numThreads})`,
    ...(isPooling
      ? {}
      : {
          context: `${count(info.maxModelLen)} tokens`,
          'KV of a token': bytes(info.kvBytesPerToken),
          'KV pool': `${count(numUsable)} blocks, ${bytes(numUsable * info.blockBytes)}`,
          'swap space': `${count(info.numHostBlocks)} blocks`,
          'sequences at once': count(info.maxNumSeqs),
          'tokens in a step': count(info.maxNumBatchedTokens),
        }),
    'may wait': count(info.maxNumWaiting),
    octavo: version,
  });
  const isBare = info.runner === 'pooling';
  document.body.classList.toggle('pools', isBare);
  if (isBare) say(byId('pool-note'), 'This model makes vectors: it keeps no KV.');
}

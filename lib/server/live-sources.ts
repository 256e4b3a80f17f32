/** Where the frames of the live page come from: a model that generates, or one that pools. */
import { blocksPerCell, numCells } from '../engine/block-cells.js';
import { DURATION_BOUNDS_MS } from '../engine/durations.js';
import type { LLM } from '../engine/llm.js';
import type { EngineEvent } from '../engine/outputs.js';
import type { Watcher } from '../engine/watch.js';
import type { PrefixFrame, SpanFrame } from '../engine/watch-frames.js';
import { encodeCells } from './cell-runs.js';
import type {
  FiguresFrame,
  HelloFrame,
  LiveFrame,
  SpelledPrefix,
  SpelledSpan,
} from './live-frames.js';
import { tokenText } from './logprobs.js';
import { VERSION } from './service.js';

/** Characters of a prefix. */
const MOST_CHARS = 40;

/** Of one who watches. */
export interface LiveSource {
  /** Waits until there is something new; false: there never will be. */
  changed(): Promise<boolean>;
  take(): LiveFrame | FiguresFrame;
  leave(): void;
}

/** @throws ERR_CLOSED */
export function openSource(llm: LLM): LiveSource {
  const watcher = llm.watch();
  return watcher === null ? new Figures(llm) : new Watched(llm, watcher);
}

export function helloOf(llm: LLM, model: string, models: readonly string[]): HelloFrame {
  const { info } = llm;
  const { runner, architecture, numParameters, weightBytes, dtype, vocabSize } = info;
  const { maxModelLen, blockSize, blockBytes, numBlocks, numHostBlocks, kvBytesPerToken } = info;
  const { maxNumSeqs, maxNumWaiting, maxNumBatchedTokens } = info;
  const { device, isa, numThreads, hasChatTemplate } = info;
  return {
    ...{ type: 'hello', model, models, version: VERSION },
    now: performance.now(),
    wallMs: Date.now(),
    info: {
      ...{ runner, architecture, numParameters, weightBytes, dtype, vocabSize },
      ...{ maxModelLen, blockSize, blockBytes, numBlocks, numHostBlocks, kvBytesPerToken },
      ...{ maxNumSeqs, maxNumWaiting, maxNumBatchedTokens },
      ...{ device, isa, numThreads, hasChatTemplate },
    },
    blocksPerCell: blocksPerCell(numBlocks),
    numCells: numBlocks === 0 ? 0 : numCells(numBlocks),
    boundsMs: DURATION_BOUNDS_MS,
  };
}

class Watched implements LiveSource {
  readonly #llm: LLM;
  readonly #watcher: Watcher;
  /** What the page has. */
  #cells: Uint8Array | null = null;

  constructor(llm: LLM, watcher: Watcher) {
    this.#llm = llm;
    this.#watcher = watcher;
  }

  changed(): Promise<boolean> {
    return this.#watcher.changed();
  }

  take(): LiveFrame {
    const { cells, spans, prefixes, ...rest } = this.#watcher.take();
    const before = this.#cells;
    const isSame = before !== null && Buffer.compare(before, cells) === 0;
    this.#cells = cells;
    return {
      type: 'frame',
      ...rest,
      spans: spans.map((span) => this.#spell(span)),
      ...(prefixes && { prefixes: prefixes.map((one) => this.#spellPrefix(one)) }),
      ...(isSame ? {} : { cells: Buffer.from(encodeCells(cells, before)).toString('base64') }),
    };
  }

  leave(): void {
    this.#watcher.leave();
  }

  #spellPrefix({ tokenIds, ...prefix }: PrefixFrame): SpelledPrefix {
    const { tokenizer } = this.#llm;
    const plain = tokenIds.filter((id) => !tokenizer.isSpecial(id));
    const words = plain.map((id) => tokenText(tokenizer, id).token);
    const text = [...words.join('').trim()].slice(0, MOST_CHARS).join('');
    return { ...prefix, text };
  }

  #spell({ beams, ...span }: SpanFrame): SpelledSpan {
    if (beams === undefined) return span;
    const { tokenizer } = this.#llm;
    const words = beams.nodes.map(([, id]) => (id < 0 ? '' : tokenText(tokenizer, id).token));
    return { ...span, beams: { ...beams, words } };
  }
}

/** The engine of a model that pools says what it counts after each step. */
class Figures implements LiveSource {
  readonly #llm: LLM;
  readonly #events: AsyncGenerator<EngineEvent, void, void>;
  #isFirst = true;

  constructor(llm: LLM) {
    this.#llm = llm;
    this.#events = llm.events();
  }

  async changed(): Promise<boolean> {
    if (this.#isFirst) {
      this.#isFirst = false;
      return true;
    }
    return (await this.#events.next()).done !== true;
  }

  take(): FiguresFrame {
    return { type: 'figures', now: performance.now(), stats: this.#llm.stats() };
  }

  leave(): void {
    void this.#events.return();
  }
}

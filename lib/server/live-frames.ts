/** What the live page is told: first who is watched, then frames. All of it is JSON. */
import type { ModelInfo } from '../engine/load.js';
import type { EngineStats } from '../engine/outputs.js';
import type { BeamsFrame, PrefixFrame, SpanFrame, WatchFrame } from '../engine/watch-frames.js';

export interface HelloFrame {
  readonly type: 'hello';
  /** The model that is watched, and all that can be. */
  readonly model: string;
  readonly models: readonly string[];
  readonly version: string;
  /** The moment on the clock of the frames, and of the wall. */
  readonly now: number;
  readonly wallMs: number;
  readonly info: Pick<
    ModelInfo,
    | ('runner' | 'architecture' | 'numParameters' | 'weightBytes' | 'dtype' | 'vocabSize')
    | ('maxModelLen' | 'blockSize' | 'blockBytes' | 'numBlocks' | 'numHostBlocks')
    | ('kvBytesPerToken' | 'maxNumSeqs' | 'maxNumWaiting' | 'maxNumBatchedTokens')
    | ('device' | 'isa' | 'numThreads' | 'hasChatTemplate')
  >;
  readonly blocksPerCell: number;
  readonly numCells: number;
  /** Of the counts of durations; the last count is beyond all. */
  readonly boundsMs: readonly number[];
}

/** With the text of each node's token. */
export interface SpelledBeams extends BeamsFrame {
  readonly words: readonly string[];
}

export interface SpelledSpan extends SpanFrame {
  readonly beams?: SpelledBeams;
}

/** A model that pools has figures alone. */
export interface FiguresFrame {
  readonly type: 'figures';
  readonly now: number;
  readonly stats: EngineStats;
}

/** With its first characters in place of its tokens. */
export interface SpelledPrefix extends Omit<PrefixFrame, 'tokenIds'> {
  readonly text: string;
}

export interface LiveFrame extends Omit<WatchFrame, 'cells' | 'spans' | 'prefixes'> {
  readonly type: 'frame';
  readonly spans: readonly SpelledSpan[];
  readonly prefixes?: readonly SpelledPrefix[];
  /** See `cell-runs.ts`, in base64; left out where none has changed. */
  readonly cells?: string;
}

/** Nothing has changed since the last frame; once a second, so that silence says something. */
export interface IdleFrame {
  readonly type: 'idle';
  readonly now: number;
}

/** The last one: the server, or the model, has ended. */
export interface ByeFrame {
  readonly type: 'bye';
}

export type LiveMessage = HelloFrame | FiguresFrame | LiveFrame | IdleFrame | ByeFrame;

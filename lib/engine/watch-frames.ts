/**
 * What those who watch an engine are told. It goes over the wire as JSON, block states aside.
 * All times are in milliseconds on the clock of `performance.now()`, as `now` of a frame is.
 */
import type { GrammarCounts } from '../grammar/compile.js';
import type { EngineStats } from './outputs.js';
import type { SurveyedPrefix } from './prefix-survey.js';

/** What a lane of a request does. */
export const ACTS = { queued: 0, prefill: 1, decode: 2, preempted: 3, swapped: 4 } as const;

export type Act = (typeof ACTS)[keyof typeof ACTS];

/** A stretch of time: what was done, from, to (−1: until now), and tokens computed in it. */
export type Segment = [act: Act, from: number, to: number, numTokens: number];

/** A sample, or what the beams of a search take turns to be. */
export interface LaneFrame {
  readonly index: number;
  /** The number of the first of these segments; those before it are known, or forgotten. */
  readonly first: number;
  readonly segments: readonly Segment[];
  /** How it ended; null: it has not. */
  readonly reason: string | null;
}

/** A hypothesis of a beam search: the token behind those of its parent, and their logprob. */
export type BeamNode = readonly [parent: number, tokenId: number, cumulativeLogprob: number];

export interface BeamsFrame {
  /** The number of the first of these nodes; node 0 is the prompt. */
  readonly first: number;
  readonly nodes: readonly BeamNode[];
  /** Nodes that live beams end with, best first, and finished ones with their scores. */
  readonly live: readonly number[];
  readonly finished: readonly (readonly [node: number, score: number])[];
  /** Hypotheses that there was no room for. */
  readonly numHidden: number;
}

export interface SpanHead {
  readonly id: string;
  readonly arrived: number;
  readonly numPromptTokens: number;
  readonly maxTokens: number;
  /** Samples, or beams. */
  readonly n: number;
  readonly isBeamSearch: boolean;
  /** Whether a grammar says what it may be. */
  readonly isStructured: boolean;
}

/** What is new of a request. */
export interface SpanFrame {
  /** Counts up from request to request. */
  readonly key: number;
  /** The first time. */
  readonly head?: SpanHead;
  readonly numCachedTokens: number;
  readonly numGeneratedTokens: number;
  readonly numPreemptions: number;
  readonly numSwaps: number;
  readonly numBlockCopies: number;
  readonly ttftMs: number | null;
  /** `stop`, `length`, `abort` or a code; null while it runs. */
  readonly reason: string | null;
  /** When it ended. */
  readonly ended: number | null;
  /** All forks, the newest last; of many only the newest. */
  readonly forks: readonly (readonly [at: number, parent: number, child: number])[];
  /** Lanes of which something is new. */
  readonly lanes: readonly LaneFrame[];
  readonly beams?: BeamsFrame;
}

export interface PoolFigures {
  readonly numBlocks: number;
  readonly numFree: number;
  /** Blocks that the prefix cache can hit, in use or free. */
  readonly numCached: number;
  readonly numHostBlocks: number;
  readonly numHostUsed: number;
}

/** A beginning of prompts that the prefix cache has. */
export interface PrefixFrame extends SurveyedPrefix {
  /** How many of the requests that run now begin so; the ids of some. */
  readonly numUsers: number;
  readonly users: readonly string[];
}

/** Of all steps since somebody watches. */
export interface StepSums {
  readonly numSteps: number;
  readonly ms: number;
  readonly computeMs: number;
  readonly numTokens: number;
  readonly numSeqs: number;
}

export interface WatchFrame {
  readonly now: number;
  readonly stats: EngineStats;
  readonly pool: PoolFigures;
  readonly grammars: GrammarCounts;
  readonly steps: StepSums;
  /** How many fell under each bound of `DURATION_BOUNDS_MS`, the last beyond all; since somebody
   * watches. */
  readonly durations: Readonly<Record<'queue' | 'ttft' | 'itl' | 'step', readonly number[]>>;
  /** Of grammars: of compiling one, under `DURATION_BOUNDS_MS`; and of one mask of each step that
   * has some, under the same bounds in µs. Since somebody watches. */
  readonly grammarTimes: Readonly<Record<'compileMs' | 'maskUs', readonly number[]>>;
  readonly spans: readonly SpanFrame[];
  /** The keys of all that are shown, where others are than before: the rest may be forgotten. */
  readonly shown?: readonly number[];
  /** Requests that have not ended and are not shown. */
  readonly numHidden: number;
  /** What the prefix cache has most of, where that has been found out anew. */
  readonly prefixes?: readonly PrefixFrame[];
  /** The state of each cell of the pool, see `block-cells.ts`; shared, not to be changed. */
  readonly cells: Uint8Array;
}

/** Who uses a block. */
export interface BlockUse {
  readonly block: number;
  readonly refCount: number;
  readonly isCached: boolean;
  /** The first of them; of each the tokens that the block holds, or is to hold. */
  readonly users: readonly {
    readonly id: string;
    readonly index: number;
    readonly group: number;
    readonly from: number;
    readonly to: number;
  }[];
}

/** What the page knows: the frames put together again. */
import { ACTS, type Segment, type SpanHead } from '../../engine/watch-frames.js';
import { decodeCells } from '../cell-runs.js';
import type {
  FiguresFrame,
  HelloFrame,
  LiveFrame,
  SpelledPrefix,
  SpelledSpan,
} from '../live-frames.js';

const MOST_SEGMENTS = 64;
const MOST_POINTS = 300;

export interface LaneView {
  readonly index: number;
  segments: Segment[];
  /** The number of the first segment. */
  first: number;
  reason: string | null;
}

export interface BeamsView {
  readonly nodes: { parent: number; word: string; logprob: number }[];
  live: readonly number[];
  finished: readonly (readonly [node: number, score: number])[];
  numHidden: number;
}

export interface SpanView {
  readonly key: number;
  readonly head: SpanHead;
  last: SpelledSpan;
  readonly lanes: Map<number, LaneView>;
  readonly beams: BeamsView | null;
}

/** A step computed something of it, whatever it does now. */
export function hasBegun({ lanes }: SpanView): boolean {
  const segments = lanes.get(0)?.segments ?? [];
  return segments.some(([act]) => act !== ACTS.queued);
}

/** A moment of the charts, in seconds of the wall clock. */
export interface Point {
  readonly at: number;
  /** null: nobody knows. */
  readonly generated: number | null;
  readonly prompt: number | null;
  readonly stepMs: number | null;
  readonly computeMs: number | null;
  readonly numSeqs: number | null;
}

export class LiveState {
  readonly cells: Uint8Array;
  readonly spans = new Map<number, SpanView>();
  readonly points: Point[] = [];
  prefixes: readonly SpelledPrefix[] = [];
  /** Whether what it knows is how things are now. */
  isLive = true;
  frame: LiveFrame | FiguresFrame | null = null;
  /** performance.now() of this page at the last frame. */
  #receivedAt = performance.now();
  #lostAt = 0;
  #before: { readonly at: number; readonly frame: LiveFrame | FiguresFrame } | null = null;

  /** @param before what was known of the server's models until now */
  constructor(
    readonly hello: HelloFrame,
    before: LiveState | null,
  ) {
    this.cells = new Uint8Array(hello.numCells);
    if (before?.hello.model !== hello.model) return;
    before.lose();
    this.points = before.points;
  }

  /** The server's clock. */
  get now(): number {
    const known = this.frame?.now ?? this.hello.now;
    if (!this.isLive) return this.#lostAt;
    return known + performance.now() - this.#receivedAt;
  }

  /** Seconds of the wall clock. */
  wall(now: number): number {
    return (this.hello.wallMs + now - this.hello.now) / 1000;
  }

  apply(frame: LiveFrame | FiguresFrame): void {
    this.frame = frame;
    this.isLive = true;
    this.#receivedAt = performance.now();
    this.#point(frame.now);
    if (frame.type === 'figures') return;
    if (frame.cells !== undefined) {
      const runs = Uint8Array.from(atob(frame.cells), (char) => char.charCodeAt(0));
      decodeCells(runs, this.cells);
    }
    if (frame.prefixes !== undefined) this.prefixes = frame.prefixes;
    for (const span of frame.spans) this.#span(span);
    if (frame.shown === undefined) return;
    const shown = new Set(frame.shown);
    for (const key of this.spans.keys()) if (!shown.has(key)) this.spans.delete(key);
  }

  /** The server has said that nothing has changed. */
  idle(now: number): void {
    this.isLive = true;
    if (this.frame !== null) this.#point(now);
  }

  /** Nothing is known from here on: charts have a gap. */
  lose(): void {
    if (!this.isLive) return;
    this.#lostAt = this.now;
    this.isLive = false;
    this.#before = null;
    const at = this.wall(this.#lostAt);
    if (this.points.length > 0 && at > this.points[this.points.length - 1].at) {
      const none = { stepMs: null, computeMs: null, numSeqs: null };
      this.points.push({ at, generated: null, prompt: null, ...none });
    }
  }

  #point(at: number): void {
    const frame = this.frame!;
    const before = this.#before;
    this.#before = { at, frame };
    if (before === null || at <= before.at) return;
    const seconds = (at - before.at) / 1000;
    const rate = (name: 'generationTokens' | 'promptTokens') =>
      (frame.stats[name] - before.frame.stats[name]) / seconds;
    const [steps, old] = [stepsOf(frame), stepsOf(before.frame)];
    const numSteps = steps.numSteps - old.numSteps;
    const mean = (name: 'ms' | 'computeMs' | 'numSeqs') =>
      numSteps > 0 ? (steps[name] - old[name]) / numSteps : null;
    this.points.push({
      at: this.wall(at),
      generated: rate('generationTokens'),
      prompt: rate('promptTokens'),
      stepMs: mean('ms'),
      computeMs: mean('computeMs'),
      numSeqs: mean('numSeqs'),
    });
    if (this.points.length > MOST_POINTS) this.points.shift();
  }

  #span(told: SpelledSpan): void {
    let span = this.spans.get(told.key);
    if (span === undefined) {
      if (told.head === undefined) return; // forgotten here
      const beams = told.beams && { nodes: [], live: [], finished: [], numHidden: 0 };
      span = { key: told.key, head: told.head, last: told, lanes: new Map(), beams: beams ?? null };
      this.spans.set(told.key, span);
    }
    span.last = told;
    for (const { index, first, segments, reason } of told.lanes) {
      let lane = span.lanes.get(index);
      if (lane === undefined) {
        lane = { index, first, segments: [...segments], reason };
        span.lanes.set(index, lane);
      } else {
        join(lane, first, segments);
      }
      lane.reason = reason;
    }
    if (span.beams !== null && told.beams !== undefined) {
      const { first, nodes, words, live, finished, numHidden } = told.beams;
      span.beams.nodes.length = first;
      nodes.forEach(([parent, , logprob], i) => {
        span.beams!.nodes.push({ parent, logprob, word: words[i] });
      });
      Object.assign(span.beams, { live, finished, numHidden });
    }
  }
}

/** The first of the new ones may be the last that is known, gone on. */
function join(lane: LaneView, first: number, segments: readonly Segment[]): void {
  const kept = lane.segments.slice(0, Math.max(0, first - lane.first));
  if (first > lane.first + lane.segments.length) {
    lane.segments = [...segments];
    lane.first = first;
  } else {
    lane.segments = [...kept, ...segments];
  }
  const over = lane.segments.length - MOST_SEGMENTS;
  if (over <= 0) return;
  lane.segments.splice(0, over);
  lane.first += over;
}

const NO_STEPS = { numSteps: 0, ms: 0, computeMs: 0, numSeqs: 0, numTokens: 0 };

function stepsOf(frame: LiveFrame | FiguresFrame) {
  return frame.type === 'frame' ? frame.steps : NO_STEPS;
}

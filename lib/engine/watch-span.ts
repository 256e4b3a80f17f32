/** A request as those see it who watch the engine: what its lanes did when. */
import type { SequenceGroup } from '../core/sequence.js';
import { BeamTree } from './beam-tree.js';
import type { Request } from './request.js';
import { ACTS, type Act, type Segment, type SpanFrame, type SpanHead } from './watch-frames.js';

/** Of a lane; older ones are forgotten. */
const MOST_SEGMENTS = 64;
const MOST_FORKS = 128;

type SpanFigures = Pick<
  SpanFrame,
  ('numCachedTokens' | 'numGeneratedTokens' | 'numPreemptions') | ('numSwaps' | 'numBlockCopies')
>;

function figuresOf({ group, numGenerated }: Request): SpanFigures {
  const { numCachedTokens, numPreemptions, numSwaps, numBlockCopies } = group;
  const numGeneratedTokens = numGenerated;
  return { numCachedTokens, numGeneratedTokens, numPreemptions, numSwaps, numBlockCopies };
}

class Lane {
  #numForgotten = 0;
  readonly #segments: Segment[] = [];
  reason: string | null = null;
  version = 0;

  constructor(readonly index: number) {}

  /** Ever begun. */
  get numSegments(): number {
    return this.#numForgotten + this.#segments.length;
  }

  /** It waits from now on, in one way or the other. */
  wait(act: Act, at: number): void {
    const last = this.#segments.at(-1);
    if (last?.[0] === act && last[2] < 0) return;
    this.close(at);
    this.#push([act, at, -1, 0]);
  }

  /** A step computed tokens of it. Decoding goes on where it was; each part of a prompt shows. */
  work(act: Act, from: number, to: number, numTokens: number): void {
    this.close(from);
    const last = this.#segments.at(-1);
    if (act === ACTS.decode && last?.[0] === act) {
      last[2] = to;
      last[3] += numTokens;
    } else {
      this.#push([act, from, to, numTokens]);
    }
  }

  close(at: number): void {
    const last = this.#segments.at(-1);
    if (last !== undefined && last[2] < 0) last[2] = at;
  }

  /** Its segments from a number on, copied. */
  from(number: number): { first: number; segments: Segment[] } {
    const first = Math.max(number, this.#numForgotten);
    const segments = this.#segments.slice(first - this.#numForgotten);
    return { first, segments: segments.map((one): Segment => [...one]) };
  }

  #push(segment: Segment): void {
    this.#segments.push(segment);
    if (this.#segments.length <= MOST_SEGMENTS) return;
    this.#segments.shift();
    this.#numForgotten++;
  }
}

/** What one who watches was told of a span. */
export class ToldSpan {
  isIntroduced = false;
  numNodes = 0;
  version = -1;
  readonly lanes = new Map<number, number>();
}

export class Span {
  /** Counts up with each change of the watch. */
  version = 0;
  /** The one with which it was last shown where it was not. */
  shownSince = 0;
  /** The last step that computed something of it. */
  lastStep = -1;
  firstTokenAt: number | null = null;
  lastTokenAt = 0;
  ended: number | null = null;
  readonly head: SpanHead;
  /** Something of it was computed before anybody watched. */
  readonly wasBegun: boolean;
  readonly #lanes = new Map<number, Lane>();
  readonly #forks: (readonly [number, number, number])[] = [];
  /** Who forks whom, as far as it is known before it happens. */
  readonly #parents = new Map<number, number>();
  readonly #tree: BeamTree | null;
  #reason: string | null = null;
  /** null: it has ended, and what it held is not kept for those who watch. */
  #request: Request | null;
  /** As they were when it ended. */
  #figures: SpanFigures | null = null;

  constructor(
    readonly key: number,
    request: Request,
    now: number,
  ) {
    this.#request = request;
    const { group } = request;
    const { elapsedMs, queueMs, timeToFirstTokenMs: ttftMs } = request.metrics();
    const arrived = Math.round((now - elapsedMs) * 100) / 100;
    const { id, numPromptTokens, params, beams, sequences } = group;
    this.head = {
      ...{ id, arrived, numPromptTokens, maxTokens: params.maxTokens, n: sequences.length },
      isBeamSearch: beams !== null,
      isStructured: sequences.some(({ constraint }) => constraint !== null),
    };
    this.#tree = beams === null ? null : new BeamTree();
    const first = this.#lane(0);
    first.wait(ACTS.queued, arrived);
    this.wasBegun = queueMs !== null;
    if (queueMs === null) return;
    const started = arrived + queueMs;
    first.work(ACTS.prefill, started, ttftMs === null ? now : arrived + ttftMs, numPromptTokens);
    if (ttftMs === null) return;
    this.firstTokenAt = arrived + ttftMs;
    this.lastTokenAt = now;
  }

  /** Of one that has not ended. */
  get group(): SequenceGroup {
    return this.#request!.group;
  }

  get arrived(): number {
    return this.head.arrived;
  }

  /** Before a step: those who wait for it will be forks of it. */
  expectForks(parent: number, children: readonly { readonly index: number }[]): void {
    for (const { index } of children) this.#parents.set(index, parent);
  }

  /** A step computed tokens of one of its sequences. */
  work(index: number, act: Act, from: number, to: number, numTokens: number): void {
    if (!this.#lanes.has(index) && !this.head.isBeamSearch) {
      this.#fork(from, this.#parents.get(index) ?? 0, index);
    }
    this.#change(this.#lane(index)).work(act, from, to, numTokens);
  }

  /** Its step of a beam search is over. */
  search(at: number): void {
    for (const [parent, child] of this.#tree?.grow(this.group) ?? []) {
      this.#fork(at, parent, child);
    }
  }

  /** One of its samples has ended. */
  endLane(index: number, at: number, reason: string): void {
    const lane = this.#change(this.#lane(index));
    lane.close(at);
    lane.reason = reason;
  }

  /** It does not run any more, and is not over. */
  wait(act: Act, at: number): void {
    for (const lane of this.#lanes.values()) {
      const isLive = lane.reason === null && !this.group.sequences[lane.index].isSpare;
      if (isLive) this.#change(lane).wait(act, at);
    }
  }

  /** @param reason a finish reason, or a code */
  end(at: number, reason: string): void {
    this.#tree?.end(this.group);
    for (const lane of this.#lanes.values()) {
      if (lane.reason !== null) continue;
      this.#change(lane).close(at);
      lane.reason = reason;
    }
    this.ended = at;
    this.#figures = figuresOf(this.#request!);
    this.#request = null;
    this.#reason = reason;
  }

  /** What is new to one who knows `told`; it knows that from now on. */
  frame(told: ToldSpan): SpanFrame {
    const lanes = [...this.#lanes.values()].filter(({ version }) => version > told.version);
    const frame: SpanFrame = {
      key: this.key,
      ...(told.isIntroduced ? {} : { head: this.head }),
      ...(this.#figures ?? figuresOf(this.#request!)),
      ttftMs: this.firstTokenAt === null ? null : this.firstTokenAt - this.arrived,
      reason: this.#reason,
      ended: this.ended,
      forks: this.#forks,
      // The last one that was told may have gone on.
      lanes: lanes.map((lane) => ({
        index: lane.index,
        ...lane.from((told.lanes.get(lane.index) ?? 1) - 1),
        reason: lane.reason,
      })),
      ...(this.#tree === null ? {} : { beams: this.#tree.frame(told.numNodes) }),
    };
    told.isIntroduced = true;
    told.version = this.version;
    told.numNodes = this.#tree?.numNodes ?? 0;
    for (const { index, numSegments } of lanes) told.lanes.set(index, numSegments);
    return frame;
  }

  #fork(at: number, parent: number, child: number): void {
    this.#forks.push([at, parent, child]);
    if (this.#forks.length > MOST_FORKS) this.#forks.shift();
  }

  #lane(index: number): Lane {
    let lane = this.#lanes.get(index);
    if (lane === undefined) this.#lanes.set(index, (lane = new Lane(index)));
    return lane;
  }

  /** The watch has given the span its next version before. */
  #change(lane: Lane): Lane {
    lane.version = this.version;
    return lane;
  }
}

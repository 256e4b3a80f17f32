/**
 * A sequence: the tokens of one sample, how many of them have their KV computed, and its table.
 * A group: the sequences of one request, admitted, preempted and finished as one.
 *
 * There are no phases. A sequence has `numTokens`, of which `numComputed` are in the cache; a step
 * computes some of the rest, and when computed catches up with tokens a token is drawn.
 */
import { assert } from '../errors.js';
import { BeamSearch, type Candidates } from './beam-search.js';
import type { TableOwner } from './block-table.js';
import { UNSALTED_ROOT } from './prefix-hash.js';
import type { DrawParams } from './sampling-params.js';

export type FinishReason = 'stop' | 'length' | 'abort' | 'error';

/**
 * Room for about this many generated tokens is taken at once; beyond it the room doubles. "About":
 * sequences differ by up to as much again, or thousands that began together would all copy their
 * tokens in the same step and hold up the event loop.
 */
const FIRST_ROOM = 256;

export class Sequence implements TableOwner {
  readonly group: SequenceGroup;
  /** Which of the group's samples this is. */
  readonly index: number;
  readonly numPromptTokens: number;
  /** Nobody else belongs to the group: no forks, no copies, the short way through a step. */
  readonly solo: boolean;
  /** Prompt, then generated; `numTokens` of them count. */
  tokens: Int32Array;
  numTokens: number;
  /** tokens[numTokens − 1], kept near because every decode step wants it. */
  lastToken: number;
  numComputed = 0;
  row = -1;
  numBlocks = 0;
  numSlots = 0;
  /** Identity of the prefix up to the last published block, or the root. */
  prefix = UNSALTED_ROOT;
  /** While its group is swapped out: for each block of the table, where it is in the host pool. */
  hostTable: Int32Array | null = null;
  /** Entries at the start of the table that slid out of the window and are null now. */
  numSlid = 0;
  /** Blocks of the table whose content is known to the prefix cache. */
  numPublished = 0;
  /** numComputed at which the next block can be published. */
  publishAt = 0;
  /** numTokens at which length ends the sequence. */
  endsAt = 0;
  /** numTokens from which EOS, stop ids and stop strings may end it. */
  readonly mayStopAt: number;
  /** Something of {@link DrawParams} must go with each of its samples. */
  readonly needsExtras: boolean;
  /** Only these tokens may be drawn; the engine may change it between steps (grammars). */
  allowedIds: Int32Array | null;
  finishReason: FinishReason | null = null;
  /** The stop string or stop id that ended it. */
  stopReason: string | number | null = null;
  cumulativeLogprob = 0;
  /** A beam that has brought its next tokens and waits for the others of its group. */
  candidates: Candidates | null = null;
  /** A beam to be: no tokens of its own yet, no table. */
  asleep = false;
  /** Set while the sequence waits to be forked from another; see fork-tree. */
  forkParent: Sequence | null = null;
  forkAt = 0;
  /** Sequences that wait for this one to reach their `forkAt`. */
  waitingForks: Sequence[] | null = null;
  /** Blocks that it will need once forked; counted at admission, not yet taken. */
  numPromised = 0;
  /** The engine's own (detokenizer, listeners); core never looks at it. */
  attachment: unknown = null;

  constructor(group: SequenceGroup, index: number, prompt: Int32Array) {
    const { params } = group;
    this.group = group;
    this.index = index;
    this.solo = params.n === 1;
    this.asleep = params.beam !== null && index > 0;
    this.tokens = prompt;
    this.numTokens = group.numPromptTokens;
    this.numPromptTokens = group.numPromptTokens;
    this.lastToken = prompt[this.numTokens - 1];
    this.mayStopAt = this.numTokens + params.minTokens;
    this.allowedIds = params.allowedIds;
    this.needsExtras =
      params.needsOutput ||
      params.allowedIds !== null ||
      params.biasIds.length > 0 ||
      params.badWordIds.length > 0 ||
      (params.minTokens > 0 && params.endTokenIds.length > 0);
  }

  get numOutputTokens(): number {
    return this.numTokens - this.numPromptTokens;
  }

  /** The generated tokens: a view, valid until the next token is appended. */
  get outputTokens(): Int32Array {
    return this.tokens.subarray(this.numPromptTokens, this.numTokens);
  }

  /** In the running list: has a table of its own. */
  get isActive(): boolean {
    return this.row >= 0 && this.forkParent === null && this.finishReason === null && !this.asleep;
  }

  append(token: number): void {
    if (this.numTokens === this.tokens.length) this.enlarge();
    this.tokens[this.numTokens++] = token;
    this.lastToken = token;
  }

  /** Nothing is computed: as before admission, generated tokens kept. */
  forgetComputed(): void {
    this.numComputed = 0;
    this.prefix = this.group.root;
    this.numPublished = 0;
    this.numSlid = 0;
    this.publishAt = 0;
    this.forkParent = null;
    this.waitingForks = null;
    this.numPromised = 0;
    this.candidates = null;
  }

  /** The same tokens as another of the group (a fork of it). */
  copyTokens(from: Sequence): void {
    if (this.tokens.length < from.numTokens || this.tokens === from.tokens) {
      this.tokens = from.tokens.slice();
    } else {
      this.tokens.set(from.tokens.subarray(0, from.numTokens));
    }
    this.numTokens = from.numTokens;
    this.lastToken = from.lastToken;
  }

  /** Takes room for output beside the prompt, at most what it may ever need. */
  enlarge(): void {
    const spread = ((this.group.arrival + this.index) * 41) % FIRST_ROOM;
    const room = Math.max(FIRST_ROOM + spread, this.numOutputTokens);
    const larger = new Int32Array(Math.min(this.numTokens + room, this.endsAt));
    larger.set(this.tokens);
    this.tokens = larger;
  }
}

/** The logprob of one prompt token given those before it, with the best tokens beside it. */
export interface PromptLogprob {
  readonly tokenId: number;
  readonly logprob: number;
  readonly rank: number;
  readonly topTokenIds: Int32Array;
  readonly topLogprobs: Float64Array;
}

export interface GroupOptions {
  readonly id: string;
  /** Copied. */
  readonly promptTokens: ArrayLike<number>;
  readonly params: DrawParams;
  /** Lower runs first under the policy `priority`. Default 0. */
  readonly priority?: number;
}

export class SequenceGroup {
  readonly id: string;
  readonly params: DrawParams;
  readonly numPromptTokens: number;
  /** All n samples, finished ones too; of a beam search, what its live beams take turns to be. */
  readonly sequences: readonly Sequence[];
  readonly beams: BeamSearch | null;
  readonly priority: number;
  /** Order of arrival, given by the scheduler. */
  arrival = -1;
  /** Root of its prefixes in the cache: its salt's. */
  root = UNSALTED_ROOT;
  state: 'new' | 'waiting' | 'running' | 'swapped' | 'finished' = 'new';
  numUnfinished: number;
  /** Entry i belongs to prompt token i + 1; complete with numPromptTokens − 1 entries. */
  readonly promptLogprobs: PromptLogprob[] = [];
  /** Prompt tokens found in the prefix cache when it was first admitted. */
  numCachedTokens = 0;
  /** Most blocks of its tables that had more than one user, at any time. */
  numSharedBlocks = 0;
  numBlockCopies = 0;
  numPreemptions = 0;
  /** Of the preemptions, those by swap. */
  numSwaps = 0;
  /** Blocks that it holds in the host pool. */
  numHostBlocks = 0;
  wasAdmitted = false;
  /** Forks of it came to life in the commit under way. */
  hasNewForks = false;
  /** The engine's own; core never looks at it. */
  attachment: unknown = null;

  constructor(options: GroupOptions) {
    const { id, params } = options;
    const numPrompt = options.promptTokens.length;
    assert(numPrompt > 0, 'a group without a prompt');
    this.id = id;
    this.params = params;
    this.priority = options.priority ?? 0;
    this.numPromptTokens = numPrompt;
    this.numUnfinished = params.n;
    // All read the same array until their first own token, which makes them enlarge it.
    const prompt = Int32Array.from(options.promptTokens);
    const sequences: Sequence[] = [];
    for (let i = 0; i < params.n; i++) sequences.push(new Sequence(this, i, prompt));
    this.sequences = sequences;
    this.beams = params.beam === null ? null : new BeamSearch(this, params.beam);
  }

  get finished(): boolean {
    return this.numUnfinished === 0;
  }

  /** Prompt positions whose logprob is asked for and not there yet: from here on. */
  get wantsPromptLogprobs(): boolean {
    return (
      this.params.numPromptLogprobs >= 0 && this.promptLogprobs.length < this.numPromptTokens - 1
    );
  }
}

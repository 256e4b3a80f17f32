/**
 * A sequence: the tokens of one sample, how many of them have their KV computed, and its table.
 * A group: the sequences of one request, admitted and preempted as one; it ends with its last.
 *
 * There are no phases. A sequence has `numTokens`, of which `numComputed` are in the cache; a step
 * computes some of the rest, and when computed catches up with tokens a token is drawn.
 */
import { assert } from '../errors.js';
import { BeamSearch, type Candidates } from './beam-search.js';
import type { TableOwner } from './block-table.js';
import type { HostedState } from './hosted-states.js';
import { UNSALTED_ROOT } from './prefix-hash.js';
import type { DrawParams } from './sampling-params.js';
import type { TokenConstraint } from './structured.js';
import { TokenLogprobs } from './token-logprobs.js';

export type FinishReason = 'stop' | 'length' | 'abort' | 'error';

/**
 * Room for about this many generated tokens is taken at once; beyond it the room doubles. "About":
 * sequences differ by up to as much again, or thousands that began together would all copy their
 * tokens in the same step and hold up the event loop.
 */
const FIRST_ROOM = 256;

/** A length that no sequence reaches. */
export const NEVER = 2 ** 31 - 1;

export class Sequence implements TableOwner {
  readonly group: SequenceGroup;
  /** Which of the group's samples this is. */
  readonly index: number;
  readonly numPromptTokens: number;
  /** Nobody else belongs to the group: no forks, no copies, the short way through a step. */
  readonly solo: boolean;
  /** 1: its angles come from the model's long table. All of a group have the same. */
  longRope: 0 | 1 = 0;
  /** How many of the best tokens are wanted beside each that is drawn. */
  readonly numTop: number;
  /** Prompt, then generated; `numTokens` of them count. */
  tokens: Int32Array;
  numTokens: number;
  /** tokens[numTokens − 1], kept near because every decode step wants it. */
  lastToken: number;
  numComputed = 0;
  row = -1;
  numSlots = 0;
  /** Identity of the prefix up to the last published block, or the root. */
  prefix = UNSALTED_ROOT;
  /**
   * While its group is swapped out: for each block of its tables, one after the other, where it is
   * in the host pool.
   */
  hostTable: Int32Array | null = null;
  /** And what recurrent layers keep of it; null also where there are none. */
  hostState: HostedState | null = null;
  /** Blocks from its start (those of the finest group) that the prefix cache knows about. */
  numPublished = 0;
  /** numComputed at which the next one can be published. */
  publishAt = 0;
  /** numTokens at which length ends the sequence. */
  endsAt = 0;
  /** numTokens from which EOS, stop ids and stop strings may end it. */
  readonly mayStopAt: number;
  /** Its row may have something to learn before any draw, not only before the first. */
  readonly needsUpdates: boolean;
  /** Only these tokens may be drawn; the engine may change it between steps (grammars). */
  allowedIds: Int32Array | null;
  /** What it was at the last draw from its row. */
  sentAllowedIds: Int32Array | null = null;
  /** Tokens that it had at the last draw from its row; 0 = the row has not been drawn from. */
  numSent = 0;
  /** What its tokens must obey: a mask for each draw. It has taken all tokens of the output. */
  constraint: TokenConstraint | null = null;
  finishReason: FinishReason | null = null;
  /** The stop string or stop id that ended it. */
  stopReason: string | number | null = null;
  cumulativeLogprob = 0;
  /** A beam that has brought its next tokens and waits for the others of its group. */
  candidates: Candidates | null = null;
  /** Of a beam search: not live, no table; a live beam may be forked into it. */
  isSpare = false;
  /** Set while the sequence waits to be forked from another; see fork-tree. */
  forkParent: Sequence | null = null;
  forkAt = 0;
  /** Sequences that wait for this one to reach their `forkAt`. */
  waitingForks: Sequence[] | null = null;
  /**
   * Blocks counted at admission and not yet taken: those that it will need once forked, and those
   * of windows for the tokens that it has still to compute.
   */
  numPromised = 0;
  /** The engine's own (detokenizer, listeners); core never looks at it. */
  attachment: unknown = null;

  constructor(group: SequenceGroup, index: number, prompt: Int32Array) {
    const { params } = group;
    this.group = group;
    this.index = index;
    this.solo = params.n === 1;
    this.numTop = Math.max(0, params.numLogprobs);
    this.isSpare = params.beam !== null && index > 0;
    this.tokens = prompt;
    this.numTokens = group.numPromptTokens;
    this.numPromptTokens = group.numPromptTokens;
    this.lastToken = prompt[this.numTokens - 1];
    this.mayStopAt = this.numTokens + params.minTokens;
    this.allowedIds = params.allowedIds;
    this.needsUpdates =
      params.needsOutput ||
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
    const isWhole = this.forkParent === null && !this.isSpare;
    return isWhole && this.row >= 0 && this.finishReason === null;
  }

  append(token: number): void {
    if (this.numTokens === this.tokens.length) this.enlarge();
    this.tokens[this.numTokens++] = token;
    this.lastToken = token;
  }

  /** Begins under a constraint, which is its own from now on. */
  obey(constraint: TokenConstraint): void {
    this.constraint = constraint;
  }

  /** Its constraint takes the last token; false where that is none it allows. */
  advanceConstraint(): boolean {
    return this.constraint === null || this.constraint.advance(this.lastToken);
  }

  /** Obeys nothing from now on. */
  dropConstraint(): void {
    this.constraint?.close();
    this.constraint = null;
  }

  /** It has another row, or other tokens: nothing of it is known there. */
  forgetSent(): void {
    this.numSent = 0;
  }

  /** May its row have something to learn before the next draw? */
  get maySendUpdate(): boolean {
    return this.numSent === 0 || this.needsUpdates || this.allowedIds !== this.sentAllowedIds;
  }

  /** A token was drawn from its row, which knows the first `numTokens` tokens now. */
  noteDraw(numTokens: number): void {
    this.numSent = numTokens;
  }

  /** Its row was told to draw only these from now on. */
  noteAllowed(ids: Int32Array | null): void {
    this.sentAllowedIds = ids;
  }

  /** Starts with the KV of its first `numComputed` tokens, blocks that the prefix cache knew. */
  startAfter(numComputed: number, prefix: number, numPublished: number, publishAt: number): void {
    this.numComputed = numComputed;
    this.prefix = prefix;
    this.numPublished = numPublished;
    this.publishAt = publishAt;
  }

  /** A step has computed so many tokens more. */
  advance(numTokens: number): void {
    this.numComputed += numTokens;
  }

  /** The prefix cache knows one more block, under this identity. */
  published(identity: number, blockSize: number): void {
    this.prefix = identity;
    this.numPublished++;
    this.publishAt += blockSize;
  }

  /** The prefix cache does not know its next block, and will know none after it. */
  publishNoMore(): void {
    this.publishAt = NEVER;
  }

  /** No block of its tables is known to the prefix cache, all may be again. */
  publishAnew(blockSize: number): void {
    this.prefix = this.group.root;
    this.numPublished = 0;
    this.publishAt = blockSize;
  }

  /** Is to be forked from `parent` once that has computed so many tokens; see fork-tree. */
  waitFor(parent: Sequence, forkAt: number): void {
    this.forkParent = parent;
    this.forkAt = forkAt;
    parent.waitingForks ??= [];
    parent.waitingForks.push(this);
  }

  /** It was forked, or needs no fork. */
  waitNoMore(): void {
    const rest = this.forkParent?.waitingForks?.filter((other) => other !== this) ?? [];
    if (this.forkParent !== null) this.forkParent.waitingForks = rest.length > 0 ? rest : null;
    this.forkParent = null;
  }

  /** Waits for nobody, and nobody for it. */
  leaveTree(): void {
    this.forkParent = null;
    this.waitingForks = null;
  }

  /** Goes on from what its parent has computed, in a table of its own. */
  continueFrom(parent: Sequence): void {
    this.numComputed = this.forkAt;
    this.prefix = parent.prefix;
    this.numPublished = parent.numPublished;
    this.publishAt = parent.publishAt;
  }

  /** A beam brings its next tokens, and waits for the others of its group. */
  bring(candidates: Candidates): void {
    this.candidates = candidates;
  }

  /** A live beam has taken its next token. */
  endBeamStep(cumulativeLogprob: number): void {
    this.cumulativeLogprob = cumulativeLogprob;
    this.candidates = null;
  }

  /** A beam is dropped; its table must be empty. */
  becomeSpare(): void {
    assert(this.numSlots === 0, 'a spare sequence has blocks');
    this.isSpare = true;
    this.candidates = null;
    this.dropConstraint();
  }

  /** A spare one goes live with all that a live beam has. */
  becomeForkOf(parent: Sequence): void {
    this.isSpare = false;
    this.forkAt = parent.numComputed;
    this.copyTokens(parent);
  }

  /** It is in the host's memory, its blocks as `table` says; null: not any more. */
  moveTo(table: Int32Array | null, state: HostedState | null = null): void {
    this.hostTable = table;
    this.hostState = state;
  }

  /** Keeps so many blocks for its fork; returns how many more than before. */
  promise(numBlocks: number): number {
    const more = numBlocks - this.numPromised;
    this.numPromised = numBlocks;
    return more;
  }

  /** Nothing is computed: as before admission, generated tokens kept. */
  forgetComputed(): void {
    this.numComputed = 0;
    this.prefix = this.group.root;
    this.numPublished = 0;
    this.publishAt = 0;
    this.leaveTree();
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
    const constraint = from.constraint === null ? null : from.constraint.fork();
    this.dropConstraint();
    this.constraint = constraint;
    this.forgetSent();
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

export interface GroupOptions {
  readonly id: string;
  /** Copied. */
  readonly promptTokens: ArrayLike<number>;
  readonly params: DrawParams;
  /** Lower runs first under the policy `priority`. Default 0. */
  readonly priority?: number;
  /** At its beginning; each sequence gets a fork of it. Default: none. */
  readonly constraint?: TokenConstraint | null;
}

export class SequenceGroup {
  readonly id: string;
  readonly params: DrawParams;
  readonly numPromptTokens: number;
  /** All n samples, finished ones too; of a beam search, what its live beams take turns to be. */
  readonly sequences: readonly Sequence[];
  readonly beams: BeamSearch<Sequence> | null;
  readonly priority: number;
  /** Order of arrival, given by the scheduler. */
  arrival = -1;
  /** Root of its prefixes in the cache: its salt's. */
  root = UNSALTED_ROOT;
  state: 'new' | 'waiting' | 'running' | 'swapped' | 'finished' = 'new';
  numUnfinished: number;
  /** Entry i belongs to prompt token i + 1; complete with numPromptTokens − 1 entries. */
  readonly promptLogprobs: TokenLogprobs;
  /** Prompt tokens found in the prefix cache when it was first admitted. */
  numCachedTokens = 0;
  /** Most blocks of its tables that had more than one user, at any time; of all KV groups. */
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
  /** Told of each preemption, where somebody listens. */
  onPreemption: ((bySwap: boolean) => void) | null = null;

  constructor(options: GroupOptions) {
    const { id, params, constraint = null } = options;
    const numPrompt = options.promptTokens.length;
    assert(numPrompt > 0, 'a group without a prompt');
    this.id = id;
    this.params = params;
    this.priority = options.priority ?? 0;
    this.numPromptTokens = numPrompt;
    this.promptLogprobs = new TokenLogprobs(params.numPromptLogprobs);
    this.numUnfinished = params.n;
    // All read the same array until their first own token, which makes them enlarge it.
    const prompt = Int32Array.from(options.promptTokens);
    const sequences: Sequence[] = [];
    for (let i = 0; i < params.n; i++) {
      const sequence = new Sequence(this, i, prompt);
      if (constraint !== null && !sequence.isSpare) sequence.obey(constraint.fork());
      sequences.push(sequence);
    }
    this.sequences = sequences;
    this.beams = params.beam === null ? null : new BeamSearch(params.beam, params, sequences[0]);
  }

  get finished(): boolean {
    return this.numUnfinished === 0;
  }

  /** Blocks that it holds in the host pool now. */
  holdOnHost(numBlocks: number): void {
    this.numHostBlocks = numBlocks;
  }

  /** Copies that a step makes for it; −1: one that it does not make after all. */
  countCopies(count: number): void {
    this.numBlockCopies += count;
  }

  countShared(numBlocks: number): void {
    this.numSharedBlocks = Math.max(this.numSharedBlocks, numBlocks);
  }

  /** Let in, the first time or again. */
  countAdmission(numCachedTokens: number): void {
    if (!this.wasAdmitted) this.numCachedTokens = numCachedTokens;
    this.wasAdmitted = true;
  }

  countPreemption(bySwap: boolean): void {
    this.numPreemptions++;
    if (bySwap) this.numSwaps++;
    this.onPreemption?.(bySwap);
  }

  /** Prompt positions whose logprob is asked for and not there yet: from here on. */
  get wantsPromptLogprobs(): boolean {
    return (
      this.params.numPromptLogprobs >= 0 && this.promptLogprobs.length < this.numPromptTokens - 1
    );
  }
}

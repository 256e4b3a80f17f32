/**
 * An executor with a *model of the KV* in place of a model: each slot holds a number that stands for
 * "the KV of this token after these tokens", derived from the slot before it, as attention would.
 * Beside it stands the number before it, so that whoever reads a window sees whether its slots
 * follow each other. Each KV group has slots of its own, which hold the group's number as well.
 */
import { type KvGroup, tableOffsets } from '../../lib/core/kv-groups.js';
import { borderOf, type RecurrentStates } from '../../lib/core/recurrent-states.js';
import type { SchedulerConfig } from '../../lib/core/scheduler-config.js';
import type { Sequence } from '../../lib/core/sequence.js';
import type { NativeStepResult } from '../../lib/native.js';
import { STEP_LAYOUT as L } from '../../lib/wire/layout.js';
import { type DecodedStep, type DecodedSwaps, decodeStep } from './decode-step.js';
import { FakeStates, swapAll } from './fake-states.js';

export const VOCAB = 64;
/** The content before the first token; other angles give other keys to all that follow. */
export function emptyContent(longRope: 0 | 1): number {
  return longRope === 0 ? 0x12345 : 0x6789a;
}

/** Uniform integers below a bound from a 32-bit seed (xorshift-multiply counter). */
export function randomFrom(seed: number): (below: number) => number {
  let counter = seed | 0;
  return (below) => {
    counter = (counter + 0x9e3779b9) | 0;
    return (mix(counter, 0x51ed270b) >>> 0) % below;
  };
}

export function mix(a: number, b: number): number {
  let h = Math.imul(a ^ (b >>> 15) ^ 0x2c1b3c6d, 0x297a2d39) ^ b;
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** What shapes a draw beside the seed. */
export interface Lists {
  /** null: every token. */
  readonly allowed: readonly number[] | null;
  readonly banned: readonly number[];
  readonly bias: readonly (readonly [id: number, value: number])[];
  /** Ids of prompt and output that penalties look at. */
  readonly prompt: readonly number[];
  readonly output: readonly number[];
}

/**
 * The draw of a model whose state after a prefix is `content`; never a forbidden id. Cool samples
 * agree on most tokens and at 0 on all, so that groups have trees worth the name. Every counted id
 * and every bias matters.
 */
export function drawToken(
  key: { seed: number; temperature: number },
  position: number,
  content: number,
  lists: Lists,
) {
  let state = mix(content, position);
  for (const id of lists.prompt) state = mix(state, id);
  for (const id of lists.output) state = mix(state, ~id);
  for (const [id, value] of lists.bias) state = mix(state, mix(id, value));
  const agrees = (state >>> 0) % 100 >= 100 * key.temperature;
  const seed = agrees ? 0 : key.seed;
  for (let attempt = 0; attempt < 1000; attempt++) {
    const token = (mix(state, seed + attempt * 7919) >>> 0) % VOCAB;
    if (lists.banned.includes(token)) continue;
    if (lists.allowed && !lists.allowed.includes(token)) continue;
    return token;
  }
  return -1;
}

/** Log-softmax after a prefix, as far as beams need it: integers, so that ties are exact. */
export function logprobsOf(content: number): number[] {
  const row: number[] = [];
  for (let token = 0; token < VOCAB; token++) row.push(-1 - ((mix(content, token) >>> 0) % 50));
  return row;
}

/** The n best of a row, best first, ties by lower id. */
function bestOf(row: readonly number[], n: number): number[] {
  return row
    .map((_, i) => i)
    .sort((a, b) => row[b] - row[a] || a - b)
    .slice(0, n);
}

/** Runs encoded steps on the model of the KV; throws where a step would corrupt or misread it. */
export class FakeExecutor {
  // Two numbers for each slot of a block: the content, and that of the token before.
  readonly #kv: Int32Array;
  readonly #host: Int32Array;
  /** Numbers in a block. */
  readonly #width: number;
  readonly #groups: readonly KvGroup[];
  readonly #offsets: readonly number[];
  readonly #rowLength: number;
  readonly #numBlocks: number;
  /** null: there are no recurrent layers. */
  readonly #states: FakeStates | null;
  /** What the rows of the slabs keep between steps. */
  readonly #rows = new Map<number, Lists>();

  constructor(
    config: Pick<
      SchedulerConfig,
      'numBlocks' | 'blockSize' | 'blocksPerRow' | 'numHostBlocks' | 'groups' | 'recurrent'
    >,
  ) {
    const { numBlocks, blockSize, blocksPerRow, numHostBlocks, groups, recurrent } = config;
    const { offsets, rowLength } = tableOffsets(groups, blockSize, blocksPerRow);
    this.#width = 2 * Math.max(...groups.map((group) => group.blockSize));
    this.#kv = new Int32Array(numBlocks * this.#width).fill(-1);
    this.#host = new Int32Array(numHostBlocks * this.#width).fill(-1);
    this.#groups = groups;
    this.#offsets = offsets;
    this.#rowLength = rowLength;
    this.#numBlocks = numBlocks;
    this.#states = recurrent ? new FakeStates(recurrent) : null;
  }

  /** What the native side copies before it returns; the step itself runs later. */
  submit(words: Int32Array, tables: Int32Array, sampler: Float64Array): () => NativeStepResult {
    const buffers = [words.slice(), tables.slice(), sampler.slice()] as const;
    return () => this.#run(...buffers);
  }

  #run(words: Int32Array, tables: Int32Array, sampler: Float64Array): NativeStepResult {
    const step = decodeStep(words);
    this.#swap(step.blockSwaps);
    this.#states?.swap(step);
    this.#copyBlocks(step.copies);
    this.#states?.checkStep(step.seqs.map(({ recurrent }) => recurrent!));
    const contents: number[] = [];
    const written = new Set<number>();
    for (const seq of step.seqs) {
      const slotsOf = this.#groups.map((_, g) => (position: number) => {
        const index = Math.floor(position / this.#groups[g].blockSize);
        if (index >= seq.numBlocks[g]) throw new Error('a token without a slot');
        const block = tables[seq.row * this.#rowLength + this.#offsets[g] + index];
        return this.#slot(g, block, position);
      });
      const start = seq.contextLen - seq.queryLen;
      const empty = emptyContent(seq.longRope);
      let content = this.#read(seq.longRope, start, slotsOf) ?? this.#ofStates(seq, empty);
      this.#states?.read(seq.recurrent!, start, content, empty);
      const own = [content];
      for (const [i, token] of seq.tokens.entries()) {
        const before = content;
        content = mix(content, token);
        contents.push(content);
        own.push(content);
        for (const [g, slotOf] of slotsOf.entries()) {
          const slot = slotOf(start + i);
          if (written.has(slot)) throw new Error('a slot was written twice in a step');
          written.add(slot);
          this.#kv[slot] = content ^ mark(g);
          this.#kv[slot + 1] = before;
        }
      }
      this.#states?.write(seq.recurrent!, start, own);
    }
    const topTokenIds: number[] = [];
    const topLogprobs: number[] = [];
    const list = (tokenRow: number, numTop: number) => {
      const row = numTop > 0 ? logprobsOf(contents[tokenRow]) : [];
      for (const id of bestOf(row, numTop)) {
        topTokenIds.push(id);
        topLogprobs.push(row[id]);
      }
    };
    const tokenIds = step.samples.map((sample) => {
      const at = sample.seqRow * L.samplerDoubles;
      list(sample.tokenRow, sampler[at + L.samplerNumLogprobs]);
      const seed = sampler[at + L.samplerSeedLow] + 2 ** 32 * sampler[at + L.samplerSeedHigh];
      const key = { seed, temperature: sampler[at + L.samplerTemperature] };
      const lists = this.#take(sample);
      return drawToken(key, sample.position, contents[sample.tokenRow], lists);
    });
    for (const { tokenRow, numTop } of step.promptRows) list(tokenRow, numTop);
    return {
      tokenIds: Int32Array.from(tokenIds),
      logprobs: new Float64Array(tokenIds.length),
      ranks: new Int32Array(tokenIds.length),
      // Enough to know it again: the content of the row, and the target.
      promptLogprobs: Float64Array.from(step.promptRows, (row) => contents[row.tokenRow]),
      promptRanks: Int32Array.from(step.promptRows, (row) => row.target),
      topTokenIds: Int32Array.from(topTokenIds),
      topLogprobs: Float64Array.from(topLogprobs),
      computeMs: 0,
    };
  }

  #slot(g: number, block: number, position: number): number {
    if (block < 1 || block >= this.#numBlocks) throw new Error('a block outside the pool');
    return block * this.#width + 2 * (position % this.#groups[g].blockSize);
  }

  /**
   * What the query from `start` on reads in each group, as far as its window looks: slots that
   * follow each other, up to the same content in all groups. Returns that; null: none looks there.
   */
  #read(longRope: 0 | 1, start: number, slotsOf: ((position: number) => number)[]): number | null {
    if (start === 0) return emptyContent(longRope);
    let last: number | null = null;
    for (const [g, slotOf] of slotsOf.entries()) {
      const first = firstSeen(this.#groups[g], start);
      let next: number | null = null;
      for (let p = start - 1; p >= first; p--) {
        const slot = slotOf(p);
        const content = this.#kv[slot] ^ mark(g);
        if (next === null) last ??= content;
        if (content !== (next ?? last)) throw new Error('a query reads what is not its own');
        next = this.#kv[slot + 1];
      }
      if (first === 0 && next !== emptyContent(longRope)) throw new Error('a wrong first token');
    }
    return last;
  }

  /** Where no layer attends, what the query reads. */
  #ofStates({ recurrent }: DecodedStep['seqs'][number], empty: number): number {
    if (this.#states === null || !recurrent) throw new Error('nobody looks at the token before');
    return this.#states.last(recurrent, empty);
  }

  /** The row of a sample takes in what is new. */
  #take({ seqRow, extras }: DecodedStep['samples'][number]): Lists {
    const before = this.#rows.get(seqRow);
    if (extras === null) {
      if (before === undefined) throw new Error('a row is drawn from that has not begun');
      return before;
    }
    const { counted, allowed, banned, bias, prompt, output } = extras;
    let row: Lists = { allowed: null, banned: [], bias, prompt, output };
    if (counted !== null) {
      if (before === undefined) throw new Error('a row goes on that has not begun');
      if (counted !== before.prompt.length + before.output.length) {
        throw new Error('ids that a row should count are missing');
      }
      if (prompt.length + bias.length > 0) throw new Error('a prompt or biases come late');
      row = { ...before, output: [...before.output, ...output] };
    }
    if (allowed !== 'as before') row = { ...row, allowed };
    this.#rows.set(seqRow, row);
    return { ...row, banned };
  }

  #swap(swaps: DecodedSwaps): void {
    swapAll(this.#kv, this.#host, this.#width, swaps);
  }

  /** All at once, as one launch does: no source may be a target. */
  #copyBlocks(copies: readonly [number, number][]): void {
    const targets = new Set(copies.map(([, target]) => target));
    if (targets.size < copies.length) throw new Error('a block was copied to twice');
    const size = this.#width;
    for (const [source, target] of copies) {
      if (targets.has(source)) throw new Error('the source of a copy is a target');
      this.#kv.copyWithin(target * size, source * size, (source + 1) * size);
    }
  }

  /** Are state and records those of this sequence's computed tokens? */
  verifyStates({ row, longRope, numComputed, tokens }: Sequence, states: RecurrentStates): void {
    const contents = [emptyContent(longRope)];
    for (const token of tokens.subarray(0, numComputed))
      contents.push(mix(contents.at(-1)!, token));
    const fromBorder = contents.slice(borderOf(numComputed));
    this.#states!.verify(states.stateOf(row), states.recordsOf(row), fromBorder);
  }

  /** Does a group hold the KV of this sequence's computed tokens, as far as its window looks? */
  verify(sequence: Sequence, table: readonly number[], g = 0): void {
    const { blockSize } = this.#groups[g];
    const seen = firstSeen(this.#groups[g], sequence.numComputed);
    let content = emptyContent(sequence.longRope);
    for (let p = 0; p < sequence.numComputed; p++) {
      const before = content;
      content = mix(content, sequence.tokens[p]);
      if (p < seen) continue;
      const slot = this.#slot(g, table[Math.floor(p / blockSize)], p);
      if (this.#kv[slot] !== (content ^ mark(g)) || this.#kv[slot + 1] !== before) {
        throw new Error(`wrong KV at position ${p} of ${sequence.group.id}.${sequence.index}`);
      }
    }
  }
}

/** The first position that a query looks at. */
function firstSeen({ window, chunked }: KvGroup, position: number): number {
  if (window === 0) return 0;
  return chunked ? position - (position % window) : Math.max(0, position - window + 1);
}

/** Tells the content of one group from that of another. */
function mark(g: number): number {
  return Math.imul(g, 0x9e3779b1);
}

/**
 * An executor with a *model of the KV* in place of a model: each slot holds a number that stands for
 * "the KV of this token after these tokens", derived from the slot before it, as attention would.
 */
import type { Sequence } from '../../lib/core/sequence.js';
import { STEP_LAYOUT as L, type StepResult } from '../../lib/core/step.js';
import { type DecodedExtras, decodeStep } from './decode-step.js';

export const VOCAB = 64;
/** The content before the first token. */
export const EMPTY = 0x12345;

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

/**
 * The draw of a model whose state after a prefix is `content`; never a forbidden id. Cool samples
 * agree on most tokens and at 0 on all, so that groups have trees worth the name.
 */
export function drawToken(
  key: { seed: number; temperature: number },
  position: number,
  content: number,
  extras: DecodedExtras | null,
) {
  const state = mix(content, position);
  const agrees = (state >>> 0) % 100 >= 100 * key.temperature;
  const seed = agrees ? 0 : key.seed;
  for (let attempt = 0; attempt < 1000; attempt++) {
    const token = (mix(state, seed + attempt * 7919) >>> 0) % VOCAB;
    if (extras?.banned.includes(token)) continue;
    if (extras?.allowed && !extras.allowed.includes(token)) continue;
    return token;
  }
  return -1;
}

/** Log-softmax after a prefix, as far as beams need it: integers, so that ties are exact. */
export function logprobsOf(content: number): number[] {
  return Array.from({ length: VOCAB }, (_, token) => -1 - ((mix(content, token) >>> 0) % 50));
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
  readonly #kv: Int32Array;
  readonly #size: number;
  readonly #blocksPerRow: number;
  readonly #numBlocks: number;
  readonly #host: Int32Array;

  constructor(numBlocks: number, blockSize: number, blocksPerRow: number, numHostBlocks = 0) {
    this.#kv = new Int32Array(numBlocks * blockSize).fill(-1);
    this.#host = new Int32Array(numHostBlocks * blockSize).fill(-1);
    this.#size = blockSize;
    this.#blocksPerRow = blocksPerRow;
    this.#numBlocks = numBlocks;
  }

  /** What the native side copies before it returns; the step itself runs later. */
  submit(words: Int32Array, tables: Int32Array, sampler: Float64Array): () => StepResult {
    const buffers = [words.slice(), tables.slice(), sampler.slice()] as const;
    return () => this.#run(...buffers);
  }

  #run(words: Int32Array, tables: Int32Array, sampler: Float64Array): StepResult {
    const step = decodeStep(words);
    this.#swap(step.swapOuts, step.swapIns);
    this.#copyBlocks(step.copies);
    const contents: number[] = [];
    const written = new Set<number>();
    for (const seq of step.seqs) {
      const slotOf = (position: number) => {
        const index = Math.floor(position / this.#size);
        if (index >= seq.numBlocks) throw new Error('a token without a slot');
        const block = tables[seq.row * this.#blocksPerRow + index];
        if (block < 1 || block >= this.#numBlocks) throw new Error('a block outside the pool');
        return block * this.#size + (position % this.#size);
      };
      const start = seq.contextLen - seq.queryLen;
      let content = start === 0 ? EMPTY : this.#kv[slotOf(start - 1)];
      for (const [i, token] of seq.tokens.entries()) {
        const slot = slotOf(start + i);
        if (written.has(slot)) throw new Error('a slot was written twice in a step');
        written.add(slot);
        content = mix(content, token);
        this.#kv[slot] = content;
        contents.push(content);
      }
    }
    const topTokenIds: number[] = [];
    const topLogprobs: number[] = [];
    const tokenIds = step.samples.map((sample) => {
      const at = sample.seqRow * L.samplerDoubles;
      const numTop = sampler[at + L.samplerNumLogprobs];
      const row = numTop > 0 ? logprobsOf(contents[sample.tokenRow]) : [];
      for (const id of bestOf(row, numTop)) {
        topTokenIds.push(id);
        topLogprobs.push(row[id]);
      }
      const seed = sampler[at + L.samplerSeedLow] + 2 ** 32 * sampler[at + L.samplerSeedHigh];
      const key = { seed, temperature: sampler[at + L.samplerTemperature] };
      return drawToken(key, sample.position, contents[sample.tokenRow], sample.extras);
    });
    return {
      tokenIds: Int32Array.from(tokenIds),
      logprobs: new Float64Array(tokenIds.length),
      ranks: new Int32Array(tokenIds.length),
      // Enough to know it again: the content of the row, and the target.
      promptLogprobs: Float64Array.from(step.promptRows, (row) => contents[row.tokenRow]),
      promptRanks: Int32Array.from(step.promptRows, (row) => row.target),
      topTokenIds: Int32Array.from(topTokenIds),
      topLogprobs: Float64Array.from(topLogprobs),
    };
  }

  #swap(outs: readonly [number, number][], ins: readonly [number, number][]): void {
    const size = this.#size;
    if (outs.length > 0 && ins.length > 0) throw new Error('swaps in both directions');
    const targets = [...outs.map(([, host]) => host), ...ins.map(([block]) => block)];
    if (new Set(targets).size < targets.length) throw new Error('a block was swapped to twice');
    for (const [block, host] of outs) {
      this.#host.set(this.#kv.subarray(block * size, (block + 1) * size), host * size);
    }
    for (const [block, host] of ins) {
      this.#kv.set(this.#host.subarray(host * size, (host + 1) * size), block * size);
    }
  }

  /** All at once, as one launch does: no source may be a target. */
  #copyBlocks(copies: readonly [number, number][]): void {
    const targets = new Set(copies.map(([, target]) => target));
    if (targets.size < copies.length) throw new Error('a block was copied to twice');
    const size = this.#size;
    for (const [source, target] of copies) {
      if (targets.has(source)) throw new Error('the source of a copy is a target');
      this.#kv.copyWithin(target * size, source * size, (source + 1) * size);
    }
  }

  /** Does the cache hold the KV of this sequence's computed tokens, as far as its window looks? */
  verify(sequence: Sequence, tables: Int32Array, window = 0): void {
    const seen = window === 0 ? 0 : sequence.numComputed - window + 1;
    let content = EMPTY;
    for (let p = 0; p < sequence.numComputed; p++) {
      content = mix(content, sequence.tokens[p]);
      const index = sequence.row * this.#blocksPerRow + Math.floor(p / this.#size);
      if (p < seen) continue;
      if (this.#kv[tables[index] * this.#size + (p % this.#size)] !== content) {
        throw new Error(`wrong KV at position ${p} of ${sequence.group.id}.${sequence.index}`);
      }
    }
  }
}

/**
 * An executor that pools in place of a model: a text's values are numbers made of its ids, types,
 * pooling and angles, and of nothing else. It throws where words are not what their layout says.
 */
import type { PoolingExecutor } from '../../lib/engine/executor.js';
import { octavoError } from '../../lib/errors.js';
import type { NativeAddon, NativeLoadRequest, NativePooledResult } from '../../lib/native.js';
import { POOLED_LAYOUT as L } from '../../lib/wire/layout.js';
import { mix } from './fake-executor.js';

export interface DecodedText {
  readonly ids: readonly number[];
  readonly types: readonly number[];
  readonly pooling: number;
  readonly longRope: number;
}

export interface DecodedBatch {
  readonly texts: readonly DecodedText[];
  readonly tokenLogits: readonly number[];
}

export function decodePooled(words: Int32Array): DecodedBatch {
  const numTexts = words[L.headerNumTexts];
  const numTokens = words[L.headerNumTokens];
  const hasTypes = words[L.headerHasTokenTypes] === 1;
  const tokensAt = L.headerWords + L.textWords * numTexts;
  const typesAt = tokensAt + numTokens;
  const idsAt = typesAt + (hasTypes ? numTokens : 0);
  const end = idsAt + words[L.headerNumTokenLogits];
  if (words[L.headerVersion] !== L.version || words[L.headerTotalWords] !== words.length) {
    throw new Error('a wrong header');
  }
  if (end !== words.length || numTexts === 0) throw new Error('a wrong length');
  let at = 0;
  const texts = Array.from({ length: numTexts }, (_, i): DecodedText => {
    const column = (k: number) => words[L.headerWords + k * numTexts + i];
    const length = column(L.textLength);
    const begin = at;
    at += length;
    const ids = [...words.subarray(tokensAt + begin, tokensAt + at)];
    const types = hasTypes ? [...words.subarray(typesAt + begin, typesAt + at)] : ids.map(() => 0);
    return { ids, types, pooling: column(L.textPooling), longRope: column(L.textLongRope) };
  });
  if (at !== numTokens) throw new Error('lengths that do not add up');
  return { texts, tokenLogits: [...words.subarray(idsAt)] };
}

/** What a text becomes, wherever it stands; each value from −1 to 1. */
export function fakeValues(
  { ids, types, pooling, longRope }: DecodedText,
  width: number,
  tokenLogits: readonly number[] = [],
): number[] {
  let state = mix(pooling, longRope);
  ids.forEach((id, i) => {
    state = mix(mix(state, id), types[i]);
  });
  const numbers = tokenLogits.length > 0 ? tokenLogits : Array.from({ length: width }, (_, i) => i);
  return numbers.map((number) => Math.fround(mix(state, number) / 2 ** 31));
}

/** `hang`: its promise settles when the executor closes. */
export type PoolingFate =
  | 'run'
  | 'hang'
  | { readonly reject: unknown }
  | { readonly values: number };

export class FakePooling implements PoolingExecutor {
  /** Asked for each step; `values`: all of them are this number. */
  fateOf: (batch: DecodedBatch, count: number) => PoolingFate = () => 'run';
  readonly batches: DecodedBatch[] = [];
  numCloses = 0;
  #isRunning = false;
  #hanging: (() => void) | null = null;

  constructor(readonly width: number) {}

  async embed(words: Int32Array): Promise<NativePooledResult> {
    if (this.#isRunning) throw octavoError('ERR_BUSY', 'two steps at once');
    this.#isRunning = true;
    try {
      const batch = decodePooled(words.slice());
      const fate = this.fateOf(batch, this.batches.length);
      this.batches.push(batch);
      await new Promise(setImmediate);
      if (fate === 'hang') await this.#hang();
      if (typeof fate === 'object' && 'reject' in fate) throw fate.reject;
      const values = batch.texts.flatMap((text) => fakeValues(text, this.width, batch.tokenLogits));
      const all = Float32Array.from(values);
      return { values: typeof fate === 'object' ? all.fill(fate.values) : all, computeMs: 1 };
    } finally {
      this.#isRunning = false;
    }
  }

  async close(): Promise<void> {
    this.numCloses++;
    this.#hanging?.();
  }

  #hang(): Promise<never> {
    return new Promise((_, reject) => {
      this.#hanging = () => reject(octavoError('ERR_CLOSED', 'the executor is closed'));
      if (this.numCloses > 0) this.#hanging();
    });
  }
}

/** An addon whose models are such executors; `last` is the one loaded last. */
export class FakeAddon {
  last: FakePooling | null = null;
  request: Omit<NativeLoadRequest, 'tensors'> | null = null;

  get addon(): NativeAddon {
    const self = this;
    class Executor {
      #pooling: FakePooling | null = null;

      async load(request: Omit<NativeLoadRequest, 'tensors'>) {
        const { hiddenSize, pooler } = request.spec;
        this.#pooling = new FakePooling(pooler?.layers.at(-1)?.outSize ?? hiddenSize);
        self.last = this.#pooling;
        self.request = request;
        const sizes = { numBlocks: 0, blockBytes: 0, weightBytes: 1, weights: [], numThreads: 1 };
        return { backend: 'cpu', isa: 'scalar', ...sizes };
      }

      embed(words: Int32Array) {
        return (this.#pooling as FakePooling).embed(words);
      }

      async close() {
        await this.#pooling?.close();
      }
    }
    return { Executor } as unknown as NativeAddon;
  }
}

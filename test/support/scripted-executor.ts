/** The model of the KV behind the engine's own interface, and all the ways in which it may fail. */
import type { Executor } from '../../lib/engine/executor.js';
import { octavoError } from '../../lib/errors.js';
import { type DecodedStep, decodeStep } from './decode-step.js';
import { FakeExecutor } from './fake-executor.js';

/**
 * What becomes of a step. `run`: it ends in a later turn of the event loop; `at once`: in this one;
 * `hang`: its promise settles when the executor closes.
 */
export type Fate =
  | 'run'
  | 'at once'
  | 'hang'
  | { readonly reject: unknown }
  | { readonly throws: unknown }
  | { readonly resolve: unknown };

export interface ExecutorSizes {
  readonly numBlocks: number;
  readonly blockSize: number;
  readonly blocksPerRow: number;
}

export class ScriptedExecutor implements Executor {
  /** Asked for each step; `count` is how many came before. */
  fateOf: (step: DecodedStep, count: number) => Fate = () => 'run';
  numSteps = 0;
  numCloses = 0;
  readonly #model: FakeExecutor;
  #hanging: (() => void) | null = null;

  constructor({ numBlocks, blockSize, blocksPerRow }: ExecutorSizes) {
    this.#model = new FakeExecutor({
      ...{ numBlocks, blockSize, blocksPerRow, numHostBlocks: 0 },
      groups: [{ window: 0, blockSize }],
    });
  }

  execute(words: Int32Array, tables: Int32Array, samplers: Float64Array) {
    const fate = this.fateOf(decodeStep(words), this.numSteps++);
    if (fate === 'hang') return this.#hang();
    if (typeof fate === 'object') {
      if ('throws' in fate) throw fate.throws;
      if ('reject' in fate) return Promise.reject(fate.reject);
      return Promise.resolve(fate.resolve as never);
    }
    const run = this.#model.submit(words, tables, samplers);
    if (fate === 'at once') return Promise.resolve(run());
    return new Promise<ReturnType<typeof run>>((resolve) => {
      setImmediate(() => resolve(run()));
    });
  }

  async close(): Promise<void> {
    this.numCloses++;
    this.#hanging?.();
  }

  #hang(): Promise<never> {
    return new Promise((_, reject) => {
      this.#hanging = () => reject(octavoError('ERR_CLOSED', 'the executor is closed'));
    });
  }
}

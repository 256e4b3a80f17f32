/** A module of a checkpoint: the tensors whose names begin with its own. */
import type { Found } from '../bind.js';
import { damaged } from '../files.js';

/** Reads all bytes of a small tensor. */
export type ReadTensor = (tensor: Found) => Promise<Buffer>;

/** The tensors of a module by what follows its name. */
export class Module {
  readonly #taken = new Set<string>();

  constructor(
    readonly name: string,
    readonly files: readonly string[],
    readonly tensors: ReadonlyMap<string, Found>,
  ) {}

  /** @returns undefined where there is none */
  find(...suffixes: readonly string[]): Found | undefined {
    for (const suffix of suffixes) {
      const tensor = this.tensors.get(suffix);
      if (tensor === undefined) continue;
      this.#taken.add(suffix);
      return tensor;
    }
    return undefined;
  }

  /** @throws ERR_MODEL_FORMAT naming the tensor `of` that it belongs to */
  need(of: Found, ...suffixes: readonly string[]): Found {
    const tensor = this.find(...suffixes);
    if (tensor !== undefined) return tensor;
    const instead = suffixes.map((suffix) => `${this.name}.${suffix}`).join(' or ');
    const why = `is ${of.dtype} without ${instead}, its scales; the checkpoint is not complete`;
    throw damaged(this.files[of.file], `tensor ${of.name}`, why);
  }

  fileOf(tensor: Found): string {
    return this.files[tensor.file];
  }

  /** What nobody asked for. */
  rest(): Found[] {
    return [...this.tensors].flatMap(([suffix, t]) => (this.#taken.has(suffix) ? [] : [t]));
  }
}

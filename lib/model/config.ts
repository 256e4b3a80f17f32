/** Between a model's file and its family: what a family reads, and what it answers. */
import type { NativeModelSpec } from '../native.js';
import type { Pooling } from '../wire/layout.js';
import type { Fields } from './fields.js';
import type { Harmless } from './harmless.js';
import type { TensorNames } from './names.js';

/** What a GGUF file tells by its tensors. */
export interface GgufTensors {
  /** As they are stored. */
  readonly names: ReadonlySet<string>;
  /** By the same names, outermost dimension first. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Rows of the embedding. */
  readonly vocabSize: number;
  /** Canonical names of the projections that have a bias in some layer. */
  readonly biases: ReadonlySet<string>;
  /** Values of the tensors that scale a rope's frequencies, by name. */
  readonly factors: ReadonlyMap<string, Float32Array>;
}

/** config.json or GGUF metadata: the same settings under two names. */
export class Config {
  #numMtpLayers: number;

  /**
   * @param f settings of the text model
   * @param top of the whole of config.json; `f` itself where nothing is nested
   */
  constructor(
    readonly f: Fields,
    readonly top: Fields,
    readonly gguf?: GgufTensors,
    /** Rows of its classification head; 0 = it has none. */
    readonly numLabels = 0,
  ) {
    const name = this.name('num_nextn_predict_layers', 'nextn_predict_layers');
    this.#numMtpLayers = f.integer(name, 0, 64, 0);
  }

  /** Layers that draft tokens, behind those of the model. */
  get numMtpLayers(): number {
    return this.#numMtpLayers;
  }

  /** Of config.json of a family that says so many modules of so many layers. */
  countMtpLayers(modules: string, layers: string): void {
    this.#numMtpLayers = this.f.integer(modules, 0, 64, 0) * this.f.integer(layers, 0, 64, 1);
  }

  /** What a setting is called here; '' = not at all. */
  name(hf: string, gguf: string): string {
    return this.gguf ? gguf : hf;
  }

  /** The type that config.json says its weights have, as bfloat16; '' where it does not. */
  dtype(): string {
    if (this.gguf) return '';
    const holder = [this.f, this.top].find((f) => f.has('dtype') || f.has('torch_dtype'));
    return holder?.string('dtype', holder.string('torch_dtype', '')) ?? '';
  }

  /** A switch of config.json that is off where nothing is said; GGUF files show it otherwise. */
  flag(hf: string): boolean {
    return this.gguf === undefined && this.f.boolean(hf, false);
  }
}

/** What a family makes of a config; lib/model/read-spec.ts adds the rest. */
export interface FamilySpec extends NativeModelSpec {
  readonly maxPositionEmbeddings: number;
  readonly longRopeFrom?: number | undefined;
  readonly names: TensorNames;
  /** How a text's vector is taken where files do not say; what a classification head reads. */
  readonly pooling?: Pooling;
  /** Its names have places for the two tensors that matrices of MXFP4 come in. */
  readonly hasMxfp4?: true;
  /** Settings of this family that change nothing. */
  readonly harmless?: Harmless;
}

export type Family = (config: Config) => FamilySpec;

/** How the modules of a checkpoint in safetensors are quantised: a record for each scheme. */
import { shown } from '../../arguments.js';
import type { Fields } from '../fields.js';
import { unsupported } from '../files.js';
import type { Harmless } from '../harmless.js';
import { unnested } from '../names.js';
import { matchesGlob, Pattern } from './pattern.js';

/** What codes are: whole numbers, or floats (8 bits: E4M3, 4 bits: E2M1). */
export type CodeType = 'int' | 'float';

/** What shares a scale: all of a matrix, a row, so many columns of a row, or a block of it. */
export type ScaleSpan =
  | { readonly per: 'tensor' }
  | { readonly per: 'channel' }
  | { readonly per: 'group'; readonly size: number }
  | { readonly per: 'block'; readonly rows: number; readonly cols: number };

/** Whose names the tensors of a quantised matrix have, and what they mean. */
export type Form = 'fp8' | 'compressed-tensors' | 'modelopt' | 'awq' | 'gptq' | 'bitsandbytes';

export interface Scheme {
  readonly form: Form;
  readonly type: CodeType;
  readonly bits: 2 | 3 | 4 | 8;
  readonly span: ScaleSpan;
  /** Zeros are stored beside the scales. */
  readonly hasZeros: boolean;
  /** What is added to stored zeros: 1 in GPTQ's first format. */
  readonly zeroOffset: 0 | 1;
  /** The groups of columns are in an order of their own, which is stored. */
  readonly hasOrder: boolean;
}

export interface Quantization {
  /** As messages name it. */
  readonly method: string;
  /** Of a module by the name that its tensors have; undefined: its weight is as it is. */
  schemeOf(module: string): Scheme | undefined;
}

/** What most schemes are. */
export const PLAIN_SCHEME = { hasZeros: false, zeroOffset: 0, hasOrder: false } as const;

/** A setting of a quantization that nobody knows is refused, as one of the model is. */
export function checkRead(f: Fields, harmless?: Harmless): void {
  const [unknown] = f.unread(harmless);
  if (unknown === undefined) return;
  throw unsupported(f.file, `the setting ${shown(unknown)} of ${f.prefix.slice(0, -1)}`);
}

/** Refuses a setting's value that this version does not know, by name. */
export function refuse(f: Fields, name: string): never {
  throw unsupported(f.file, `${f.prefix}${name} ${shown(f.raw(name))}`);
}

const MAX_NAMES = 1 << 16;

/** A list of names, or of patterns of them; none where it is absent. */
export function namesIn(f: Fields, name: string): string[] {
  if (!f.has(name)) return [];
  const list = f.raw(name);
  const isList = Array.isArray(list) && list.length <= MAX_NAMES;
  if (!isList || !list.every((item) => typeof item === 'string')) {
    f.fail(name, 'is not a list of names');
  }
  return list;
}

/** Bits of a code. */
export function bitsIn(f: Fields, name: string, ...known: readonly Scheme['bits'][]) {
  const bits = f.integer(name, 1, 64);
  const found = known.find((n) => n === bits);
  return found ?? refuse(f, name);
}

/** Columns of a group; −1: a whole row. */
export function groupIn(f: Fields, name: string): ScaleSpan {
  const size = f.integer(name, -1, 2 ** 20);
  if (size === -1) return { per: 'channel' };
  return size === 0 ? refuse(f, name) : { per: 'group', size };
}

/** A module's name as files have it, and as it is where the text model stands alone. */
function spellings(module: string): readonly string[] {
  const bare = unnested(module);
  return bare === module ? [module] : [module, bare];
}

/** A test of modules' names by one pattern. @throws ERR_MODEL_UNSUPPORTED naming the pattern */
export function regexTest(f: Fields, source: string): (module: string) => boolean {
  try {
    const pattern = new Pattern(source);
    return (module) => spellings(module).some((name) => pattern.matches(name));
  } catch (error) {
    const why = (error as Error).message;
    throw unsupported(f.file, `the pattern ${shown(source)} of ${f.prefix.slice(0, -1)} (${why})`);
  }
}

/** By names with wildcards, of modules and of what is in them. */
export function globTest(globs: readonly string[]): (module: string) => boolean {
  return (module) =>
    spellings(module).some((name) => globs.some((glob) => matchesGlob(unnested(glob), name)));
}

/** By whole parts of names: `mlp.gate` is in `model.layers.0.mlp.gate`, not in `…mlp.gate_proj`. */
export function partTest(parts: readonly string[]): (module: string) => boolean {
  return (module) =>
    spellings(module).some((name) => parts.some((part) => `.${name}.`.includes(`.${part}.`)));
}

/** By names as they are, or patterns behind "re:". */
export function nameTest(f: Fields, names: readonly string[]): (module: string) => boolean {
  const exact = new Set(names.flatMap(spellings));
  const patterns = names
    .filter((name) => name.startsWith('re:'))
    .map((name) => regexTest(f, name.slice(3)));
  return (module) =>
    spellings(module).some((name) => exact.has(name)) || patterns.some((test) => test(module));
}

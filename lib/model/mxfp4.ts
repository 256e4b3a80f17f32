/** Matrices of four bits that lie in two tensors: `…_blocks`, the codes, and `…_scales`. */
import { damaged } from './files.js';
import type { FileTensor } from './safetensors.js';

/** Codes that share a scale; two stand in a byte. */
const BLOCK = 32;

/** Where the scales of a tensor's codes lie; of `bytes`, one a block. */
export interface Scales {
  readonly file: number;
  readonly offset: number;
  readonly bytes: number;
}

type Stored = FileTensor & { readonly file: number; readonly scales?: Scales };

/**
 * The pairs as one tensor `…_mxfp4` of the matrix's own shape: [.., rows, cols]. A half of a pair
 * stays what it is, and nobody knows it.
 * @throws ERR_MODEL_FORMAT where the halves do not fit
 */
export function joined(found: readonly Stored[], files: readonly string[]): readonly Stored[] {
  const scalesOf = new Map<string, Stored>();
  for (const tensor of found) {
    const [, base] = /^(.+)_scales$/.exec(tensor.name) ?? [];
    if (base !== undefined && tensor.dtype === 'U8') scalesOf.set(base, tensor);
  }
  if (scalesOf.size === 0) return found;
  const done = new Set<Stored>();
  const pairs = found.flatMap((blocks): Stored[] => {
    const [, base] = /^(.+)_blocks$/.exec(blocks.name) ?? [];
    const scales = base === undefined ? undefined : scalesOf.get(base);
    if (base === undefined || scales === undefined || blocks.dtype !== 'U8') return [];
    done.add(blocks).add(scales);
    const outer = blocks.shape.slice(0, -1);
    if (blocks.shape.at(-1) !== BLOCK / 2 || outer.join() !== scales.shape.join()) {
      const why = `of shape [${blocks.shape.join(', ')}] does not fit [${scales.shape.join(', ')}]`;
      throw damaged(files[blocks.file], `tensor ${blocks.name}`, `${why} of its scales`);
    }
    const shape = [...outer.slice(0, -1), (outer.at(-1) ?? 0) * BLOCK];
    const { file, offset, bytes } = scales;
    const name = `${base}_mxfp4`;
    return [{ ...blocks, name, dtype: 'MXFP4', shape, scales: { file, offset, bytes } }];
  });
  return [...found.filter((tensor) => !done.has(tensor)), ...pairs];
}

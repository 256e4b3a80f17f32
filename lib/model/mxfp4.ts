/** Matrices of four bits that lie in two tensors: `…_blocks`, the codes, and `…_scales`. */
import type { Found } from './bind.js';
import { damaged } from './files.js';
import { codesOf, inParts, scalesOf } from './quantization/parts.js';

/** Codes that share a scale; two stand in a byte. */
const BLOCK = 32;

/**
 * The pairs as one tensor `…_mxfp4` of the matrix's own shape: [.., rows, cols]. A half of a pair
 * stays what it is, and nobody knows it.
 * @throws ERR_MODEL_FORMAT where the halves do not fit
 */
export function joined(found: readonly Found[], files: readonly string[]): readonly Found[] {
  const scalesByBase = new Map<string, Found>();
  for (const tensor of found) {
    const [, base] = /^(.+)_scales$/.exec(tensor.name) ?? [];
    if (base !== undefined && tensor.dtype === 'U8') scalesByBase.set(base, tensor);
  }
  if (scalesByBase.size === 0) return found;
  const done = new Set<Found>();
  const pairs = found.flatMap((blocks): Found[] => {
    const [, base] = /^(.+)_blocks$/.exec(blocks.name) ?? [];
    const scales = base === undefined ? undefined : scalesByBase.get(base);
    if (base === undefined || scales === undefined || blocks.dtype !== 'U8') return [];
    done.add(blocks).add(scales);
    const outer = blocks.shape.slice(0, -1);
    if (blocks.shape.at(-1) !== BLOCK / 2 || outer.join() !== scales.shape.join()) {
      const why = `of shape [${blocks.shape.join(', ')}] does not fit [${scales.shape.join(', ')}]`;
      throw damaged(files[blocks.file], `tensor ${blocks.name}`, `${why} of its scales`);
    }
    return [pairOf({ ...blocks, name: `${base}_mxfp4` }, scales, files)];
  });
  return [...found.filter((tensor) => !done.has(tensor)), ...pairs];
}

function pairOf(blocks: Found, scales: Found, files: readonly string[]): Found {
  const outer = blocks.shape.slice(0, -2);
  const groups = blocks.shape.at(-2) ?? 0;
  const cols = groups * BLOCK;
  const rows = outer.reduce((product, n) => product * n, 1);
  const grid = { ...scales, shape: [rows, groups] };
  return inParts(blocks, [...outer, cols], 'MXFP4', {
    codes: codesOf(blocks, 'rows', 4, [rows, cols]),
    float: true,
    group: BLOCK,
    scales: scalesOf(grid, [rows, groups], files, { dtype: 'F8_E8M0' }),
  });
}

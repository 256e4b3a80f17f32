/** bitsandbytes' four bits: codes of a list of 16 values, a scale for each 64, all rows as one. */
import type { Found } from '../bind.js';
import { Fields } from '../fields.js';
import { damaged, parseObject } from '../files.js';
import type { Module, ReadTensor } from './module.js';
import { codesOf, inParts, type Parts, partOf, scalesOf } from './parts.js';
import { checkType } from './rows.js';

const MAX_STATE_BYTES = 4096;

export async function bitsandbytes4(
  module: Module,
  weight: Found,
  read: ReadTensor,
): Promise<Found> {
  checkType(module, weight, 'U8');
  const kinds = ['nf4', 'fp4'].map((kind) => `weight.quant_state.bitsandbytes__${kind}`);
  const state = module.need(weight, ...kinds);
  if (state.bytes > MAX_STATE_BYTES) {
    throw damaged(module.fileOf(state), `tensor ${state.name}`, 'is too long for its few words');
  }
  const file = `${module.fileOf(state)}: ${state.name}`;
  const f = new Fields(file, parseObject((await read(state)).toString('utf8'), file));
  const [rows, cols] = shapeIn(f);
  if (weight.bytes !== (rows * cols) / 2) f.fail('shape', 'does not fit the codes');
  const group = f.integer('blocksize', 1, 1 << 20);
  const absmax = module.need(weight, 'weight.absmax');
  const count = Math.ceil((rows * cols) / group);
  const isNested = module.tensors.has('weight.nested_absmax');
  const dtype = isNested ? 'book' : absmax.dtype;
  return inParts(weight, [rows, cols], 'other', {
    ...{ codes: codesOf(weight, 'flat', 4, [rows, cols]), group },
    scales: scalesOf(absmax, [1, count], module.files, { flat: true, dtype }),
    values: partOf(module.need(weight, 'weight.quant_map')),
    ...(isNested ? nested(module, weight, f) : {}),
  });
}

function shapeIn(f: Fields): readonly [number, number] {
  const shape = f.raw('shape');
  const isSide = (n: unknown) => Number.isSafeInteger(n) && (n as number) > 0;
  if (!Array.isArray(shape) || shape.length !== 2 || !shape.every(isSide)) {
    f.fail('shape', 'is no shape of a matrix');
  }
  return [shape[0], shape[1]];
}

/** Scales that are codes of a list themselves. */
function nested(module: Module, weight: Found, f: Fields): Partial<Parts> {
  if (f.integer('nested_blocksize', 1, 1 << 20) !== 256) f.fail('nested_blocksize', 'is not 256');
  return {
    book: partOf(module.need(weight, 'weight.nested_quant_map')),
    bookScales: partOf(module.need(weight, 'weight.nested_absmax')),
    bookOffset: f.number('nested_offset', -1e30, 1e30),
  };
}

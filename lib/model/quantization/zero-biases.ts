/** GPTQ's writers put a bias beside every matrix, of zeros where the model has none. */
import type { Found } from '../bind.js';
import { placeOf, type TensorNames } from '../names.js';
import type { ModelSpec } from '../spec.js';
import { tensorShapes } from '../tensor-shapes.js';
import type { ReadTensor } from './module.js';

/** Longer ones are read by nobody: they stay, and are refused as tensors that the model has not. */
const MAX_BYTES = 1 << 20;

/** Without biases that the model does not ask for, where all that they say is zero. */
export async function withoutZeroBiases(
  found: readonly Found[],
  { spec, names }: { readonly spec: ModelSpec; readonly names: TensorNames },
  read: ReadTensor,
): Promise<Found[]> {
  const wanted = tensorShapes(spec);
  const out: Found[] = [];
  for (const tensor of found) {
    const place = tensor.name.endsWith('.bias') ? placeOf(tensor.name, names) : undefined;
    const isNeedless = place?.names.length && !place.names.some((name) => wanted.has(name));
    if (!isNeedless || tensor.bytes > MAX_BYTES) out.push(tensor);
    else if ((await read(tensor)).some((byte) => byte !== 0)) out.push(tensor);
  }
  return out;
}

/** Tensors of a checkpoint for tests of lib/model/quantization, one behind the other. */
import type { Found } from '../../lib/model/bind.js';
import { Fields } from '../../lib/model/fields.js';
import { assemble } from '../../lib/model/quantization/assemble.js';
import { readQuantization } from '../../lib/model/quantization/read.js';

const BYTES: Record<string, number> = { F32: 4, I32: 4, I64: 8, F16: 2, BF16: 2 };

export type Shapes = Record<string, readonly [dtype: string, ...shape: number[]]>;

export function storedTensors(shapes: Shapes): Found[] {
  let offset = 0;
  return Object.entries(shapes).map(([name, [dtype, ...shape]]) => {
    const bytes = shape.reduce((product, n) => product * n, BYTES[dtype] ?? 1);
    offset += bytes;
    return { name, dtype, shape, offset: offset - bytes, bytes, file: 0 };
  });
}

/** What assemble() makes of them under a quantization_config; `text` is what every small one says. */
export function assembled(config: Record<string, unknown> | undefined, shapes: Shapes, text = '') {
  const said = config && new Fields('config.json', { quantization_config: config });
  const quantization = said && readQuantization(said);
  return assemble(storedTensors(shapes), quantization, ['m.safetensors'], async () =>
    Buffer.from(text),
  );
}

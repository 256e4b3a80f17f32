// Matrices of every scheme, bit for bit as the library that defines it dequantises them.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Found } from '../../lib/model/bind.js';
import { Fields } from '../../lib/model/fields.js';
import { readExactly, readJsonObject, withFile } from '../../lib/model/files.js';
import { assemble } from '../../lib/model/quantization/assemble.js';
import { folderQuantization, readQuantization } from '../../lib/model/quantization/read.js';
import { readSafetensors } from '../../lib/model/safetensors.js';
import type { DTypeName, NativeTensor } from '../../lib/native.js';
import { ROOT, storedMatrix } from '../support/addon.js';
import { readF32Tensors } from '../support/goldens.js';
import { temporaryFolder, write } from '../support/write-model.js';

const FORMATS = join(ROOT, 'test', 'fixtures', 'formats');
const FOLDER = temporaryFolder();
const hashes = JSON.parse(readFileSync(join(FORMATS, 'values.json'), 'utf8')) as Record<
  string,
  Record<string, string>
>;

async function matricesOf(name: string) {
  const folder = join(FORMATS, name);
  const file = join(folder, 'model.safetensors');
  const configFile = join(folder, 'config.json');
  const said = readQuantization(new Fields(configFile, await readJsonObject(configFile)));
  const quantization = said ?? (await folderQuantization(folder, readdirSync(folder)));
  const stored = (await readSafetensors(file)).map((tensor) => ({ ...tensor, file: 0 }));
  const found = await assemble(stored, quantization, [file], ({ offset, bytes }) =>
    withFile(file, (f) => readExactly(f, file, offset, bytes)),
  );
  return { file, found };
}

function valuesOf(file: string, found: readonly Found[], name: string, change = {}): Float32Array {
  const tensor = found.find((t) => t.name === name)!;
  const [rows, cols] = tensor.shape;
  const dtype = tensor.dtype as DTypeName;
  return storedMatrix([file], { ...tensor, dtype, rows, cols, ...change } as NativeTensor);
}

describe('a matrix of', () => {
  it.each(Object.keys(hashes))('%s', async (name) => {
    const { file, found } = await matricesOf(name);
    expect(Object.keys(hashes[name]).length).toBeGreaterThan(0);
    for (const [tensor, hash] of Object.entries(hashes[name])) {
      const values = valuesOf(file, found, tensor).map((v) => v + 0); // no −0
      expect(createHash('sha256').update(values).digest('hex'), tensor).toBe(hash);
    }
  });

  // Whose writer rounds in another order.
  it('bnb-int8, but for a rounding', async () => {
    const { file, found } = await matricesOf('bnb-int8');
    for (const [tensor, { data }] of readF32Tensors(join(FORMATS, 'bnb-int8/values.safetensors'))) {
      const values = valuesOf(file, found, tensor);
      data.forEach((v, i) => {
        expect(Math.abs(values[i] - v)).toBeLessThanOrEqual(2 ** -23 * Math.abs(v));
      });
    }
  });
});

it.each(['gptq-v2', 'awq', 'ct-nvfp4', 'fp8-tensor'])('rows of %s apart', async (name) => {
  const { file, found } = await matricesOf(name);
  const tensor = found.find((t) => t.parts !== undefined)!;
  const [rows, cols] = tensor.shape;
  const all = valuesOf(file, found, tensor.name);
  const some = valuesOf(file, found, tensor.name, {
    ...{ rows: Math.floor((rows - 3) / 5), step: 5, parts: { ...tensor.parts, from: 3 } },
  });
  expect(some.length).toBeGreaterThan(cols);
  some.forEach((v, i) => {
    const at = (3 + 5 * Math.floor(i / cols)) * cols + (i % cols);
    if (v !== all[at]) throw new Error(`value ${i} is ${v}, not ${all[at]}`);
  });
});

type Part = readonly [dtype: string, shape: number[], bytes: Buffer];

/** Tensors of a small checkpoint of FP8 in blocks of 128, as they are put together. */
async function assembledFp8(file: string, parts: Record<string, Part>): Promise<Found[]> {
  let offset = 0;
  const header: Record<string, object> = {};
  for (const [name, [dtype, shape, { length }]] of Object.entries(parts)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + length] };
    offset += length;
  }
  const json = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  const bytes = Object.values(parts).map(([, , own]) => own);
  const path = write(FOLDER, file, Buffer.concat([size, json, ...bytes]));
  const config = { quant_method: 'fp8', weight_block_size: [128, 128] };
  const quantization = readQuantization(new Fields('c', { quantization_config: config }));
  const stored = (await readSafetensors(path)).map((tensor) => ({ ...tensor, file: 0 }));
  const found = await assemble(stored, quantization, [path], async () => Buffer.alloc(0));
  return found.map((tensor) => ({ ...tensor, path }));
}

it('experts of one tensor are what they are in tensors of their own', async () => {
  const sides = [256, 128];
  const codes = [0, 1].map((e) =>
    Buffer.from(Uint8Array.from({ length: 2 ** 15 }, (_, i) => (i * (e + 3)) % 127)),
  );
  const scales = [0, 1].map((e) => Buffer.from(Float32Array.of(0.5 + e, 0.75 - e).buffer));
  const one = (e: number): Record<string, Part> => ({
    [`mlp.experts.${e}.up_proj.weight`]: ['F8_E4M3', sides, codes[e]],
    [`mlp.experts.${e}.up_proj.weight_scale_inv`]: ['F32', [2, 1], scales[e]],
  });
  const apart = await assembledFp8('apart.safetensors', { ...one(0), ...one(1) });
  const [stack] = await assembledFp8('stack.safetensors', {
    'mlp.experts.up_proj': ['F8_E4M3', [2, ...sides], Buffer.concat(codes)],
    'mlp.experts.up_proj_scale_inv': ['F32', [2, 2, 1], Buffer.concat(scales)],
  });
  for (const [e, alone] of apart.entries()) {
    const from = e * sides[0];
    const place = { rows: sides[0], cols: sides[1], parts: { ...stack.parts, from } };
    const { path } = stack as Found & { path: string };
    const values = storedMatrix([path], { ...stack, ...place } as unknown as NativeTensor);
    const { path: own } = alone as Found & { path: string };
    expect(values).toEqual(valuesOf(own, apart, alone.name));
    expect(new Set(values).size).toBeGreaterThan(100);
  }
});

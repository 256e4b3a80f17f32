/**
 * The int8 that vLLM multiplies on a CPU: a folder in compressed-tensors' form, W8A8, weights with
 * a scale per row, activations with one per token, made of a BF16 folder. The tied head stays BF16.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** Path of the folder; written on the first call. */
export function int8Folder(source: string): string {
  const folder = `${source}-w8a8`;
  const path = join(folder, 'model.safetensors');
  if (existsSync(path)) return folder;
  mkdirSync(folder, { recursive: true });
  const file = readFileSync(join(source, 'model.safetensors'));
  const start = 8 + Number(file.readBigUInt64LE(0));
  const entries: Record<string, Entry> = JSON.parse(file.subarray(8, start).toString());
  const parts: Uint8Array[] = [];
  const header: Record<string, Entry> = {};
  let at = 0;
  const add = (name: string, dtype: string, shape: readonly number[], bytes: Uint8Array) => {
    header[name] = { dtype, shape, data_offsets: [at, (at += bytes.length)] };
    parts.push(bytes);
  };
  for (const [name, { dtype, shape, data_offsets: range }] of Object.entries(entries)) {
    const bytes = file.subarray(start + range[0], start + range[1]);
    if (!name.includes('_proj.')) {
      add(name, dtype, shape, bytes);
      continue;
    }
    const { values, scales } = perRow(bytes, shape[0], shape[1]);
    add(name, 'I8', shape, values);
    add(`${name}_scale`, 'F32', [shape[0], 1], scales);
  }
  writeSafetensors(path, header, parts);
  const config = JSON.parse(readFileSync(join(source, 'config.json'), 'utf8'));
  const text = JSON.stringify({ ...config, quantization_config: QUANTIZATION });
  writeFileSync(join(folder, 'config.json'), text);
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    copyFileSync(join(source, name), join(folder, name));
  }
  return folder;
}

/** BF16 values as int8, the greatest of a row ±127. */
export function perRow(bytes: Uint8Array, rows: number, cols: number) {
  // A copy: a Buffer's slice would be a view of the whole file, from its first byte on.
  const bits = new Uint16Array(new Uint8Array(bytes).buffer);
  const row = new Float32Array(cols);
  const rowBits = new Uint32Array(row.buffer);
  const values = new Int8Array(rows * cols);
  const scales = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    let most = 0;
    for (let c = 0; c < cols; c++) {
      rowBits[c] = bits[r * cols + c] << 16;
      most = Math.max(most, Math.abs(row[c]));
    }
    scales[r] = most / 127;
    for (let c = 0; c < cols; c++) values[r * cols + c] = Math.round(row[c] / scales[r]);
  }
  return { values: new Uint8Array(values.buffer), scales: new Uint8Array(scales.buffer) };
}

function writeSafetensors(
  path: string,
  header: Readonly<Record<string, Entry>>,
  parts: readonly Uint8Array[],
): void {
  const json = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(json.length));
  const fd = openSync(`${path}.part`, 'w');
  for (const part of [head, json, ...parts]) writeSync(fd, part);
  closeSync(fd);
  renameSync(`${path}.part`, path);
}

const INT8 = { num_bits: 8, type: 'int', symmetric: true };

const QUANTIZATION = {
  quant_method: 'compressed-tensors',
  format: 'int-quantized',
  quantization_status: 'compressed',
  ignore: ['lm_head'],
  config_groups: {
    group_0: {
      targets: ['Linear'],
      weights: { ...INT8, strategy: 'channel', dynamic: false },
      input_activations: { ...INT8, strategy: 'token', dynamic: true },
    },
  },
};

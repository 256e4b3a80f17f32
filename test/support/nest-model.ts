/** A text model put inside one that also sees, as such checkpoints come. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Settings } from './specs.js';
import { type HeaderTensor, write } from './write-model.js';

/**
 * Copies a model folder with one weight file.
 * @param prefix of the text model's tensors; in the older form its head has one, too
 * @param outer config.json around text_config
 * @param inner what text_config says instead of what the folder's config.json does
 */
export function nestModel(
  from: string,
  folder: string,
  prefix: 'model.language_model.' | 'language_model.model.',
  outer: Settings,
  inner: Settings = {},
): void {
  for (const name of readdirSync(from)) write(folder, name, readFileSync(join(from, name)));
  const own = JSON.parse(readFileSync(join(from, 'config.json'), 'utf8'));
  const text_config = { ...own, ...inner };
  write(folder, 'config.json', { ...outer, text_config, vision_config: { hidden_size: 1 } });
  const file = readFileSync(join(from, 'model.safetensors'));
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<string, HeaderTensor>;
  const nested: Record<string, HeaderTensor> = {};
  for (const [name, tensor] of Object.entries(header)) {
    const head = name === 'lm_head.weight' && prefix.startsWith('language_model.');
    nested[head ? `language_model.${name}` : name.replace(/^model\./, prefix)] = tensor;
  }
  const data = file.subarray(8 + length);
  nested['model.vision_tower.patch_embedding.weight'] = {
    dtype: 'F32',
    shape: [2, 2],
    data_offsets: [data.length, data.length + 16],
  };
  const json = Buffer.from(JSON.stringify(nested));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  write(folder, 'model.safetensors', Buffer.concat([size, json, data, Buffer.alloc(16)]));
}

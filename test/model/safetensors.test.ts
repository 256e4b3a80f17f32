import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readSafetensors } from '../../lib/model/safetensors.js';
import { ROOT } from '../support/addon.js';
import { refusal, safetensorsFile, temporaryFolder, write } from '../support/write-model.js';

const folder = temporaryFolder();
const tensor = (from: number, to: number, shape = [(to - from) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [from, to],
});

it('lists the tensors of a real file, each inside it', async () => {
  const tensors = await readSafetensors(join(ROOT, 'models/octavo-demo/model.safetensors'));
  expect(tensors).toHaveLength(56);
  const embed = tensors.find((t) => t.name === 'model.embed_tokens.weight');
  expect(embed).toMatchObject({ dtype: 'BF16', shape: [4096, 256], bytes: 4096 * 256 * 2 });
});

it('takes gaps, empty tensors and metadata', async () => {
  const header = { __metadata__: { format: 'pt' }, a: tensor(8, 16), b: tensor(0, 0, [0, 5]) };
  const path = write(folder, 'good.safetensors', safetensorsFile(header, 32));
  const [a, b] = await readSafetensors(path);
  expect(a).toMatchObject({ name: 'a', shape: [2], bytes: 8 });
  expect(a.offset).toBe(8 + JSON.stringify(header).length + 8);
  expect(b.bytes).toBe(0);
});

it.each<[string, Buffer, RegExp]>([
  ['nothing', Buffer.alloc(0), /too short/],
  ['seven bytes', Buffer.alloc(7), /too short/],
  ['a header past the end', safetensorsFile('{}', 0, 1000), /header length/],
  ['a header of 2^63 bytes', safetensorsFile('{}', 0, 2 ** 62), /header length/],
  ['no JSON', safetensorsFile('{oops', 8), /JSON/],
  ['a list', safetensorsFile('[]', 8), /object/],
  ['no description', safetensorsFile({ a: 5 }, 8), /"a"/],
  ['an unknown dtype', safetensorsFile({ a: { ...tensor(0, 8), dtype: 'F31' } }, 8), /F31/],
  ['a dtype of Object', safetensorsFile({ a: { ...tensor(0, 8), dtype: 'toString' } }, 8), /dtype/],
  ['a negative shape', safetensorsFile({ a: tensor(0, 8, [-2]) }, 8), /shape/],
  ['a fractional shape', safetensorsFile({ a: tensor(0, 8, [0.5, 4]) }, 8), /shape/],
  ['an overflowing shape', safetensorsFile({ a: tensor(0, 8, [2 ** 40, 2 ** 40]) }, 8), /shape/],
  ['a shape that fits not', safetensorsFile({ a: tensor(0, 8, [3]) }, 8), /8 bytes/],
  ['offsets reversed', safetensorsFile({ a: tensor(8, 0, [2]) }, 8), /"a"/],
  ['one offset', safetensorsFile({ a: { ...tensor(0, 8), data_offsets: [0] } }, 8), /offsets/],
  ['bytes past the end', safetensorsFile({ a: tensor(0, 16) }, 8), /truncated/],
  ['an overlap', safetensorsFile({ a: tensor(0, 8), b: tensor(4, 12) }, 12), /overlaps/],
])('%s is refused, naming file and place', async (_, content, why) => {
  const path = write(folder, 'bad.safetensors', content);
  const { code, message } = await refusal(readSafetensors(path));
  expect(code).toBe('ERR_MODEL_FORMAT');
  expect(message).toContain(path);
  expect(message).toMatch(why);
});

it('says when there is no file, or a folder', async () => {
  expect((await refusal(readSafetensors('/nowhere'))).code).toBe('ERR_MODEL_NOT_FOUND');
  expect((await refusal(readSafetensors(folder))).code).toBe('ERR_MODEL_FORMAT');
});

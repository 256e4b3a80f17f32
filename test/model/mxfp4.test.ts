import { expect, it } from 'vitest';
import { joined } from '../../lib/model/mxfp4.js';

const FILES = ['m.safetensors'];
const tensor = (name: string, shape: number[], offset: number, dtype = 'U8') => ({
  ...{ name, dtype, shape, offset, file: 0 },
  bytes: shape.reduce((product, n) => product * n, 1),
});
const blocks = tensor('a_blocks', [4, 6, 2, 16], 8);
const scales = tensor('a_scales', [4, 6, 2], 800);

it('joins codes and scales to the matrix that they are', () => {
  const other = tensor('b', [3], 900, 'F32');
  const [first, whole, ...rest] = joined([scales, other, blocks], FILES);
  expect([first, rest]).toEqual([other, []]);
  expect(whole).toMatchObject({
    ...{ name: 'a_mxfp4', dtype: 'MXFP4', shape: [4, 6, 64], bytes: 24 * 2 * 17 },
    parts: {
      ...{ rows: 24, from: 0, group: 32 },
      codes: { file: 0, offset: 8, bytes: 768, rows: 24, cols: 64 },
      scales: { file: 0, offset: 800, bytes: 48, rows: 24, cols: 2 },
    },
  });
});

it('leaves alone what is no pair', () => {
  for (const list of [[blocks], [scales], [tensor('a_blocks', [4], 0, 'F32'), scales]]) {
    expect(joined(list, FILES)).toEqual(list);
  }
});

it('refuses halves that do not fit', () => {
  const wide = tensor('a_blocks', [4, 6, 2, 32], 8);
  const short = tensor('a_scales', [4, 6, 1], 800);
  for (const pair of [
    [wide, scales],
    [blocks, short],
  ]) {
    expect(() => joined(pair, FILES)).toThrow(/m\.safetensors: tensor a_blocks of shape .* of its/);
  }
});

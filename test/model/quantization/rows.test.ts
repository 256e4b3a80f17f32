import { expect, it } from 'vitest';
import { assembled as put } from '../../support/quantised.js';

const CT = (weights: object) => ({
  quant_method: 'compressed-tensors',
  config_groups: { group_0: { targets: ['Linear'], weights } },
});
const GROUP = { num_bits: 4, type: 'int', strategy: 'group', group_size: 64 };
const FLOAT = { num_bits: 4, type: 'float', strategy: 'group', group_size: 16 };

it('whole numbers in words, with and without zeros', async () => {
  const shapes = {
    'a.weight_packed': ['I32', 16, 16],
    'a.weight_scale': ['BF16', 16, 2],
    'a.weight_shape': ['I64', 2],
  } as const;
  const [matrix, ...rest] = await put(CT(GROUP), shapes);
  expect(rest).toEqual([]);
  expect(matrix).toMatchObject({ name: 'a.weight', dtype: 'INT4_G32', shape: [16, 128] });
  expect(matrix.parts).toMatchObject({ zero: 8, group: 64, codes: { bits: 4, unit: 4 } });
  const asymmetric = CT({ ...GROUP, symmetric: false });
  await expect(put(asymmetric, shapes)).rejects.toThrow(/without a\.weight_zero_point/);
  const [zeroed] = await put(asymmetric, { ...shapes, 'a.weight_zero_point': ['I32', 2, 2] });
  expect(zeroed.parts).toMatchObject({ zero: 0, zeros: { rows: 16, cols: 2, bits: 4 } });
});

it('E2M1 with the scales of NVFP4 or of MXFP4', async () => {
  const nv = {
    'a.weight_packed': ['U8', 16, 64],
    'a.weight_scale': ['F8_E4M3', 16, 8],
    'a.weight_global_scale': ['F32', 1],
    'a.input_global_scale': ['F32', 1],
  } as const;
  const [matrix] = await put(CT(FLOAT), nv);
  expect(matrix).toMatchObject({ dtype: 'NVFP4', shape: [16, 128], parts: { divides: true } });
  const mx = { 'a.weight_packed': ['U8', 16, 48], 'a.weight_scale': ['U8', 16, 3] } as const;
  const [other] = await put(CT({ ...FLOAT, group_size: 32 }), mx);
  expect(other).toMatchObject({ dtype: 'MXFP4', shape: [16, 96], bytes: 16 * 3 * 17 });
  await expect(put(CT(FLOAT), mx)).rejects.toThrow(/scales of a\.weight_packed, one for each 16/);
});

it('floats of eight bits by tensor, row or block, and of MXFP8', async () => {
  const by = async (strategy: object, ...scale: [string, ...number[]]) => {
    const [matrix] = await put(CT({ num_bits: 8, type: 'float', ...strategy }), {
      'a.weight': ['F8_E4M3', 160, 128],
      'a.weight_scale': scale,
    });
    const { rows, cols, rowSpan } = matrix.parts!.scales;
    return [matrix.dtype, rows, cols, rowSpan];
  };
  const block = { strategy: 'block', block_structure: [128, 128] };
  expect(await by({ strategy: 'tensor' }, 'F32', 1)).toEqual(['FP8_G128', 1, 1, 160]);
  expect(await by({ strategy: 'channel' }, 'BF16', 160, 1)).toEqual(['FP8_G128', 160, 1, 1]);
  expect(await by(block, 'F32', 2, 1)).toEqual(['FP8_G128', 2, 1, 128]);
  const mx = { strategy: 'group', group_size: 32 };
  expect(await by(mx, 'U8', 160, 4)).toEqual(['FP8_G32', 160, 4, 1]);
});

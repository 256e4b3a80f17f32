import { expect, it } from 'vitest';
import { assembled as put } from '../../support/quantised.js';

const GPTQ = { quant_method: 'gptq', bits: 4, group_size: 128, desc_act: false };

it.each([
  [256, 128, 'INT4_G128'],
  [256, 64, 'INT4_G32'],
  [96, -1, 'INT4_G32'],
  [40, -1, 'F32'],
])('%i columns in groups of %i become %s', async (cols, size, dtype) => {
  const groups = size === -1 ? 1 : cols / size;
  const [matrix, ...rest] = await put(
    { ...GPTQ, group_size: size },
    {
      'a.qweight': ['I32', cols / 8, 16],
      'a.qzeros': ['I32', groups, 2],
      'a.scales': ['F16', groups, 16],
      'a.g_idx': ['I32', cols],
    },
  );
  expect(matrix).toMatchObject({ name: 'a.weight', dtype, shape: [16, cols] });
  expect(matrix.parts).toMatchObject({ rows: 16, from: 0, zerosTurned: true, zero: 1 });
  expect(rest).toEqual([]);
});

it.each([
  [{ 'a.qweight': ['I32', 16, 16], 'a.scales': ['F16', 1, 16] }, /without a\.qzeros/],
  [
    { 'a.qweight': ['I32', 16, 16], 'a.qzeros': ['I32', 1, 3], 'a.scales': ['F16', 1, 16] },
    /tensor a\.qzeros has shape \[1, 3\]/,
  ],
  [
    { 'a.qweight': ['I32', 16, 16], 'a.qzeros': ['I32', 1, 2], 'a.scales': ['F16', 16, 1] },
    /tensor a\.scales has shape \[16, 1\], not \[1, 16\]/,
  ],
  [{ 'a.qweight': ['I8', 16, 16] }, /a\.qweight of I8 \(its scheme has I32\)/],
] as const)('refuses parts that do not fit: %#', async (shapes, message) => {
  await expect(put(GPTQ, shapes)).rejects.toThrow(message);
});

it('has its columns in another order only where that is said', async () => {
  const shapes = {
    'a.qweight': ['I32', 16, 16],
    'a.qzeros': ['I32', 1, 2],
    'a.scales': ['F16', 1, 16],
    'a.g_idx': ['I32', 128],
  } as const;
  const [ordered] = await put({ ...GPTQ, desc_act: true }, shapes);
  expect(ordered).toMatchObject({ dtype: 'F32', parts: { groupOf: { bytes: 512 } } });
  const [plain] = await put(GPTQ, shapes);
  expect(plain.parts?.groupOf).toBeUndefined();
});

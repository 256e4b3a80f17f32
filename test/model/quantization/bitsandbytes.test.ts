import { expect, it } from 'vitest';
import { assembled as put } from '../../support/quantised.js';

const BNB = { quant_method: 'bitsandbytes', load_in_4bit: true };
const STATE = { quant_type: 'nf4', blocksize: 64, dtype: 'bfloat16', shape: [16, 32] };
const SHAPES = {
  'a.weight': ['U8', 256, 1],
  'a.weight.absmax': ['F32', 8],
  'a.weight.quant_map': ['F32', 16],
  'a.weight.quant_state.bitsandbytes__nf4': ['U8', 80],
} as const;

it('four bits: all rows as one, their shape in a few words', async () => {
  const [matrix, ...rest] = await put(BNB, SHAPES, JSON.stringify(STATE));
  expect(rest).toEqual([]);
  expect(matrix).toMatchObject({ name: 'a.weight', dtype: 'F32', shape: [16, 32] });
  expect(matrix.parts).toMatchObject({ group: 64, scales: { flat: true, cols: 8 } });
});

it('scales that are codes themselves', async () => {
  const nested = { ...STATE, nested_blocksize: 256, nested_offset: 0.05 };
  const [matrix] = await put(
    BNB,
    {
      ...{ ...SHAPES, 'a.weight.absmax': ['U8', 8] },
      ...{ 'a.weight.nested_absmax': ['F32', 1], 'a.weight.nested_quant_map': ['F32', 256] },
    },
    JSON.stringify(nested),
  );
  expect(matrix.parts).toMatchObject({ bookOffset: 0.05, book: { bytes: 1024 } });
});

it.each([
  [{ ...STATE, shape: [16, 33] }, /shape does not fit the codes/],
  [{ ...STATE, shape: [16] }, /shape is no shape/],
  [{ ...STATE, blocksize: 32 }, /absmax has shape \[8\]/],
  ['{', /damaged/],
])('refuses %#', async (state, message) => {
  const text = typeof state === 'string' ? state : JSON.stringify(state);
  await expect(put(BNB, SHAPES, text)).rejects.toThrow(message);
});

it('eight bits: a scale for each row', async () => {
  const [matrix] = await put(
    { quant_method: 'bitsandbytes', load_in_8bit: true },
    { 'a.weight': ['I8', 16, 32], 'a.SCB': ['F32', 16], 'a.weight_format': ['U8'] },
  );
  expect(matrix).toMatchObject({ dtype: 'INT8_G32', parts: { divisor: 127, zero: 128 } });
});

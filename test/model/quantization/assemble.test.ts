import { describe, expect, it } from 'vitest';
import { assembled as put } from '../../support/quantised.js';

const FP8 = { quant_method: 'fp8', weight_block_size: [128, 128] };

describe('F8', () => {
  it('without its scale is refused by name', async () => {
    const alone = { 'a.weight': ['F8_E4M3', 128, 128] as const };
    await expect(put(FP8, alone)).rejects.toThrow(
      /m\.safetensors: tensor a\.weight is F8_E4M3 without a\.weight_scale_inv or a\.weight_scale/,
    );
  });

  it('that nothing covers is refused by name', async () => {
    const scaled = {
      'a.weight': ['F8_E4M3', 128, 128],
      'a.weight_scale_inv': ['F32', 1, 1],
    } as const;
    await expect(put(undefined, scaled)).rejects.toThrow(/a\.weight of F8_E4M3, and no quant/);
    await expect(put({ ...FP8, modules_to_not_convert: ['a'] }, scaled)).rejects.toThrow(
      /a\.weight of F8_E4M3, which the quantization \(fp8\) does not cover/,
    );
  });

  it('with scales of another grid is refused', async () => {
    const wide = {
      'a.weight': ['F8_E4M3', 129, 128],
      'a.weight_scale_inv': ['F32', 1, 1],
    } as const;
    await expect(put(FP8, wide)).rejects.toThrow(
      /weight_scale_inv has shape \[1, 1\], not \[2, 1\]/,
    );
  });
});

describe('F8 of all experts in one tensor', () => {
  const stack = (rows: number, scales: readonly number[]) => ({
    'mlp.experts.up_proj': ['F8_E4M3', 3, rows, 256] as const,
    'mlp.experts.up_proj_scale_inv': ['F32', ...scales] as const,
  });

  it('keeps its name and its shape, and has scales of each', async () => {
    const [blocks] = await put(FP8, stack(256, [3, 2, 2]));
    expect(blocks).toMatchObject({
      ...{ name: 'mlp.experts.up_proj', dtype: 'FP8_G128', shape: [3, 256, 256] },
      parts: { rows: 768, codes: { rows: 768 }, scales: { rows: 6, cols: 2, rowSpan: 128 } },
    });
    const plain = { quant_method: 'fp8' };
    const [each] = await put(plain, stack(100, [3]));
    expect(each.parts?.scales).toMatchObject({ rows: 3, cols: 1, rowSpan: 100 });
    const [row] = await put(plain, stack(100, [3, 100, 1]));
    expect(row.parts?.scales).toMatchObject({ rows: 300, cols: 1, rowSpan: 1 });
  });

  it('is refused where a block would reach into the next expert, or has too few scales', async () => {
    await expect(put(FP8, stack(200, [3, 2, 2]))).rejects.toThrow(
      /experts in one tensor, mlp\.experts\.up_proj of 200 rows in blocks of 128, is not supp/,
    );
    await expect(put(FP8, stack(256, [3, 1, 2]))).rejects.toThrow(
      /has shape \[3, 2\], not \[6, 2\]/,
    );
    const { 'mlp.experts.up_proj': alone } = stack(256, []);
    await expect(put(FP8, { 'mlp.experts.up_proj': alone })).rejects.toThrow(
      /without .*, its scales/,
    );
  });
});

it('passes plain modules by, and what nobody needs', async () => {
  const found = await put(FP8, {
    'a.weight': ['BF16', 4, 4],
    'a.bias': ['BF16', 4],
    'a.input_scale': ['F32', 1],
    'a.k_scale': ['F32', 1],
    norm: ['F32', 4],
  });
  expect(found.map(({ name }) => name).sort()).toEqual(['a.bias', 'a.weight', 'norm']);
});

it('leaves what stands beside a plain weight for the binder to refuse', async () => {
  const found = await put(FP8, {
    'a.weight': ['BF16', 4, 4],
    'a.weight_scale_inv': ['F32', 1, 1],
  });
  expect(found.map(({ name }) => name)).toEqual(['a.weight', 'a.weight_scale_inv']);
});

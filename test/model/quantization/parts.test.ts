import { expect, it } from 'vitest';
import { codesOf, inParts, scalesOf } from '../../../lib/model/quantization/parts.js';
import { storedTensors } from '../../support/quantised.js';

const FILES = ['m.safetensors'];
const [codes, scales] = storedTensors({ codes: ['I8', 6, 64], scales: ['F32', 6, 2] });

it('is of the type whose blocks share a scale, else F32', () => {
  const dtypeOf = (kind: 'INT8' | 'NVFP4', cols: number, group: number) =>
    inParts(codes, [6, cols], kind, {
      ...{ codes: codesOf(codes, 'rows', 8, [6, cols]), group },
      scales: scalesOf(scales, [6, 2], FILES),
    }).dtype;
  expect(dtypeOf('INT8', 256, 128)).toBe('INT8_G128');
  expect(dtypeOf('INT8', 256, 64)).toBe('INT8_G32');
  expect(dtypeOf('INT8', 64, 48)).toBe('F32');
  expect(dtypeOf('NVFP4', 128, 16)).toBe('NVFP4');
  expect(dtypeOf('NVFP4', 96, 16)).toBe('F32');
});

it('counts bytes in memory, of all matrices one below the other', () => {
  const matrix = inParts(codes, [2, 3, 64], 'INT8', {
    ...{ codes: codesOf(codes, 'rows', 8, [6, 64]), group: 32 },
    scales: scalesOf(scales, [6, 2], FILES),
  });
  expect(matrix).toMatchObject({ bytes: 12 * 37, parts: { rows: 6, from: 0, divisor: 1 } });
  expect(matrix.parts?.codes).toMatchObject({ order: 0, unit: 1, signed: true });
});

it('refuses scales of another type or shape by name', () => {
  expect(() => scalesOf(codes, [6, 64], FILES)).toThrow(/tensor codes is I8, which scales cannot/);
  expect(() => scalesOf(scales, [2, 6], FILES)).toThrow(/scales has shape \[6, 2\], not \[2, 6\]/);
  expect(scalesOf(scales, [2, 6], FILES, { turned: true })).toMatchObject({ rows: 2, cols: 6 });
});

import { expect, it } from 'vitest';
import { layerOf } from '../../lib/model/families/shared.js';
import { kvBytesPerToken, layerKv, ownsKv } from '../../lib/model/spec.js';
import { NORMS } from '../../lib/native.js';

const RMS = { kind: NORMS.rms, eps: 1e-6, offset: false, weight: true, bias: false };
const size = { numHeads: 4, numKvHeads: 2, headSize: 8, intermediateSize: 20 };

it('counts no layer that reads the KV of another', () => {
  const layers = [layerOf(size, RMS), layerOf(size, RMS, { kvLayer: 0 })];
  expect(kvBytesPerToken({ layers })).toBe(4 * 2 * 2 * 8);
  expect(layers.map(ownsKv)).toEqual([true, false]);
});

it('counts K and V of every layer by its own heads', () => {
  const layers = [layerOf(size, RMS), layerOf({ ...size, numKvHeads: 1, headSize: 64 }, RMS)];
  expect(kvBytesPerToken({ layers })).toBe(4 * 2 * (2 * 8 + 64));
  expect(kvBytesPerToken({ layers }, { value: 1, scale: 4 })).toBe(2 * (2 * 8 + 64) + 2 * 3 * 4);
  const latent = { rank: 40, queryRank: 0, nopeSize: 6, valueSize: 8, norm: RMS };
  const row = layerOf({ ...size, numKvHeads: 1, headSize: 56 }, RMS, { latent });
  expect(kvBytesPerToken({ layers: [...layers, row] })).toBe(4 * (2 * (2 * 8 + 64) + 56));
  const kv = layerKv(size, { value: 1, scale: 4 });
  expect(kv).toEqual({ valueBytes: 2 * 2 * 8, scaleBytes: 2 * 2 * 4 });
});

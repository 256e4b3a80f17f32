import { expect, it } from 'vitest';
import { layerOf, NO_NORM } from '../../lib/model/families/shared.js';
import { kvBytesPerToken, layerKv, tensorShapes } from '../../lib/model/spec.js';
import { NORMS, QK_NORM_SPANS } from '../../lib/native.js';
import { settings, specOf } from '../support/specs.js';

const RMS = { kind: NORMS.rms, eps: 1e-6, offset: false, weight: true, bias: false };
const LAYER = { kind: NORMS.layer, eps: 1e-6, offset: false, weight: true, bias: true };
const size = { numHeads: 4, numKvHeads: 2, headSize: 8, intermediateSize: 20 };
const spec = { ...specOf(settings('llama-gqa')), vocabSize: 7, hiddenSize: 12 };

it('counts K and V of every layer by its own heads', () => {
  const layers = [layerOf(size, RMS), layerOf({ ...size, numKvHeads: 1, headSize: 64 }, RMS)];
  expect(kvBytesPerToken({ layers })).toBe(4 * 2 * (2 * 8 + 64));
  expect(kvBytesPerToken({ layers }, { value: 1, scale: 4 })).toBe(2 * (2 * 8 + 64) + 2 * 3 * 4);
  const kv = layerKv(size, { value: 1, scale: 4 });
  expect(kv).toEqual({ valueBytes: 2 * 2 * 8, scaleBytes: 2 * 2 * 4 });
});

it('asks for the tensors that its switches name, and no others', () => {
  const layer = layerOf(size, LAYER, {
    mlpNorm: NO_NORM,
    postMlpNorm: RMS,
    qkNorm: RMS,
    qkNormSpan: QK_NORM_SPANS.projection,
    gated: false,
    attentionBiases: ['k', 'o'],
    mlpBiases: ['down'],
  });
  const shapes = tensorShapes({
    ...spec,
    embedding: { scale: 1, numPositions: 30, numTokenTypes: 2, norm: NO_NORM },
    finalNorm: RMS,
    head: { tied: false, scale: 1, softcap: 0 },
    layers: [layer],
  });
  expect(Object.fromEntries(shapes)).toEqual({
    embed: [7, 12],
    positions: [30, 12],
    token_types: [2, 12],
    final_norm: [1, 12],
    head: [7, 12],
    'layers.0.attn_norm': [1, 12],
    'layers.0.attn_norm.bias': [1, 12],
    'layers.0.post_mlp_norm': [1, 12],
    'layers.0.q_norm': [1, 32],
    'layers.0.k_norm': [1, 16],
    'layers.0.q': [32, 12],
    'layers.0.k': [16, 12],
    'layers.0.k.bias': [1, 16],
    'layers.0.v': [16, 12],
    'layers.0.o': [12, 32],
    'layers.0.o.bias': [1, 12],
    'layers.0.up': [20, 12],
    'layers.0.down': [12, 20],
    'layers.0.down.bias': [1, 12],
  });
  const plain = tensorShapes({ ...spec, layers: [layerOf(size, RMS, { qkNorm: RMS })] });
  expect(plain.get('layers.0.q_norm')).toEqual([1, 8]);
  expect(plain.get('layers.0.gate')).toEqual([20, 12]);
  expect(plain.has('head') || plain.has('positions')).toBe(false);
});

it('asks for the layers behind a pooled vector, and for no head where there is none', () => {
  const { head: _, ...headless } = spec;
  const shapes = tensorShapes({
    ...headless,
    layers: [],
    pooler: {
      layers: [
        { outSize: 5, bias: true, norm: LAYER },
        { outSize: 3, bias: false, norm: NO_NORM },
      ],
    },
  });
  expect(Object.fromEntries(shapes)).toEqual({
    embed: [7, 12],
    final_norm: [1, 12],
    'pooled.0': [5, 12],
    'pooled.0.bias': [1, 5],
    'pooled.0.norm': [1, 5],
    'pooled.0.norm.bias': [1, 5],
    'pooled.1': [3, 5],
  });
});

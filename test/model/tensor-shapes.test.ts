import { expect, it } from 'vitest';
import { layerOf, NO_NORM } from '../../lib/model/families/shared.js';
import { tensorShapes } from '../../lib/model/tensor-shapes.js';
import { NORMS, QK_NORM_SPANS } from '../../lib/native.js';
import { settings, specOf } from '../support/specs.js';

const RMS = { kind: NORMS.rms, eps: 1e-6, offset: false, weight: true, bias: false };
const LAYER = { kind: NORMS.layer, eps: 1e-6, offset: false, weight: true, bias: true };
const size = { numHeads: 4, numKvHeads: 2, headSize: 8, intermediateSize: 20 };
const spec = { ...specOf(settings('llama-gqa')), vocabSize: 7, hiddenSize: 12 };

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

it('asks for what layers share once, and for what each has of it', () => {
  const beside = { routerNorm: RMS, norm: RMS, postNorm: NO_NORM, postMlpNorm: RMS };
  const layers = [
    layerOf(size, RMS, { valueIsKey: true, vNorm: { ...RMS, weight: false }, scaled: true }),
    layerOf(size, RMS, { kvLayer: 0, qkNorm: RMS, vNorm: RMS }),
  ];
  const layerInputs = { size: 3, scale: 1, hiddenAct: 0, norm: RMS, postNorm: RMS } as const;
  const { experts } = specOf(settings('gemma4-moe')).layers[0];
  const own = { ...layers[0], experts: { ...experts!, beside } };
  const shapes = tensorShapes({ ...spec, layers: [own, layers[1]], layerInputs });
  const of = (at: string) =>
    [...shapes.keys()]
      .filter((name) => name.startsWith(at) && !name.includes('experts.'))
      .map((name) => name.slice(at.length));
  const inputs = ['input_gate', 'input_out', 'input_proj', 'post_input_norm'];
  const feed = ['attn_norm', 'down', 'gate', 'mlp_norm', 'o', 'q', 'up', ...inputs];
  const routed = ['router', 'router.expert_scale', 'router_norm', 'experts_norm'];
  expect(of('layers.0.').sort()).toEqual(
    [...feed, ...routed, 'k', 'post_dense_norm', 'scale'].sort(),
  );
  expect(of('layers.1.').sort()).toEqual([...feed, 'q_norm'].sort());
  expect(shapes.get('layer_inputs')).toEqual([2 * 7, 3]);
  expect(shapes.get('layer_inputs_norm')).toEqual([1, 3]);
  expect(shapes.get('layers.1.input_out')).toEqual([12, 3]);
});

import { expect, it } from 'vitest';
import { placeOf } from '../../../lib/model/names.js';
import { hfSpec } from '../../../lib/model/read-spec.js';
import { HIDDEN_ACTS, NORMS, ROUTER_SCORES } from '../../../lib/native.js';
import { byLayer, ggufSpecOf, settings, specOf } from '../../support/specs.js';

const of = (change: Record<string, unknown> = {}) => specOf(settings('nemotron-h', change));
const kindsOf = (spec: ReturnType<typeof of>) =>
  byLayer(spec, ({ attention, recurrent, mlp, experts }) =>
    [attention && '*', recurrent && 'M', experts ? 'E' : mlp.intermediateSize > 0 && '-']
      .filter(Boolean)
      .join(''),
  ).join('');

it('is one thing in each layer, as a list of words or a pattern says', () => {
  expect(kindsOf(of())).toBe('M-M*ME');
  const pattern = { layers_block_type: undefined, hybrid_override_pattern: 'ME*-' };
  expect(kindsOf(of(pattern))).toBe('ME*-');
  expect(kindsOf(of({ ...pattern, num_hidden_layers: 4 }))).toBe('ME*-');
  expect(() => of({ ...pattern, num_hidden_layers: 5 })).toThrow(/is not the 4 layers/);
  const words = { layers_block_type: ['mamba', 'attention', 'mlp'] };
  expect(kindsOf(of(words))).toBe('M*-');
  expect(() => of({ layers_block_type: ['conv'] })).toThrow(/layer type "conv"/);
  expect(() => of({ layers_block_type: undefined, num_hidden_layers: 2 })).toThrow(
    /layers_block_type and hybrid_override_pattern are both missing/,
  );
});

it('norms what the layer is, and has neither a gate nor positions', () => {
  const { layers } = of();
  const norms = layers.map(({ attnNorm, mlpNorm }) => [attnNorm.kind, mlpNorm.kind]);
  const [mixes, feeds] = [
    [NORMS.rms, NORMS.none],
    [NORMS.none, NORMS.rms],
  ];
  expect(norms).toEqual([mixes, feeds, mixes, mixes, mixes, feeds]);
  const relu2 = HIDDEN_ACTS.relu2;
  expect(layers[1].mlp).toMatchObject({ gated: false, hiddenAct: relu2, intermediateSize: 136 });
  expect(layers[3].attention).toMatchObject({ rope: -1, headSize: 64, scale: 1 / 8 });
  expect(layers[5]).toMatchObject({
    mlp: { gated: false, intermediateSize: 56 },
    experts: {
      ...{ numExperts: 8, topK: 3, gated: false, hiddenAct: relu2, intermediateSize: 40 },
      router: { score: ROUTER_SCORES.sigmoid, choiceBias: true, normalize: true, scale: 2.5 },
    },
  });
  expect(layers[5].experts).not.toHaveProperty('latentSize');
});

it('finds norms, experts and what is latent by the names of its layers', () => {
  const read = hfSpec(settings('nemotron-h', { moe_latent_size: 24 }), 'c');
  expect(read.spec.layers[5].experts).toMatchObject({ latentSize: 24 });
  const place = (name: string) => placeOf(name, read.names)?.names;
  expect(place('backbone.layers.0.norm.weight')).toEqual(['layers.0.attn_norm']);
  expect(place('model.layers.1.norm.weight')).toEqual(['layers.1.mlp_norm']);
  expect(place('backbone.layers.5.mixer.fc1_latent_proj.weight')).toEqual(['layers.5.latent_in']);
  const stacked = place('backbone.layers.5.mixer.experts.up_proj');
  expect(stacked?.[7]).toBe('layers.5.experts.7.up');
  expect(place('backbone.embeddings.weight')).toEqual(['embed']);
});

it('of a GGUF file is told by heads of keys, by the size of its FFN and by a router', async () => {
  expect(kindsOf(await ggufSpecOf('nemotron-h'))).toBe('M-M*-');
  const moe = await ggufSpecOf('nemotron-h-moe');
  expect(kindsOf(moe)).toBe('ME*E');
  expect(moe.layers[1].mlp.intermediateSize).toBe(48);
  expect(moe.layers[1].experts).toMatchObject({
    ...{ numExperts: 6, topK: 3, intermediateSize: 24, gated: false },
    router: { score: ROUTER_SCORES.sigmoid, choiceBias: true, normalize: true, scale: 2.5 },
  });
});

it('takes what a file leaves out as transformers does', () => {
  const { layers, head, finalNorm, maxPositionEmbeddings } = specOf({
    ...{ model_type: 'nemotron_h', vocab_size: 9, hidden_size: 64 },
    layers_block_type: ['linear_attention', 'moe', 'full_attention', 'mlp'],
  });
  expect([head?.tied, finalNorm.eps, maxPositionEmbeddings]).toEqual([false, 1e-5, 4096]);
  expect(layers[0].recurrent).toMatchObject({
    ...{ numKeyHeads: 8, numValueHeads: 128, keySize: 128, valueSize: 64, convWidth: 4 },
    ...{ convBias: true, inBias: false, outBias: false },
  });
  expect(layers[1]).toMatchObject({
    experts: { numExperts: 8, topK: 2, intermediateSize: 7688, router: { scale: 1 } },
    mlp: { intermediateSize: 7688 },
  });
  expect(layers[2].attention).toMatchObject({ numHeads: 32, numKvHeads: 8, headSize: 128 });
  expect(layers[3].mlp.intermediateSize).toBe(21_504);
  const early = of({ head_dim: undefined, attention_head_dim: 32 });
  expect(early.layers[3].attention?.headSize).toBe(32);
});

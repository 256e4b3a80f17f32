import { describe, expect, it } from 'vitest';
import { Config } from '../../../lib/model/config.js';
import { gemmaLayer } from '../../../lib/model/families/gemma.js';
import { Fields } from '../../../lib/model/fields.js';
import { HIDDEN_ACTS, NORMS } from '../../../lib/native.js';
import { ggufSpecOf, settings, specOf } from '../../support/specs.js';

describe.each(['gemma2', 'gemma3'])('%s', (name) => {
  it('has four norms of 1 + w, which GGUF files hold as a sum', async () => {
    for (const [spec, offset] of [
      [specOf(settings(name)), true],
      [await ggufSpecOf(name), false],
    ] as const) {
      for (const layer of spec.layers) {
        const { attnNorm, postAttnNorm, mlpNorm, postMlpNorm } = layer;
        for (const norm of [attnNorm, postAttnNorm, mlpNorm, postMlpNorm, spec.finalNorm]) {
          expect(norm).toMatchObject({ kind: NORMS.rms, offset });
        }
        expect(layer.mlp).toMatchObject({ gated: true, hiddenAct: HIDDEN_ACTS.geluTanh });
      }
    }
  });

  it('scales its embedding by √hidden in the type of its weights', async () => {
    const scale = (dtype: string | undefined, hidden_size = 96) =>
      specOf(settings(name, { dtype, torch_dtype: undefined, hidden_size })).embedding.scale;
    expect(scale('float32')).toBeCloseTo(Math.sqrt(96), 6);
    expect(scale('bfloat16')).toBe(9.8125);
    expect(scale('bfloat16', 2560)).toBe(50.5);
    expect(scale('float16')).toBe(9.796875);
    expect(scale('bfloat16', 2304)).toBe(48);
    expect((await ggufSpecOf(name)).embedding.scale).toBe(8);
  });

  it('scales scores by query_pre_attn_scalar, GGUF files by the size of heads', async () => {
    const [{ attention }] = specOf(settings(name, { query_pre_attn_scalar: 100 })).layers;
    expect(attention!.scale).toBeCloseTo(0.1, 12);
    expect((await ggufSpecOf(name)).layers[0].attention!.scale).toBeCloseTo(32 ** -0.5, 12);
  });

  it('of 27B, in GGUF files, scales scores by hidden / heads', () => {
    const keys = new Fields('m', {});
    const gguf = {
      names: new Set<string>(),
      vocabSize: 1,
      biases: new Set<string>(),
      shapes: new Map(),
      factors: new Map(),
    };
    const scale = (count: number) => {
      const size = { numHeads: 32, numKvHeads: 16, headSize: 128, intermediateSize: 1 };
      const layers = Array(count).fill(size);
      const sizes = { vocabSize: 1, hiddenSize: 5376, maxPositionEmbeddings: 1, layers };
      keys.defaults({ 'attention.layer_norm_rms_epsilon': 1e-6 });
      return gemmaLayer(new Config(keys, keys, gguf), sizes, 62).scale;
    };
    expect(scale(62)).toBeCloseTo(168 ** -0.5, 12);
    expect(scale(48)).toBeCloseTo(128 ** -0.5, 12);
  });

  it('is tied unless it says otherwise', () => {
    expect(specOf(settings(name, { tie_word_embeddings: undefined })).head?.tied).toBe(true);
  });

  it('that looks both ways is refused, but for Gemma 3', () => {
    const both = () => specOf(settings(name, { use_bidirectional_attention: true }));
    if (name === 'gemma2') expect(both).toThrow(/use_bidirectional_attention/);
    else expect(both().head).toBeUndefined();
  });
});

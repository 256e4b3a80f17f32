import { expect, it } from 'vitest';
import { BRANCHES, NORMS, QK_NORM_SPANS } from '../../../lib/native.js';
import {
  ggufSpecOf,
  ggufSpecWith,
  ropesOf,
  settings,
  specOf,
  windowsOf,
} from '../../support/specs.js';

it('has one LayerNorm without bias for both branches', async () => {
  for (const spec of [specOf(settings('cohere2')), await ggufSpecOf('cohere2')]) {
    const [{ branches, attnNorm, mlpNorm }] = spec.layers;
    expect(branches).toBe(BRANCHES.shared);
    expect(attnNorm).toMatchObject({ kind: NORMS.layer, bias: false });
    expect(mlpNorm.kind).toBe(NORMS.none);
    expect(spec.head).toMatchObject({ tied: true, scale: 0.5 });
    expect(spec.ropes[0].interleaved).toBe(true);
    expect(windowsOf(spec)).toEqual([20, 20, 20, 0]);
    expect(ropesOf(spec)).toEqual([0, 0, 0, -1]);
  }
});

// As the first checkpoints have it.
it('knows the settings of the code before the class', () => {
  const old = settings('cohere2', {
    ...{ layer_types: undefined, sliding_window_pattern: 2, layer_switch: 2, rotary_pct: 1 },
    ...{ cache_implementation: 'hybrid', position_embedding_type: 'rope_gptj' },
    ...{ order_of_interleaved_layers: 'local_attn_first', use_parallel_block: true },
    ...{ use_embedding_sharing: true, use_gated_activation: true, use_parallel_embedding: false },
  });
  expect(windowsOf(specOf(old))).toEqual([20, 0, 20, 0]);
  const { sliding_window_pattern: step, ...since453 } = old;
  const renamed = { ...since453, _sliding_window_pattern: step };
  expect(windowsOf(specOf(renamed))).toEqual([20, 0, 20, 0]);
  expect(() => specOf({ ...old, use_parallel_block: false })).toThrow(/"use_parallel_block"/);
});

it('of the first kind, in a GGUF file: norms of heads where it has their tensors', () => {
  const keys = {
    'attention.layer_norm_epsilon': 1e-5,
    logit_scale: 0.25,
    'rope.scaling.type': 'none',
  };
  const spec = ggufSpecWith('command-r', keys);
  expect(spec.head).toMatchObject({ tied: true, scale: 0.25 });
  expect(ropesOf(spec)).toEqual([0, 0, 0, 0]);
  expect(spec.layers[0].attention!.qkNorm.kind).toBe(NORMS.none);
  const plus = ggufSpecWith('command-r', keys, ['blk.0.attn_q_norm.weight']);
  expect(plus.layers[0].attention!.qkNormSpan).toBe(QK_NORM_SPANS.ownHead);
});

it('of the first kind turns everywhere, and may norm each head by its own weight', () => {
  const spec = specOf(settings('cohere', { logit_scale: undefined }));
  expect(ropesOf(spec)).toEqual([0, 0]);
  expect(spec.head?.scale).toBe(0.0625);
  const [{ attention }] = spec.layers;
  expect(attention!.qkNorm).toMatchObject({ kind: NORMS.layer, bias: false });
  expect(attention!.qkNormSpan).toBe(QK_NORM_SPANS.ownHead);
  const [plain] = specOf(settings('cohere', { use_qk_norm: false })).layers;
  expect(plain.attention!.qkNorm.kind).toBe(NORMS.none);
});

import { expect, it } from 'vitest';
import { HIDDEN_ACTS } from '../../../lib/native.js';
import { ggufSpecWith, settings, specOf } from '../../support/specs.js';

it('has a squared ReLU without a gate', () => {
  const [{ mlp }] = specOf(settings('arcee', { mlp_bias: true })).layers;
  expect(mlp).toMatchObject({ gated: false, hiddenAct: HIDDEN_ACTS.relu2, biases: ['up', 'down'] });
  const gguf = ggufSpecWith('arcee', { 'attention.layer_norm_rms_epsilon': 1e-5, vocab_size: 320 });
  expect(gguf.ropes[0].interleaved).toBe(true);
  expect(gguf.layers[0].mlp).toMatchObject({ gated: false, hiddenAct: HIDDEN_ACTS.relu2 });
});

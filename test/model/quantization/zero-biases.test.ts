import { expect, it } from 'vitest';
import { withoutZeroBiases } from '../../../lib/model/quantization/zero-biases.js';
import { hfSpec } from '../../../lib/model/read-spec.js';
import { storedTensors } from '../../support/quantised.js';
import { settings } from '../../support/specs.js';

it('drops a bias that the model has not, if it is zero', async () => {
  const found = storedTensors({
    'model.layers.0.mlp.up_proj.bias': ['F16', 4],
    'model.layers.0.mlp.gate_proj.bias': ['F16', 4],
    'model.layers.0.mlp.up_proj.weight': ['F16', 4, 4],
    'other.bias': ['F16', 4],
  });
  const model = hfSpec(settings('llama-gqa'), 'config.json');
  const kept = await withoutZeroBiases(found, model, async ({ name }) =>
    Buffer.alloc(8, name.includes('gate') ? 1 : 0),
  );
  expect(kept).toEqual(found.slice(1));
});

it('keeps those that the model has', async () => {
  const found = storedTensors({ 'model.layers.0.self_attn.q_proj.bias': ['F16', 4] });
  const model = hfSpec(settings('qwen2'), 'config.json');
  expect(await withoutZeroBiases(found, model, async () => Buffer.alloc(8))).toEqual(found);
});

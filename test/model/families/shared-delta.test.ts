import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openCheckpoint } from '../../../lib/model/checkpoint.js';
import { ROOT } from '../../support/addon.js';
import { ggufSpecWith, settings, specOf } from '../../support/specs.js';

const text = settings('qwen3_5');

it('takes heads apart that the file keeps together', async () => {
  const { tensors } = await openCheckpoint(join(ROOT, 'test/fixtures/models/qwen3-next'));
  const of = (name: string) => tensors.find((tensor) => tensor.name === `layers.0.${name}`);
  // q, k of 32, then v and z of two heads of 32.
  for (const name of ['mix_q', 'mix_k']) expect(of(name)).toMatchObject({ step: 192, run: 32 });
  for (const name of ['mix_v', 'mix_gate']) expect(of(name)).toMatchObject({ step: 192, run: 64 });
  for (const name of ['mix_beta', 'mix_decay']) expect(of(name)).toMatchObject({ step: 4, run: 2 });
  expect(of('mix_gate')!.offset - of('mix_q')!.offset).toBe(128 * 96 * 2);
  expect(of('decay')).toMatchObject({ negExp: true });
  const q = tensors.find(({ name }) => name === 'layers.3.q');
  expect(q).toMatchObject({ rows: 128, step: 128, run: 64 });
});

it('refuses heads that cannot be shared out', () => {
  const of = (change: object) => () => specOf({ ...text, ...change });
  expect(of({ linear_num_value_heads: 3 })).toThrow(/linear_num_value_heads \(3\) is no multiple/);
  expect(of({ layer_types: Array(4).fill('mamba') })).toThrow(/layer type "mamba"/);
  expect(of({ attn_output_gate: false })).toThrow(/attn_output_gate/);
  const keys = {
    ...{ 'attention.layer_norm_rms_epsilon': 1e-6, 'ssm.conv_kernel': 4, 'ssm.state_size': 16 },
    ...{ 'ssm.group_count': 2, 'ssm.time_step_rank': 4, 'rope.dimension_count': 8 },
  };
  const gguf = (inner: number) => () =>
    ggufSpecWith('qwen35', { ...keys, 'ssm.inner_size': inner });
  expect(gguf(64)).not.toThrow();
  expect(gguf(66)).toThrow(/ssm\.inner_size \(66\) is not shared out by 4 heads/);
});

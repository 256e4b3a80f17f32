import { expect, it } from 'vitest';
import { settings, specOf, windowsOf } from '../../support/specs.js';

it('has biases of q, k and v', () => {
  const [{ attention, mlp }] = specOf(settings('qwen2')).layers;
  expect(attention!.biases).toEqual(['q', 'k', 'v']);
  expect(mlp.biases).toEqual([]);
});

it('slides from max_window_layers on, where it is told to', () => {
  const windows = (use_sliding_window: boolean) =>
    windowsOf(
      specOf(settings('qwen2', { sliding_window: 32, max_window_layers: 1, use_sliding_window })),
    );
  expect([windows(false), windows(true)]).toEqual([
    [0, 0],
    [0, 32],
  ]);
});

it('slides in 4,096 tokens where no window is named, and contradicts no list', () => {
  const told = { use_sliding_window: true, max_window_layers: 0, sliding_window: undefined };
  expect(windowsOf(specOf(settings('qwen2', told)))).toEqual([4096, 4096]);
  const listed = { layer_types: ['sliding_attention', 'full_attention'], sliding_window: 32 };
  expect(() => specOf(settings('qwen2', listed))).toThrow(
    'layer_types has sliding_attention, but no sliding_window is in force',
  );
});

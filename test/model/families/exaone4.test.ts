import { expect, it } from 'vitest';
import { NORMS, QK_NORM_SPANS } from '../../../lib/native.js';
import {
  ggufSpecOf,
  ggufSpecWith,
  ropesOf,
  settings,
  specOf,
  windowsOf,
} from '../../support/specs.js';

it('slides with positions, sees all without', () => {
  const spec = specOf(settings('exaone4'));
  expect(windowsOf(spec)).toEqual([20, 20, 20, 0]);
  expect(ropesOf(spec)).toEqual([0, 0, 0, -1]);
  const [{ attnNorm, postAttnNorm, mlpNorm, attention }] = spec.layers;
  expect([attnNorm.kind, mlpNorm.kind, postAttnNorm.kind]).toEqual([0, 0, NORMS.rms]);
  expect(attention!.qkNormSpan).toBe(QK_NORM_SPANS.head);
});

it('turns everywhere where it has no window', async () => {
  const none = { sliding_window: null, layer_types: undefined };
  const spec = specOf(settings('exaone4', none));
  expect([windowsOf(spec), ropesOf(spec)]).toEqual([Array(4).fill(0), Array(4).fill(0)]);
  // Which model has one, GGUF files tell by their layers.
  const gguf = await ggufSpecOf('exaone4-nowindow');
  expect([windowsOf(gguf), ropesOf(gguf)]).toEqual([
    [0, 0],
    [0, 0],
  ]);
});

it('reads the pattern as a number or as letters, after which the last layer sees all', () => {
  const windows = (sliding_window_pattern: unknown) => {
    const change = { layer_types: undefined, sliding_window_pattern, num_hidden_layers: 6 };
    return windowsOf(specOf(settings('exaone4', change))).map((window) => window > 0);
  };
  expect(windows(2)).toEqual([true, false, true, false, true, false]);
  expect(windows('LLG')).toEqual([true, true, false, true, true, false]);
  expect(windows('LL')).toEqual([true, true, true, true, true, false]);
  expect(() => windows('LLX')).toThrow(/sliding_window_pattern is not of letters/);
});

it('of a GGUF file with 64 layers slides as the model of 32B does', () => {
  const keys = { block_count: 64, 'attention.layer_norm_rms_epsilon': 1e-5 };
  const spec = ggufSpecWith('exaone4', { ...keys, 'attention.sliding_window': 4096 });
  expect(windowsOf(spec).slice(0, 5)).toEqual([4096, 4096, 4096, 0, 4096]);
  expect(ropesOf(spec).slice(0, 5)).toEqual([0, 0, 0, -1, 0]);
});

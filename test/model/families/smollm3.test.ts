import { expect, it } from 'vitest';
import { ggufSpecOf, ropesOf, settings, specOf, windowsOf } from '../../support/specs.js';

it('has no positions on some layers: by list, by interval, of a GGUF file each fourth', async () => {
  expect(ropesOf(specOf(settings('smollm3')))).toEqual([0, 0, -1, 0]);
  const every = (no_rope_layer_interval: unknown) =>
    ropesOf(specOf(settings('smollm3', { no_rope_layers: undefined, no_rope_layer_interval })));
  expect(every(2)).toEqual([0, -1, 0, -1]);
  expect(every(undefined)).toEqual([0, 0, 0, -1]);
  const gguf = await ggufSpecOf('smollm3');
  expect(ropesOf(gguf)).toEqual([0, 0, 0, -1]);
  expect(gguf.ropes[0].interleaved).toBe(true);
});

it('slides where it has no positions, if it is told to', () => {
  const change = { use_sliding_window: true, sliding_window: 9, layer_types: undefined };
  expect(windowsOf(specOf(settings('smollm3', change)))).toEqual([0, 0, 9, 0]);
});

it('names the list that does not fit', () => {
  expect(() => specOf(settings('smollm3', { no_rope_layers: [1, 0] }))).toThrow(/no_rope_layers/);
  expect(() => specOf(settings('smollm3', { no_rope_layers: 1 }))).toThrow(/must be a list/);
});

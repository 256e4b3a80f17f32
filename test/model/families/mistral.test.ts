import { expect, it } from 'vitest';
import { settings, specOf, windowsOf } from '../../support/specs.js';

it('has one window for all layers, its own where none is named, none at null', () => {
  const windows = (sliding_window: unknown) =>
    windowsOf(specOf(settings('mistral-window', { sliding_window })));
  expect(windows(24)).toEqual([24, 24]);
  expect(windows(undefined)).toEqual([4096, 4096]);
  expect(windows(null)).toEqual([0, 0]);
});

it('may stand inside a model that sees', () => {
  const text_config = settings('mistral-window');
  const outer = { model_type: 'mistral3', text_config, vision_config: { model_type: 'pixtral' } };
  const inner = specOf(text_config);
  expect(specOf(outer)).toEqual(inner);
  expect(specOf({ ...outer, tie_word_embeddings: true }).head?.tied).toBe(true);
  const ends = specOf({ ...outer, eos_token_id: [7, 1] });
  expect(ends.eosTokenIds).toEqual([7, 1]);
});

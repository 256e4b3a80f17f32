import type { Config, Family, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';

/** The text model of Qwen 2 VL and 2.5 VL is a Qwen 2. */
export function qwen2vl(c: Config): FamilySpec {
  const usual = { num_key_value_heads: 8, rms_norm_eps: 1e-5, rope_theta: 1_000_000 };
  return textOf(c, qwen2, { ...usual, max_window_layers: 80 });
}

/** That of Qwen 3 VL is a Qwen 3: its vision tower adds to layers at images only. */
export function qwen3vl(c: Config): FamilySpec {
  return textOf(c, qwen3, { rope_theta: 500_000 });
}

/** Tokens of text stand at one position where those of images have three: plain ropes. */
function textOf(c: Config, family: Family, usual: Record<string, unknown>): FamilySpec {
  if (!c.gguf) c.f.defaults(usual);
  return { ...family(c), harmless: HARMLESS };
}

const HARMLESS = new Harmless([['any', 'n_deepstack_layers rope.dimension_sections']]);

import type { NativeTemperature } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { type Rope, yarnMscale } from '../rope.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerOf,
  MLP,
  modelOf,
  NO_TEMPERATURE,
  rmsNorm,
  ropeOf,
  sizesOf,
  windowsOf,
} from './shared.js';

/** Ministral 3: Llama whose queries grow with each original context that lies behind them. */
export function ministral3(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(c.f.has('rope_scaling') ? HF_DEFAULTS : { ...HF_DEFAULTS, ...ROPE });
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const windows = windowsOf(c, sizes.layers.length, () => true);
  const rope = divided(c, ropeOf(c, sizes, { beside: [BETA, 'max_position_embeddings'] }));
  const choices = {
    temperature: temperatureOf(c, rope),
    attentionBiases: biases(c, ATTENTION, false),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope, interleaved: c.gguf !== undefined }),
    layers: sizes.layers.map((size, i) => layerOf(size, norm, { ...choices, window: windows[i] })),
  };
}

const BETA = 'llama_4_scaling_beta';

function temperatureOf(c: Config, { scaling }: Rope): NativeTemperature {
  const settings = c.gguf ? c.f : (c.f.within('rope_parameters') ?? c.f.within('rope_scaling'));
  const beta = settings?.number(c.name(BETA, 'attention.temperature_scale'), 0, 1e6, 0) ?? 0;
  if (beta === 0) return NO_TEMPERATURE;
  if (scaling.type !== 'yarn') c.f.fail('rope', `is ${scaling.type}: no step for a temperature`);
  const name = 'attention.temperature_length';
  const length = c.gguf ? c.f.integer(name, 1, 2 ** 30, scaling.originalMaxLen) : undefined;
  return { beta, length: length ?? scaling.originalMaxLen, offset: 0 };
}

/** GGUF files say by a logarithm's factor what config.json says by mscale_all_dim. */
function divided(c: Config, rope: Rope): Rope {
  const { scaling } = rope;
  if (!c.gguf || scaling.type !== 'yarn') return rope;
  const factor = c.f.number('rope.scaling.yarn_log_multiplier', 0, 1e3, 0);
  const attentionFactor = scaling.attentionFactor / yarnMscale(scaling.factor, factor);
  return { ...rope, scaling: { ...scaling, attentionFactor } };
}

/** Of files that leave them out. */
const HF_DEFAULTS = {
  ...{ num_key_value_heads: 8, head_dim: 128, rms_norm_eps: 1e-5 },
};
const ROPE = {
  rope_parameters: {
    ...{ rope_type: 'yarn', rope_theta: 1_000_000, factor: 16, beta_fast: 32, beta_slow: 1 },
    ...{ original_max_position_embeddings: 16_384, mscale: 1, mscale_all_dim: 1 },
    [BETA]: 0.1,
  },
};

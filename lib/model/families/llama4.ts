import { type NativeTemperature, ROUTER_SCORES } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { GGUF_NAMES, HF_NAMES, type TensorNames, withLayer } from '../names.js';
import { expertSize, expertsOf, ggufExperts, ofAll } from './experts.js';
import { TRAINING } from './mixtral.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerOf,
  layerTypes,
  MLP,
  modelOf,
  rmsNorm,
  ropeOf,
  sizesOf,
} from './shared.js';
import { turningLayers } from './smollm3.js';

/**
 * Llama 4: three of four layers turn and see their own chunk only; the others see all, without
 * positions, and sharpen with them. In some layers one expert beside a shared one.
 */
export function llama4(c: Config): FamilySpec {
  const { f } = c;
  if (!c.gguf) f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c, { intermediateSize: 'intermediate_size_mlp' });
  const count = sizes.layers.length;
  const norm = rmsNorm(c);
  const act = hiddenAct(c, 'silu');
  const intermediateSize = expertSize(c, undefined, 'intermediate_size');
  const router = { score: ROUTER_SCORES.sigmoid };
  const experts = expertsOf(c, { intermediateSize, hiddenAct: act, scalesInput: true, router });
  const choices = {
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: act,
  };
  const normed = c.gguf ? experts.numExperts < 128 : f.boolean('use_qk_norm', true);
  const turning = normed ? { qkNorm: { ...norm, weight: false }, qkNormAfterRope: true } : {};
  const still = { rope: -1, temperature: temperatureOf(c) };
  const turns = turnsOf(c, count);
  const windows = chunksOf(c, count, turns);
  const sparse = sparseOf(c, count);
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes), interleaved: true }),
    layers: sizes.layers.map((size, i) => {
      const chunk = { window: windows[i], chunked: windows[i] > 0 };
      const own = { ...choices, ...chunk, ...(turns[i] ? turning : still) };
      return sparse[i]
        ? layerOf({ ...size, intermediateSize }, norm, { ...own, experts })
        : layerOf(size, norm, own);
    }),
    names: c.gguf ? ggufExperts(GGUF_NAMES, experts.numExperts) : hfNames(experts.numExperts),
    harmless: TRAINING,
  };
}

/** GGUF files say by a window of 0 that all layers turn and see all. */
function turnsOf(c: Config, count: number): boolean[] {
  const name = 'attention.sliding_window';
  const all = c.gguf && c.f.has(name) && c.f.integer(name, 0, 2 ** 30) === 0;
  return all ? Array(count).fill(true) : turningLayers(c, count);
}

/** Layers that turn see chunks, if no list says otherwise. Of GGUF files they are always 8,192. */
function chunksOf({ f, gguf }: Config, count: number, turns: readonly boolean[]): number[] {
  if (gguf) return turns.map((turn) => (turn && turns.includes(false) ? 8192 : 0));
  const named =
    f.raw('attention_chunk_size') === null ? 0 : f.integer('attention_chunk_size', 1, 2 ** 30);
  const types = layerTypes(f, count, ['chunked_attention', 'full_attention']);
  return turns.map((turn, i) => ((types ? types[i] === 'chunked_attention' : turn) ? named : 0));
}

function temperatureOf({ f, gguf }: Config): NativeTemperature {
  if (gguf) return { beta: 0.1, length: 8192, offset: 1 };
  const on = f.raw('attn_temperature_tuning') ?? true;
  const beta = f.number('attn_scale', 0, 1e6, 0.1);
  return { beta: on ? beta : 0, length: f.integer('floor_scale', 1, 2 ** 30, 8192), offset: 1 };
}

function sparseOf({ f }: Config, count: number): boolean[] {
  const step = f.integer('interleave_moe_layer_step', 1, 4096, 1);
  const listed = f.has('moe_layers') ? f.layers('moe_layers', count) : undefined;
  return Array.from({ length: count }, (_, i) => listed?.includes(i) ?? (i + 1) % step === 0);
}

/** Matrices of experts lie turned around, gate before up. */
function hfNames(slices: number): TensorNames {
  const turned = { slices, transposed: true } as const;
  const mlp = Object.fromEntries(
    ['gate', 'up', 'down'].flatMap((part) => [
      [`feed_forward.${part}_proj`, part],
      [`feed_forward.shared_expert.${part}_proj`, part],
    ]),
  );
  return withLayer(
    HF_NAMES,
    { ...mlp, 'feed_forward.router': 'router' },
    {
      'feed_forward.experts.gate_up_proj': { ...turned, of: ofAll(slices, 'gate', 'up') },
      'feed_forward.experts.down_proj': { ...turned, of: ofAll(slices, 'down') },
    },
  );
}

/** Of files that leave them out. */
const HF_DEFAULTS = {
  ...{ num_key_value_heads: 8, head_dim: 128, num_local_experts: 16, num_experts_per_tok: 1 },
  ...{ intermediate_size: 8192, intermediate_size_mlp: 16_384, attention_chunk_size: 8192 },
  ...{ rms_norm_eps: 1e-5, rope_theta: 500_000 },
};

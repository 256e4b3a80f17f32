import { type NativeRouter, ROUTER_SCORES } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { unsupported } from '../files.js';
import { latentMoe, USUAL } from './shared-latent.js';

const SIZES = { kv_lora_rank: 512, qk_rope_head_dim: 64 };

/** DeepSeek V2: experts by softmax; of groups those with the best expert may be chosen from. */
export function deepseekV2(c: Config): FamilySpec {
  const defaults = {
    ...{ ...SIZES, q_lora_rank: 1536, qk_nope_head_dim: 128, v_head_dim: 128 },
    ...{ n_routed_experts: 64, n_shared_experts: 2, moe_intermediate_size: 1407 },
  };
  return latentMoe(c, { ...USUAL, router: routerOfV2, defaults });
}

/** DeepSeek V3 and R1: by sigmoids and a bias; groups rank by their best two. */
export function deepseekV3(c: Config): FamilySpec {
  const interleaved = c.f.boolean('rope_interleave', true);
  const defaults = {
    ...{ ...SIZES, q_lora_rank: 1536, qk_nope_head_dim: 128, v_head_dim: 128 },
    ...{ n_routed_experts: 256, n_shared_experts: 1, moe_intermediate_size: 2048 },
    ...{ num_experts_per_tok: 8, n_group: 8, topk_group: 4, routed_scaling_factor: 2.5 },
  };
  return latentMoe(c, { ...USUAL, router: routerOfV3, firstDense: 3, interleaved, defaults });
}

/** GLM 4.7 Flash: chosen as in V3. */
export function glm4moeLite(c: Config): FamilySpec {
  const interleaved = c.f.boolean('rope_interleave', true);
  const defaults = {
    ...{ ...SIZES, q_lora_rank: 768, qk_nope_head_dim: 192, v_head_dim: 256 },
    ...{ n_routed_experts: 64, n_shared_experts: 1, moe_intermediate_size: 1536 },
    ...{ num_experts_per_tok: 4, routed_scaling_factor: 1.8, rms_norm_eps: 1e-5 },
  };
  return latentMoe(c, { ...USUAL, router: routerOfV3, firstDense: 1, interleaved, defaults });
}

/** Mistral Small 4: chosen by softmax; queries grow with what lies behind them, as Ministral's. */
export function mistral4(c: Config): FamilySpec {
  const interleaved = c.gguf !== undefined || c.f.boolean('rope_interleave', true);
  const defaults = {
    ...{ kv_lora_rank: 256, qk_rope_head_dim: 64, q_lora_rank: 1024, qk_nope_head_dim: 64 },
    ...{ v_head_dim: 128, n_routed_experts: 128, n_shared_experts: 1, num_experts_per_tok: 4 },
    ...{ moe_intermediate_size: 2048, rope_parameters: MISTRAL_ROPE },
  };
  const own = { interleaved, defaults, ggufGroupBest: 2 };
  return latentMoe(c, { ...USUAL, ...own, router: routerOfMistral });
}

/** GGUF files call all of them but Mistral 4 so, and say by keys and tensors which they are. */
export function deepseek2(c: Config): FamilySpec {
  return latentMoe(c, { ...USUAL, router: ggufRouter, defaults: {} });
}

const MISTRAL_ROPE = {
  ...{ rope_type: 'yarn', rope_theta: 10_000, factor: 128, beta_fast: 32, beta_slow: 1 },
  ...{ original_max_position_embeddings: 8192, mscale: 1, mscale_all_dim: 1 },
  llama_4_scaling_beta: 0.1,
};

/** A setting that may stand beside others which say the same must not say another thing. */
function checkWord({ f }: Config, name: string, words: readonly string[]): string | undefined {
  if (!f.has(name)) return undefined;
  const word = f.string(name);
  if (!words.includes(word)) throw unsupported(f.file, `${name} ${JSON.stringify(word)}`);
  return word;
}

function routerOfV2(c: Config): Partial<NativeRouter> {
  const { f } = c;
  checkWord(c, 'scoring_func', ['softmax']);
  const method = checkWord(c, 'topk_method', ['greedy', 'group_limited_greedy']);
  // Two programs of the same authors part on what it does to the scale.
  if (f.boolean('norm_topk_prob', false))
    throw unsupported(f.file, 'norm_topk_prob of deepseek_v2');
  const inGroups = method === 'group_limited_greedy';
  const groups = groupsOf(c);
  return {
    score: ROUTER_SCORES.softmax,
    scale: scaleOf(c, 1),
    ...(inGroups ? { ...groups, groupBest: 1 } : {}),
  };
}

function routerOfV3(c: Config): Partial<NativeRouter> {
  checkWord(c, 'scoring_func', ['sigmoid']);
  checkWord(c, 'topk_method', ['noaux_tc']);
  return {
    ...{ score: ROUTER_SCORES.sigmoid, choiceBias: true, scale: scaleOf(c, 1), ...groupsOf(c) },
    ...{ groupBest: 2, normalize: c.f.boolean('norm_topk_prob', true) },
  };
}

function routerOfMistral(c: Config): Partial<NativeRouter> {
  if (c.gguf) return ggufRouter(c);
  const groups = groupsOf(c);
  const normalize = c.f.boolean('norm_topk_prob', true);
  const ranked = groups.numGroups > 1 ? { ...groups, groupBest: 2 } : {};
  return { score: ROUTER_SCORES.softmax, scale: scaleOf(c, 1), normalize, ...ranked };
}

/** Its keys say the rest; the first files of GLM 4.7 Flash do not name its score. */
function ggufRouter({ f, gguf }: Config): Partial<NativeRouter> {
  const isFlash =
    gguf?.vocabSize === 154_880 && [47, 48].includes(f.integer('block_count', 1, 4096));
  return { score: isFlash ? ROUTER_SCORES.sigmoid : ROUTER_SCORES.softmax };
}

function groupsOf({ f }: Config): { numGroups: number; topGroups: number } {
  const count = (name: string) => (f.has(name) ? f.integer(name, 1, 4096) : 1);
  return { numGroups: count('n_group'), topGroups: count('topk_group') };
}

function scaleOf({ f }: Config, usual: number): number {
  return f.number('routed_scaling_factor', 1e-6, 1e6, usual);
}

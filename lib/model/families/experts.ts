/** What families with experts have in common: their settings, and where their tensors lie. */
import {
  HIDDEN_ACTS,
  type NativeExperts,
  type NativeLayer,
  type NativeNorm,
  type NativeRouter,
  ROUTER_SCORES,
} from '../../native.js';
import type { Config } from '../config.js';
import { unsupported } from '../files.js';
import { type Layout, type TensorNames, withLayer } from '../names.js';
import { type LayerChoices, layerOf, type Sizes } from './shared.js';

/** Where experts differ from {@link expertsOf}'s usual. */
export interface ExpertChoices extends Partial<Omit<NativeExperts, 'router'>> {
  readonly router?: Partial<NativeRouter>;
}

/** Names of their number in config.json; files of different versions have different ones. */
const COUNTS = ['num_local_experts', 'n_routed_experts', 'num_experts'];

/** Most that one token may go to: native/ops.h's kMaxTopK. */
const MAX_CHOSEN = 32;

/**
 * Gated by SiLU, chosen and weighed by softmax. GGUF files may name another rule.
 * @param hfChosen what config.json calls the number of experts of a token
 */
export function expertsOf(
  c: Config,
  own: ExpertChoices,
  hfChosen = 'num_experts_per_tok',
): NativeExperts {
  const { f } = c;
  const count = c.gguf ? 'expert_count' : (COUNTS.find((name) => f.has(name)) ?? COUNTS[0]);
  const numExperts = f.integer(count, 1, 4096);
  const chosen = c.name(hfChosen, 'expert_used_count');
  const topK = f.integer(chosen, 1, numExperts);
  if (topK > MAX_CHOSEN) {
    throw unsupported(f.file, `${f.prefix}${chosen} ${topK} (at most ${MAX_CHOSEN})`);
  }
  const { router, ...choices } = own;
  const experts = {
    ...{ numExperts, topK },
    intermediateSize: 0,
    hiddenAct: HIDDEN_ACTS.silu,
    ...{ alpha: 1, limit: 0, upOffset: 0, biases: [] },
    ...{ scalesInput: false, sharedGate: false },
    ...choices,
    router: { ...ROUTER, ...router, ...(c.gguf ? ggufRouter(c, router ?? {}) : {}) },
  };
  checkGroups(c, experts);
  return experts;
}

const ROUTER: NativeRouter = {
  ...{ score: ROUTER_SCORES.softmax, bias: false, choiceBias: false, normalize: false, scale: 1 },
  ...{ numGroups: 1, topGroups: 1, groupBest: 1 },
};

/**
 * What keys say beside the family; a file's score is one of 1, 2, 3, its scale 0 for none. Groups
 * rank by the sum of their two best in all families, as llama.cpp has it.
 */
function ggufRouter({ f }: Config, usual: Partial<NativeRouter>): Partial<NativeRouter> {
  const score = usual.score ?? ROUTER.score;
  const numGroups = f.integer('expert_group_count', 0, 4096, 0) || 1;
  return {
    score: (f.integer('expert_gating_func', 1, 3, score + 1) - 1) as NativeRouter['score'],
    normalize: f.boolean('expert_weights_norm', usual.normalize ?? false),
    scale: f.number('expert_weights_scale', 0, 1e6, 0) || (usual.scale ?? 1),
    numGroups,
    topGroups: f.integer('expert_group_used_count', 0, 4096, 0) || 1,
    ...(numGroups > 1 ? { groupBest: 2 } : {}),
  };
}

/** Groups are of one size, and those that are kept have experts enough. */
function checkGroups({ f, gguf }: Config, { numExperts, topK, router }: NativeExperts): void {
  const { numGroups, topGroups, groupBest, score } = router;
  const [count, kept] = gguf
    ? ['expert_group_count', 'expert_group_used_count']
    : ['n_group', 'topk_group'];
  const size = numExperts / numGroups;
  if (!Number.isInteger(size)) {
    f.fail(count, `(${numGroups}) does not divide the ${numExperts} experts`);
  }
  if (size < groupBest) f.fail(count, `(${numGroups}) leaves less than ${groupBest} in a group`);
  if (topGroups > numGroups) f.fail(kept, `(${topGroups}) is more than the ${numGroups} groups`);
  if (topK > size * topGroups) {
    f.fail(kept, `(${topGroups}) groups of ${size} experts are less than the ${topK} to choose`);
  }
  if (score === ROUTER_SCORES.chosenSoftmax && (router.choiceBias || numGroups > 1)) {
    throw unsupported(f.file, 'a softmax over those chosen by a bias or from groups');
  }
}

/**
 * Rows of one expert's matrices.
 * @param usual where a file does not say
 */
export function expertSize(c: Config, usual?: number, hf = 'moe_intermediate_size'): number {
  return c.f.integer(c.name(hf, 'expert_feed_forward_length'), 1, 2 ** 24, usual);
}

/** The same; GGUF files that do not say share the size of a dense layer among those chosen. */
export function sharedOutSize(c: Config, { layers: [{ intermediateSize }] }: Sizes): number {
  if (!c.gguf) return expertSize(c);
  const chosen = c.f.integer('expert_used_count', 1, 4096);
  return expertSize(c, Math.floor(intermediateSize / chosen));
}

/**
 * Layers of experts and nothing beside them.
 * @param inner rows of their matrices; otherwise as many as the file gives an MLP
 */
export function allExperts(
  sizes: Sizes,
  norm: NativeNorm,
  experts: NativeExperts,
  own: (layer: number) => LayerChoices,
  inner?: number,
): NativeLayer[] {
  return sizes.layers.map(({ intermediateSize, ...size }, i) =>
    layerOf({ ...size, intermediateSize: 0 }, norm, {
      ...own(i),
      experts: { ...experts, intermediateSize: inner ?? intermediateSize },
    }),
  );
}

/** What files call the matrices of one expert. */
export interface ExpertNames {
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}
const PROJECTIONS: ExpertNames = { gate: 'gate_proj', up: 'up_proj', down: 'down_proj' };

/** The matrices of all experts in the order of slices: of each expert all `parts`. */
export function ofAll(numExperts: number, ...parts: string[]): string[] {
  const experts = Array.from({ length: numExperts }, (_, e) => `experts.${e}.`);
  return experts.flatMap((at) => parts.map((part) => at + part));
}

/** A slice for each expert. */
function sliced(numExperts: number, ...parts: string[]): Layout {
  return { of: ofAll(numExperts, ...parts), slices: numExperts };
}

/**
 * Hugging Face: a tensor for each expert below `at`, or one for all, gate and up in one.
 * @param at of the block: "mlp"
 */
export function hfExperts(
  base: TensorNames,
  numExperts: number,
  at = 'mlp',
  names = PROJECTIONS,
): TensorNames {
  const apart: Record<string, string> = {};
  for (let e = 0; e < numExperts; e++) {
    for (const [part, name] of Object.entries(names)) {
      apart[`${at}.experts.${e}.${name}`] = `experts.${e}.${part}`;
    }
  }
  const shared: Record<string, string> = { [`${at}.shared_expert_gate`]: 'shared_gate' };
  for (const part of ['gate', 'up', 'down']) {
    for (const one of ['expert', 'experts']) shared[`${at}.shared_${one}.${part}_proj`] = part;
  }
  return withLayer(
    base,
    { ...apart, ...shared, [`${at}.gate`]: 'router' },
    {
      [`${at}.gate.e_score_correction_bias`]: 'router.choice_bias',
      [`${at}.experts.gate_up_proj`]: sliced(numExperts, 'gate', 'up'),
      [`${at}.experts.down_proj`]: sliced(numExperts, 'down'),
    },
  );
}

/** GGUF: one for all; in the first files a tensor for each. */
export function ggufExperts(base: TensorNames, numExperts: number): TensorNames {
  const apart: Record<string, string> = {};
  for (let e = 0; e < numExperts; e++) {
    for (const part of ['gate', 'up', 'down']) apart[`ffn_${part}.${e}`] = `experts.${e}.${part}`;
  }
  return withLayer(
    base,
    {
      ...apart,
      ffn_gate_inp: 'router',
      ffn_gate_exps: sliced(numExperts, 'gate'),
      ffn_up_exps: sliced(numExperts, 'up'),
      ffn_down_exps: sliced(numExperts, 'down'),
      ffn_gate_up_exps: sliced(numExperts, 'gate', 'up'),
      ...{ ffn_gate_shexp: 'gate', ffn_up_shexp: 'up', ffn_down_shexp: 'down' },
      ffn_gate_inp_shexp: 'shared_gate',
    },
    { 'exp_probs_b.bias': 'router.choice_bias', exp_probs_b: 'router.choice_bias' },
  );
}

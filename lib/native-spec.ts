/** A model as data: the part of lib/native.ts that says what the addon is to compute. */

/** native/ops.h's NormKind. */
export const NORMS = { none: 0, rms: 1, layer: 2 } as const;
/** native/ops.h's HiddenAct; geluTanh is GELU in its tanh form, gelu by erf, relu2 ReLU squared. */
export const HIDDEN_ACTS = {
  silu: 0,
  geluTanh: 1,
  gelu: 2,
  relu2: 3,
  sigmoid: 4,
  tanh: 5,
} as const;
/**
 * native/model/spec.h's Branches: one after the other; both of the layer's input, each by its own
 * norm; both of what attnNorm makes of it; x = attnNorm(x + attention(x)), x = mlpNorm(x + mlp(x)).
 */
export const BRANCHES = { serial: 0, parallel: 1, shared: 2, post: 3 } as const;
/** native/model/spec.h's QkNormSpan: each head, the whole projection, each by its own weight. */
export const QK_NORM_SPANS = { head: 0, projection: 1, ownHead: 2 } as const;

/** native/ops.h's RouterScore: softmax of all, sigmoid of each, softmax of those chosen. */
export const ROUTER_SCORES = { softmax: 0, sigmoid: 1, chosenSoftmax: 2 } as const;

export interface NativeNorm {
  readonly kind: (typeof NORMS)[keyof typeof NORMS];
  readonly eps: number;
  /** The weight is 1 + what is stored. */
  readonly offset: boolean;
  /** There is one; without it as if all were 1. Of kind none: false. */
  readonly weight: boolean;
  /** Of kind layer: there is one. */
  readonly bias: boolean;
  /** Multiplies the weight. Default 1. */
  readonly scale?: number;
}

/** One table of angles. */
export interface NativeRope {
  /** [rotary size / 2] radians per position, scaling already applied. */
  readonly inverseFrequencies: Float32Array;
  /** The same for sequences that a step marks as long (longrope). */
  readonly longInverseFrequencies?: Float32Array;
  /** Pairs are neighbours, not halves. */
  readonly interleaved: boolean;
  /** Multiplies cos and sin (yarn, longrope); 1 otherwise. */
  readonly attentionFactor: number;
}

/** q · (1 + beta · ln(1 + ⌊(position + offset) / length⌋)); beta 0 = as it is. */
export interface NativeTemperature {
  readonly beta: number;
  /** Positions that have the same factor. */
  readonly length: number;
  readonly offset: number;
}

/**
 * Keys and values of all heads are made of one row for each token, which alone is cached: c =
 * kv_a_norm(kv_a · x), `rank` values, and r = k_rope · x, rotated, the rest of headSize. A head
 * whose q is [nope | rope], rope rotated, meets the rows [c | r] with
 * [heads.<h>.k_b · nope | rope], and
 * gives heads.<h>.v_b · Σ p · c (DeepSeek-V2, arXiv 2405.04434, in its absorbed form).
 */
export interface NativeLatent {
  readonly rank: number;
  /** Values of q_a · x, whose norm q is made of; 0: q is made of x. */
  readonly queryRank: number;
  /** Of a head of q, before what rotates. */
  readonly nopeSize: number;
  /** What a head gives. */
  readonly valueSize: number;
  /** Of kv_a · x and q_a · x. */
  readonly norm: NativeNorm;
}

export interface NativeAttention {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headSize: number;
  /** False: a query sees the tokens behind it too, as far as those before it. */
  readonly causal: boolean;
  /** A query sees itself and window − 1 tokens before it; 0 = all. */
  readonly window: number;
  /** Of these only the tokens of its own chunk of `window`, counted from position 0. */
  readonly chunked: boolean;
  /** Index into `ropes`; −1 = no positions. */
  readonly rope: number;
  /** Of q·k before the softmax: 1/√headSize as a rule. */
  readonly scale: number;
  /** Scores become softcap · tanh(score / softcap); 0 = as they are. */
  readonly softcap: number;
  /** A logit per head (tensor `sinks`) stands in the softmax's denominator, and nowhere else. */
  readonly sinks: boolean;
  /** Of q and k, before they rotate. */
  readonly qkNorm: NativeNorm;
  readonly qkNormSpan: (typeof QK_NORM_SPANS)[keyof typeof QK_NORM_SPANS];
  /** It comes after they have rotated: an RMS norm of span head only. */
  readonly qkNormAfterRope: boolean;
  /** Of q, after all that. */
  readonly temperature: NativeTemperature;
  /** What comes out is multiplied by sigmoid(attn_gate · x), x being what q is made of; then o. */
  readonly gated: boolean;
  /** Which of q, k, v, o have a bias: of those that there are. */
  readonly biases: readonly string[];
  /** Of each head of v. Default: of kind none. */
  readonly vNorm?: NativeNorm;
  /** There is no `v`: it is what k's product gives, before k is normed. Default false. */
  readonly valueIsKey?: boolean;
  /**
   * An earlier layer whose K and V are read: there is neither k nor v, and nothing is cached. Its
   * heads and window are these. Default: the layer's own.
   */
  readonly kvLayer?: number;
  /** numKvHeads is 1 then, and headSize that of a row; with no KV of another layer. */
  readonly latent?: NativeLatent;
}

/**
 * native/ops.h's RecurrentKind: the gated delta rule, a selective state space (Mamba 2), a short
 * convolution alone.
 */
export const RECURRENT_KINDS = { delta: 0, ssm: 1, conv: 2 } as const;

/**
 * A layer that keeps a state instead of the KV of its tokens. With q, k, v = silu(conv(mix_q · x |
 * mix_k · x | mix_v · x)), a causal convolution of each channel, and of a value head its state S
 * [keySize, valueSize], delta is, q and k of length 1 and q divided by √keySize,
 *   S ← e^g S;  u = sigmoid(mix_beta · x) (v − Sᵀk);  S ← S + k uᵀ;  o = Sᵀq
 * where g = decay · softplus(mix_decay · x + dt_bias). What the layer gives is
 * mix_out · (mix_norm(o) ⊙ silu(mix_gate · x)).
 *
 * ssm has q and k as they are, no mix_beta, and with t = softplus(mix_decay · x + dt_bias), which
 * lies between `dtMin` and `dtMax`,
 *   S ← e^(decay · t) S + t k vᵀ;  o = Sᵀq (+ skip · v)
 *
 * conv, whose q, k and v are of one size, has no state but the convolution's, and gives
 * mix_out · (q ⊙ conv(k ⊙ v)), no silu behind the convolution.
 */
export interface NativeRecurrent {
  readonly kind: (typeof RECURRENT_KINDS)[keyof typeof RECURRENT_KINDS];
  /** Heads of q and k; several value heads read one of them. */
  readonly numKeyHeads: number;
  readonly numValueHeads: number;
  readonly keySize: number;
  readonly valueSize: number;
  /** Value head h reads key head h mod numKeyHeads, not ⌊h · numKeyHeads / numValueHeads⌋. */
  readonly tiled: boolean;
  /** Inputs that each output of the convolution is made of: its own and those before it. */
  readonly convWidth: number;
  readonly convBias: boolean;
  /** Of each value head of o, or of `normSize` neighbours. */
  readonly norm: NativeNorm;
  /** Default: valueSize. */
  readonly normSize?: number;
  /** Each has a weight of its own: mix_norm is as long as o. */
  readonly normOwn?: boolean;
  /** False: the norm is that of what the gate lets pass. Default true. */
  readonly normFirst?: boolean;
  /** ssm: there is a `skip`, a number for each value head. */
  readonly skip?: boolean;
  /** ssm; default 0 and none. */
  readonly dtMin?: number;
  readonly dtMax?: number;
  /** The products of x have biases; mix_out has one. */
  readonly inBias?: boolean;
  readonly outBias?: boolean;
  /** delta, ssm: multiply the weights of their convolutions, not their biases. Default 1. */
  readonly convScales?: { readonly q: number; readonly k: number; readonly v: number };
  /** delta, ssm: multiplies mix_decay · x. Default 1. */
  readonly dtScale?: number;
}

export interface NativeMlp {
  /** 0 = there is none, only experts. */
  readonly intermediateSize: number;
  readonly hiddenAct: (typeof HIDDEN_ACTS)[keyof typeof HIDDEN_ACTS];
  /** down · (act(gate · x) ⊙ (up · x)), else down · act(up · x). */
  readonly gated: boolean;
  /** Which of gate, up, down have a bias. */
  readonly biases: readonly string[];
}

/** How experts are chosen: the best by score, ties to the lower id. */
export interface NativeRouter {
  readonly score: (typeof ROUTER_SCORES)[keyof typeof ROUTER_SCORES];
  /** There is a `router.bias`, added to the logits. */
  readonly bias: boolean;
  /** There is a `router.choice_bias`, added to the scores for the choice only. */
  readonly choiceBias: boolean;
  /** Weights are divided by the sum of those chosen. */
  readonly normalize: boolean;
  /** Multiplies the weights then. */
  readonly scale: number;
  /** Experts lie in so many groups of neighbours; 1 = all in one. */
  readonly numGroups: number;
  /** So many groups may be chosen from: those of the highest sums... */
  readonly topGroups: number;
  /** ...of so many best scores in each. */
  readonly groupBest: number;
  /** There is a `router.expert_scale`: weights are multiplied by their expert's. Default false. */
  readonly expertScale?: boolean;
}

/**
 * Of each row `topK` experts, down · glu(gate · x, up · x), times their weights. The layer's `mlp`,
 * if it has one, is added to that: a shared expert.
 */
export interface NativeExperts {
  readonly numExperts: number;
  readonly topK: number;
  readonly intermediateSize: number;
  /** glu(g, u) = act(alpha · g) / alpha · (u + upOffset). */
  readonly hiddenAct: (typeof HIDDEN_ACTS)[keyof typeof HIDDEN_ACTS];
  readonly alpha: number;
  /** g is at most this, u between minus this and this; 0 = no limit. */
  readonly limit: number;
  readonly upOffset: number;
  /** Which of gate, up, down have a bias. */
  readonly biases: readonly string[];
  readonly router: NativeRouter;
  /** A weight multiplies what goes into its expert, not what comes out. */
  readonly scalesInput: boolean;
  /** The mlp is multiplied by sigmoid(shared_gate · x), a tensor of one row. */
  readonly sharedGate: boolean;
  /**
   * The mlp is no shared expert but a branch beside them, each with norms of its own. With x what
   * the mlp reads by mlpNorm: postMlpNorm(mlp(mlpNorm(x))) + postNorm(experts(norm(x))), and the
   * router reads routerNorm(x). Tensors: post_dense_norm, post_experts_norm, experts_norm,
   * router_norm.
   */
  readonly beside?: {
    readonly routerNorm: NativeNorm;
    readonly norm: NativeNorm;
    readonly postNorm: NativeNorm;
    readonly postMlpNorm: NativeNorm;
  };
  /** False: down · act(up · x), without alpha, limit and upOffset. Default true. */
  readonly gated?: boolean;
  /** Values that experts read and give; not with sharedGate or beside. Default 0: hiddenSize. */
  readonly latentSize?: number;
}

export interface NativeLayer {
  readonly branches: (typeof BRANCHES)[keyof typeof BRANCHES];
  readonly attnNorm: NativeNorm;
  /** Of the branch, before it is added. */
  readonly postAttnNorm: NativeNorm;
  readonly mlpNorm: NativeNorm;
  readonly postMlpNorm: NativeNorm;
  /** One of these stands in the branch; where branches are serial also both, or none. */
  readonly attention?: NativeAttention;
  readonly recurrent?: NativeRecurrent;
  readonly mlp: NativeMlp;
  readonly experts?: NativeExperts;
  /** Multiplies each branch. */
  readonly residualScale: number;
  /** Multiply what attention, the recurrent mixer, the MLP and experts give; serial. Default 1. */
  readonly attentionScale?: number;
  readonly recurrentScale?: number;
  readonly mlpScale?: number;
  /** There is a `scale`, a number that multiplies the residual behind the layer. Default false. */
  readonly scaled?: boolean;
}

/** x = norm(act(weight · x + bias)), of a pooled vector, act where there is one: `pooled.<i>`. */
export interface NativeDense {
  readonly outSize: number;
  readonly bias: boolean;
  readonly act?: (typeof HIDDEN_ACTS)[keyof typeof HIDDEN_ACTS];
  readonly norm: NativeNorm;
}

/**
 * Behind each layer, with e what the first layer reads, t the row of `layer_inputs` (a table with a
 * row for each layer of a token), and tensors of the layer,
 *   x += postNorm(input_out · (act(input_gate · x) ⊙ (norm(input_proj · e) + scale · t)))
 */
export interface NativeLayerInputs {
  /** Values of such a row. */
  readonly size: number;
  readonly scale: number;
  readonly hiddenAct: (typeof HIDDEN_ACTS)[keyof typeof HIDDEN_ACTS];
  /** All layers have one weight: `layer_inputs_norm`. */
  readonly norm: NativeNorm;
  /** `post_input_norm` of each layer. */
  readonly postNorm: NativeNorm;
}

/** A model as data, as native/model/spec.h reads it. */
export interface NativeModelSpec {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly embedding: {
    readonly scale: number;
    /** Rows of a learned position table; 0 = there is none. */
    readonly numPositions: number;
    /** Rows of a table that is added by each token's type; 0 = there is none. */
    readonly numTokenTypes: number;
    /** Of the sum, where the first layer reads it. */
    readonly norm: NativeNorm;
  };
  readonly ropes: readonly NativeRope[];
  readonly layers: readonly NativeLayer[];
  /** Default: none. */
  readonly layerInputs?: NativeLayerInputs;
  readonly finalNorm: NativeNorm;
  /** `scale` multiplies the logits; they then become softcap · tanh(logit / softcap), if not 0.
   * Without a head nothing can be generated. */
  readonly head?: { readonly tied: boolean; readonly scale: number; readonly softcap: number };
  /** What a pooled vector goes through; the first layer reads `hiddenSize` values. */
  readonly pooler?: { readonly layers: readonly NativeDense[] };
}

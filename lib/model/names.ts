/** What checkpoints call their tensors, and what the native side calls them (lib/native.ts). */

/** Where a stored tensor goes: one canonical name, or several whose rows lie in it one by one. */
export type Target = string | readonly string[] | Layout;

/** Another order than rows one after the other. */
export interface Layout {
  readonly of: readonly string[];
  /** Stored as [in, out]. */
  readonly transposed?: true;
  /** They take turns: so many rows of the first, so many of the second, ..., then the next ones. */
  readonly runs?: readonly number[];
  /** Values lie in other dimensions, row by row: a vector's in several, rows side by side. */
  readonly flat?: true;
  /** Of a vector: its values are −eˣ of the stored ones. */
  readonly negExp?: true;
  /**
   * The outermost dimension: in each of so many slices lies the next equal share of `of`, as
   * matrices of experts or weights of heads do.
   */
  readonly slices?: number;
  /** Slices lie one below the other, as rows of one matrix. */
  readonly stacked?: true;
  /** Of the pieces of a slice, which are stored as [in, out]. */
  readonly turned?: readonly boolean[];
  /** Rows in front that nobody needs. */
  readonly skippedRows?: number;
}

/** Names without their `.weight` or `.bias`. */
export interface TensorNames {
  /** Outside of layers. */
  readonly top: Readonly<Record<string, Target>>;
  /** Inside of them, and how a layer's name and number look: two groups, number and rest. */
  readonly layer: Readonly<Record<string, Target>>;
  /** Inside of them, names that have neither. */
  readonly bare?: Readonly<Record<string, Target>>;
  readonly layerPattern: RegExp;
  /** Other spellings of whole names, made one. */
  readonly spelling?: (name: string) => string;
  /** What files carry but nobody needs. */
  readonly ignored?: RegExp;
}

/** A layer as Hugging Face spells most. */
export const HF_NAMES: TensorNames = {
  top: { 'model.embed_tokens': 'embed', 'model.norm': 'final_norm', lm_head: 'head' },
  layer: {
    input_layernorm: 'attn_norm',
    post_attention_layernorm: 'mlp_norm',
    'self_attn.q_norm': 'q_norm',
    'self_attn.k_norm': 'k_norm',
    'self_attn.q_proj': 'q',
    'self_attn.k_proj': 'k',
    'self_attn.v_proj': 'v',
    'self_attn.o_proj': 'o',
    'mlp.gate_proj': 'gate',
    'mlp.up_proj': 'up',
    'mlp.down_proj': 'down',
  },
  layerPattern: /^model\.layers\.(\d{1,4})\.(.+)$/,
  // Without a head a model may be saved by its own names alone.
  spelling: (name) => name.replace(/^(?=(embed_tokens|layers|norm)\.)/, 'model.'),
  ignored: /(^|\.)rotary_emb\.inv_freq$/,
};

/** A layer in GGUF files of all families, but for what a family says otherwise. */
export const GGUF_NAMES: TensorNames = {
  top: {
    token_embd: 'embed',
    position_embd: 'positions',
    output_norm: 'final_norm',
    output: 'head',
  },
  layer: {
    attn_norm: 'attn_norm',
    ffn_norm: 'mlp_norm',
    attn_q_norm: 'q_norm',
    attn_k_norm: 'k_norm',
    attn_q: 'q',
    attn_k: 'k',
    attn_v: 'v',
    attn_qkv: ['q', 'k', 'v'],
    attn_output: 'o',
    ffn_gate: 'gate',
    ffn_up: 'up',
    ffn_down: 'down',
  },
  layerPattern: /^blk\.(\d{1,4})\.(.+)$/,
  ignored: /^rope_(freqs|factors_short|factors_long)\.weight$/,
};

/** `base` with some of a layer's names added or given another meaning. */
export function withLayer(
  base: TensorNames,
  layer: TensorNames['layer'],
  bare: TensorNames['bare'] = {},
): TensorNames {
  return { ...base, layer: { ...base.layer, ...layer }, bare: { ...base.bare, ...bare } };
}

/** Canonical names of what a stored tensor holds, and how; none: it is not needed. */
export interface Place extends Omit<Layout, 'of'> {
  readonly names: readonly string[];
}

/** @returns undefined for a tensor that is not known */
export function placeOf(stored: string, table: TensorNames): Place | undefined {
  const name = table.spelling?.(stored) ?? stored;
  if (table.ignored?.test(name)) return { names: [] };
  const [, index, rest] = table.layerPattern.exec(name) ?? [];
  if (rest === undefined) return placeIn(table.top, name, '');
  const at = `layers.${Number(index)}.`;
  if (table.bare && Object.hasOwn(table.bare, rest)) return place(table.bare[rest], at, false);
  return placeIn(table.layer, rest, at);
}

function placeIn(targets: TensorNames['layer'], name: string, at: string): Place | undefined {
  const [, base, kind] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  if (base === undefined || !Object.hasOwn(targets, base)) return undefined;
  return place(targets[base], at, kind === 'bias');
}

function place(target: Target, at: string, isBias: boolean): Place {
  const { of, transposed, ...layout } = layoutOf(target);
  const names = of.map((name) => `${at}${name}${isBias ? '.bias' : ''}`);
  return { names, ...layout, ...(transposed && !isBias ? { transposed } : {}) };
}

function layoutOf(target: Target): Layout {
  if (typeof target === 'string') return { of: [target] };
  return 'of' in target ? target : { of: target };
}

/** Parts of a checkpoint beside its text model. */
export type SkippedPart = 'vision' | 'audio' | 'mtp';

const PARTS: readonly (readonly [SkippedPart, RegExp])[] = [
  [
    'vision',
    below(
      ...['visual', 'vision_tower', 'vision_model', 'embed_vision', 'multi_modal_projector'],
      ...['vision_adapter', 'vision_projection'],
    ),
  ],
  ['audio', below('audio_tower', 'audio_model', 'embed_audio')],
  ['mtp', below('mtp')],
];

function below(...names: string[]): RegExp {
  return new RegExp(`^(model\\.)?(${names.join('|')})\\.`);
}

/**
 * The part that a tensor belongs to, if it is one that text generation passes over: another input's
 * encoder, or the layers behind the last, which draft tokens (mtp: multi-token prediction).
 */
export function skippedPart(
  stored: string,
  table: TensorNames,
  layers: { readonly count: number; readonly mtp: number },
): SkippedPart | undefined {
  const part = PARTS.find(([, pattern]) => pattern.test(stored))?.[0];
  if (part !== undefined) return part;
  const [, index] = table.layerPattern.exec(table.spelling?.(stored) ?? stored) ?? [];
  const beyond = index === undefined ? -1 : Number(index) - layers.count;
  return beyond >= 0 && beyond < layers.mtp ? 'mtp' : undefined;
}

/** A text model inside another: its names as if it stood alone. */
export function unnested(name: string): string {
  return name
    .replace(/^model\.language_model\./, 'model.')
    .replace(/^language_model\.(?=model\.|lm_head\.)/, '');
}

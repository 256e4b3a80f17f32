/** Of native.ts: the types that weights are stored in, and where a tensor lies in its files. */

/** Stored types; the numbers are native/base/dtype.h's, compared at load. */
export const DTYPES = {
  F32: 0,
  F16: 1,
  BF16: 2,
  Q8_0: 3,
  Q4_0: 4,
  Q4_1: 5,
  Q5_0: 6,
  Q5_1: 7,
  Q2_K: 8,
  Q3_K: 9,
  Q4_K: 10,
  Q5_K: 11,
  Q6_K: 12,
  IQ4_NL: 13,
  IQ4_XS: 14,
  MXFP4: 15,
  NVFP4: 16,
  IQ2_XXS: 17,
  IQ2_XS: 18,
  IQ2_S: 19,
  IQ3_XXS: 20,
  IQ3_S: 21,
  IQ1_S: 22,
  IQ1_M: 23,
  TQ1_0: 24,
  TQ2_0: 25,
  Q1_0: 26,
  Q2_0: 27,
  INT4_G32: 28,
  INT4_G128: 29,
  INT8_G32: 30,
  INT8_G128: 31,
  FP8_G32: 32,
  FP8_G128: 33,
} as const;
export type DTypeName = keyof typeof DTYPES;

const PLAIN_KINDS: Readonly<Record<string, 'float32' | 'half'>> = {
  F32: 'float32',
  ...{ F16: 'half', BF16: 'half' },
};

/** How exact a stored type is: what a few bits approximate, 16 bits, or float32 itself. */
export function kindOf(dtype: DTypeName): 'float32' | 'half' | 'quantised' {
  return PLAIN_KINDS[dtype] ?? 'quantised';
}

/** Matrices that a checkpoint holds in one type and products read in one. */
export interface WeightKind {
  /** The type in the file. */
  readonly stored: DTypeName;
  /** The type in memory; the same: they stay packed. */
  readonly kept: DTypeName;
  /** How many of them. */
  readonly numMatrices: number;
  /** As they are kept. */
  readonly bytes: number;
}

/** One tensor of a checkpoint, by the canonical name that native/model/weights.h binds. */
export interface NativeTensor {
  /** `embed`, `positions`, `token_types`, `embed_norm`, `head`, `final_norm`, `pooled.<i>`,
   * `pooled.<i>.norm`, `layers.<i>.` and attn_norm, post_attn_norm, mlp_norm, post_mlp_norm,
   * q_norm, k_norm (or of each head `q_norm.<head>`), sinks, attn_gate, q, k, v, o, gate, up, down,
   * q_a, q_a_norm, kv_a, kv_a_norm, k_rope, heads.<h>.k_b, .v_b, router, shared_gate,
   * experts.<e>.gate, .up, .down; `<name>.bias`, `router.choice_bias`. */
  readonly name: string;
  readonly dtype: DTypeName;
  /** Rows of the matrix (output features); 1 for a vector. */
  readonly rows: number;
  /** Columns of the matrix (input features); the length of a vector. */
  readonly cols: number;
  /** Index into `files`. */
  readonly file: number;
  /** Byte offset of the first value in that file. */
  readonly offset: number;
  /** Length in bytes: rows · row bytes of the dtype; where transposed, of all that is stored. */
  readonly bytes: number;
  /**
   * The file holds the matrix turned around, [cols, of], and its rows are the stored columns from
   * `from` on (GPT-2's Conv1D). One that is quantised becomes F32; its rows have no steps.
   */
  readonly transposed?: { readonly of: number; readonly from: number };
  /**
   * Rows (of a vector: values; where transposed: columns) lie so many stored ones apart, as where
   * gate and up take turns. `bytes` then reach from the first to the end of the last. Default: 1.
   */
  readonly step?: number;
  /** So many of them lie together, and `step` is from where one such run begins to the next: where
   * heads of q and of something else take turns. Default: 1. */
  readonly run?: number;
  /** Of a vector: its values are −eˣ of the stored ones. */
  readonly negExp?: true;
  /** Of matrices that several tensors make up: these, in place of `file` and `offset`. */
  readonly parts?: StoredParts;
  /** Of NVFP4 in GGUF's blocks: a float32 that multiplies them. */
  readonly factor?: FilePart;
}

/** Bytes in a file of `files`. */
export interface FilePart {
  readonly file: number;
  readonly offset: number;
  readonly bytes: number;
}

/** native/model/stored_parts.h's CodeOrder and ScaleType. */
export const CODE_ORDERS = { rows: 0, cols: 1, awq: 2, flat: 3 } as const;
export const SCALE_TYPES = { F32: 0, F16: 1, BF16: 2, F8_E4M3: 3, F8_E8M0: 4, book: 5 } as const;

/** Small numbers [rows, cols], in an order of CODE_ORDERS. */
export interface CodePart extends FilePart {
  readonly order: number;
  readonly bits: number;
  readonly rows: number;
  readonly cols: number;
  /** Bytes that a row is a multiple of, where rows follow one another. */
  readonly unit: number;
  /** Of 8 bits: −128 to 127. */
  readonly signed: boolean;
}

/** A grid [rows, cols] of scales, or (flat) a list. */
export interface ScalePart extends FilePart {
  /** Of SCALE_TYPES. */
  readonly type: number;
  readonly rows: number;
  readonly cols: number;
  /** Rows of the matrix that share a row of the grid. */
  readonly rowSpan: number;
  /** Stored as [cols, rows]. */
  readonly turned: boolean;
  /** One scale for each `group` values of all rows as one. */
  readonly flat: boolean;
}

/** A matrix in parts: value = (code − zero) · scale. native/model/stored_parts.h says it all. */
export interface StoredParts {
  readonly codes: CodePart;
  /** Codes are floats: of eight bits E4M3, of four E2M1. */
  readonly float: boolean;
  /** Rows of all that is stored. */
  readonly rows: number;
  /** The stored row that is the tensor's first. */
  readonly from: number;
  /** Columns (where flat: values) that share a scale. */
  readonly group: number;
  readonly scales: ScalePart;
  /** A float32 that all scales are multiplied with, or divided by; and what they are divided by. */
  readonly factor?: FilePart;
  readonly divides: boolean;
  readonly divisor: number;
  readonly zeros?: CodePart;
  readonly zerosTurned: boolean;
  /** The zero where none is stored; else added to what is. */
  readonly zero: number;
  /** int32 [cols]: the group of each column, where they are not in order. */
  readonly groupOf?: FilePart;
  /** float32 for each code: what it stands for. */
  readonly values?: FilePart;
  /** Of scales that are codes themselves: float32 [256], and a float32 scale for each 256. */
  readonly book?: FilePart;
  readonly bookScales?: FilePart;
  readonly bookOffset?: number;
}

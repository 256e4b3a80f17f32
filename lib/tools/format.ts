/**
 * How a model writes an answer: reasoning, content and calls, each between markers. Markers are
 * written as a template spells them; control tokens in them are found by the tokenizer (marks.ts).
 */

/** Slots in the texts of a call: what stands there differs from call to call. */
export const ID_SLOT = '\udff0';
export const INDEX_SLOT = '\udff1';
/** The call's name once more. */
export const NAME_SLOT = '\udff2';

export interface Fence {
  readonly start: string;
  readonly end: string;
}

export const NO_FENCE: Fence = { start: '', end: '' };

export const JSON_TYPES = ['string', 'number', 'boolean', 'null', 'object', 'array'] as const;
export type JsonType = (typeof JSON_TYPES)[number];

/**
 * Arguments one by one: `start` key `mid` value `end`. A text is written as it is, all else as
 * JSON; what stands around a value may depend on its type, which then is known without a schema.
 */
export interface TaggedStyle {
  readonly kind: 'tagged';
  readonly start: string;
  readonly mids: Readonly<Record<JsonType, string>>;
  readonly ends: Readonly<Record<JsonType, string>>;
  readonly separator: string;
}

/** As `{a:1,b:<|"|>x<|"|>}`, objects and lists within it alike; `quote` is `<|"|>` there. */
export interface QuotedStyle {
  readonly kind: 'quoted';
  readonly quote: string;
}

/** `json`: one object. `python`: `a=1, b="x"`, up to the bracket that is the call's end. */
export type ArgumentStyle = { readonly kind: 'json' | 'python' } | QuotedStyle | TaggedStyle;

/** What stands before and after a call's name; the latter up to the arguments. */
export interface CallForm {
  readonly start: string;
  readonly nameEnd: string;
}

export interface CallFormat {
  /** Around all calls of an answer. */
  readonly section: Fence;
  /** The first is what the template writes, others are what models write as well. */
  readonly forms: readonly CallForm[];
  /** From the arguments to the end of the call. */
  readonly end: string;
  /** Between two calls. */
  readonly separator: string;
  readonly arguments: ArgumentStyle;
  /** Whether an answer can hold several calls. */
  readonly parallel: boolean;
  /** Nothing marks a call but that the answer begins with one. */
  readonly bare: boolean;
  /** What ids of calls look like that the format does not write itself, or does after the call. */
  readonly ids: IdStyle;
}

/** `call`: as OpenAI's; `nine`: nine letters and digits; `kimi`: functions.NAME:INDEX. */
export type IdStyle = 'call' | 'nine' | 'kimi';

export interface AnswerFormat {
  /** What errors and warnings call it. */
  readonly name: string;
  /** Null where the model does not reason in the open. */
  readonly reasoning: Fence | null;
  /** Around content that is not free-standing; both empty for nearly all. */
  readonly content: Fence;
  /** Around content that may come before calls, where that is not written as `content` is. */
  readonly preamble?: Fence;
  /** Null where the template's calls are not understood, or it has none: `why` says so. */
  readonly calls: CallFormat | null;
  readonly why?: string;
}

/** The same texts around values of any type. */
export function anyType(text: string): Record<JsonType, string> {
  return Object.fromEntries(JSON_TYPES.map((type) => [type, text])) as Record<JsonType, string>;
}

export function typeOf(value: unknown): JsonType {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value as JsonType;
}

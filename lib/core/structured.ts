/**
 * Structured output, as far as core knows it: what a caller may ask for, and the constraint of a
 * sequence. What a constraint allows is decided elsewhere.
 */

/** A schema of the zod library (version 4), whichever copy of it. */
export interface ZodSchema<T = unknown> {
  /** What zod knows of it. */
  readonly _zod: { readonly output: T };
}

/**
 * What an output must be; exactly one of `json`, `regex`, `choice`, `grammar`, `jsonObject` and
 * `structuralTag`. Only tokens with which the output can still become that are drawn, and EOS only
 * where it is.
 */
export interface StructuredOutputs<T = unknown> {
  /**
   * JSON that is valid by a schema: a JSON Schema (2020-12, draft 7 or 4; as an object, a boolean
   * or its JSON text), or a zod schema. Properties come in the order in which the schema has them;
   * names like "10", which objects of JavaScript put first, keep their place only in a text.
   */
  readonly json?: ZodSchema<T> | object | string | boolean;
  /** A regular expression (ECMAScript without look-around and back-references): all of the text. */
  readonly regex?: string;
  /** One of these texts. */
  readonly choice?: readonly string[];
  /** A grammar in GBNF, or as Lark writes it. */
  readonly grammar?: string;
  /** Any JSON object. */
  readonly jsonObject?: boolean;
  /** A structural tag by XGrammar's names, as an object or its JSON text. */
  readonly structuralTag?: object | string;
  /** JSON without white space between its parts. Default false: bounded white space. */
  readonly disableAnyWhitespace?: boolean;
  /** Objects have no properties but those that a schema names. Default false. */
  readonly disableAdditionalProperties?: boolean;
  /** A regular expression of what may stand between the parts of JSON. */
  readonly whitespacePattern?: string;
  /**
   * A keyword of a schema that cannot be enforced is an error. False: it is left out, and said in
   * the warnings of `compileGrammar()`. Default true. A `format` that nothing is known of is said
   * there in any case, and never an error.
   */
  readonly strict?: boolean;
}

/** The constraint of one sequence: where it is after the tokens of its output. */
export interface TokenConstraint {
  /** Takes a token. False: it is not allowed here, and nothing has changed. */
  advance(token: number): boolean;
  /** One in the same state that goes on by itself. */
  fork(): TokenConstraint;
  /** Gives its memory back; nothing is asked of it any more. */
  close(): void;
}

/** Whether a value is a schema of zod 4. */
export function isZod(value: unknown): value is ZodSchema {
  const kind = typeof value;
  if ((kind !== 'object' && kind !== 'function') || value === null) return false;
  return typeof (value as { _zod?: unknown })._zod === 'object';
}

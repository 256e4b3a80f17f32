import type { GrammarBuilder, Sym } from '../grammar.js';
import { type JsonOptions, JsonSyntax } from '../json.js';
import { type DocumentLimits, SchemaDocument } from './document.js';
import { Emitter } from './emit.js';
import { Expansion } from './expansion.js';
import { Refusal, schemaError } from './refusal.js';
import { Space } from './space.js';

export interface SchemaOptions extends JsonOptions, DocumentLimits {
  /**
   * True (default): what cannot be enforced is refused. False: it is left out, and said in
   * `warnings`.
   */
  readonly strict?: boolean;
  /** True: objects whose schema names properties have no others, unless it says otherwise. */
  readonly disableAdditionalProperties?: boolean;
  /** Longest time to work on a schema. Default 400. */
  readonly maxMs?: number;
  /** Filled with what was left out. */
  readonly warnings?: string[];
}

const MAX_MS = 400;
/** Keywords that are left out before a schema is given up. */
const MAX_DROPPED = 64;

/**
 * The JSON texts that are valid against a schema (2020-12; draft 7, 6 and 4 by `$schema`; their
 * older keywords always). Properties come in the order of `properties`, then those that only
 * `required` names, then any others.
 * @param schema parsed JSON: an object, true or false
 * @throws ERR_GRAMMAR, with the JSON pointer of the place as `pointer`, for what cannot be enforced
 *   (where strict), is malformed, past a limit, or allows no value at all
 */
export function schemaToGrammar(
  schema: unknown,
  options: SchemaOptions,
  builder: GrammarBuilder,
): Sym {
  return enforced(options, (dropped) => {
    const { expansion, root } = openSchema(schema, options, builder, dropped);
    return new Emitter(expansion).value(root);
  });
}

/** Tries, where not strict, again without what cannot be enforced, until the rest can. */
export function enforced(
  options: SchemaOptions,
  attempt: (dropped: ReadonlySet<string>) => Sym,
): Sym {
  const dropped = new Map<string, string>();
  const { strict = true, maxMs = MAX_MS } = options;
  const started = performance.now();
  for (;;) {
    try {
      const sym = attempt(new Set(dropped.keys()));
      for (const [pointer, message] of dropped) {
        options.warnings?.push(`${pointer || 'the schema'} is not enforced: ${message}`);
      }
      return sym;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { message } = error;
      // Where time is up, what is left is to enforce nothing.
      const late = performance.now() - started > maxMs;
      const pointer = late ? '' : error.pointer;
      if (strict || dropped.has(pointer) || dropped.size >= MAX_DROPPED) {
        throw schemaError(pointer, message);
      }
      dropped.set(pointer, message);
    }
  }
}

/** What is needed to work on a schema. @throws Refusal; ERR_GRAMMAR where no value is valid */
export function openSchema(
  schema: unknown,
  options: SchemaOptions,
  builder: GrammarBuilder,
  dropped: ReadonlySet<string>,
) {
  const document = new SchemaDocument(schema, options);
  const deadline = performance.now() + (options.maxMs ?? MAX_MS);
  const syntax = new JsonSyntax(builder.regex, options);
  const space = new Space(builder, syntax, document.unevaluated, deadline);
  const closed = options.disableAdditionalProperties ?? false;
  const expansion = new Expansion(space, document, dropped, closed);
  const root = expansion.keywords.node(schema, undefined, '');
  if (!expansion.isFull(root)) throw schemaError('', 'no value is valid against it');
  return { document, expansion, root };
}

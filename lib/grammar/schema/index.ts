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
  /** Filled with what was left out, and with formats that nothing is known of. */
  readonly warnings?: string[];
}

/** Keywords that are left out before a schema is given up. */
const MAX_DROPPED = 64;

/**
 * The JSON texts that are valid against a schema (2020-12; draft 7, 6 and 4 by `$schema`; their
 * older keywords always). Properties come in the order of `properties`, then those that only
 * `required` names, then any others. Numbers with a bound or a divisor have no exponent.
 * @param schema parsed JSON: an object, true or false
 * @throws ERR_GRAMMAR, with the JSON pointer of the place as `pointer`, for what cannot be enforced
 *   (where strict), is malformed, past a limit, or allows no value at all
 */
export function schemaToGrammar(
  schema: unknown,
  options: SchemaOptions,
  builder: GrammarBuilder,
): Sym {
  return enforced(
    options,
    (dropped) => {
      const { expansion, root } = openSchema(schema, options, builder, dropped);
      return new Emitter(expansion).value(root);
    },
    builder,
  );
}

/**
 * Tries, where not strict, again without what cannot be enforced, until the rest can. A schema that
 * need not be strict may take half of the budget that is left: the work of others goes on.
 */
export function enforced(
  options: SchemaOptions,
  attempt: (dropped: ReadonlySet<string>) => Sym,
  builder: GrammarBuilder,
): Sym {
  const dropped = new Map<string, string>();
  const { strict = true, warnings } = options;
  let sym = strict
    ? whole(attempt, dropped)
    : builder.budget.half(() => withoutRefused(attempt, dropped));
  if (sym === undefined) {
    dropped.clear();
    dropped.set('', 'reading it takes more work than is allowed: make it simpler or smaller');
    sym = whole(attempt, dropped);
  }
  for (const [pointer, message] of dropped) {
    warnings?.push(`${pointer || 'the schema'} is not enforced: ${message}`);
  }
  return sym;
}

function whole(
  attempt: (dropped: ReadonlySet<string>) => Sym,
  dropped: ReadonlyMap<string, string>,
): Sym {
  try {
    return attempt(new Set(dropped.keys()));
  } catch (error) {
    throw error instanceof Refusal ? schemaError(error.pointer, error.message) : error;
  }
}

/** @param dropped filled with what is left out, and why */
function withoutRefused(
  attempt: (dropped: ReadonlySet<string>) => Sym,
  dropped: Map<string, string>,
): Sym {
  for (;;) {
    try {
      return attempt(new Set(dropped.keys()));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { pointer, message } = error;
      if (dropped.has(pointer) || dropped.size >= MAX_DROPPED) throw schemaError(pointer, message);
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
  syntax = new JsonSyntax(builder.regex, options),
) {
  const document = new SchemaDocument(schema, options);
  builder.budget.spend(document.numBytes / 32);
  const space = new Space(builder, syntax, document.unevaluated);
  const { warnings } = options;
  // Attempts before this one have said the same.
  const said = new Set(warnings);
  space.warn = (pointer, message) => {
    const warning = `${pointer} is not enforced: ${message}`;
    if (said.has(warning)) return;
    said.add(warning);
    warnings?.push(warning);
  };
  const closed = options.disableAdditionalProperties ?? false;
  const expansion = new Expansion(space, document, dropped, closed);
  const root = expansion.keywords.node(schema, undefined, '');
  if (!expansion.isFull(root)) throw schemaError('', 'no value is valid against it');
  return { document, expansion, root };
}

/** What a caller may ask of a text, as a grammar. */
import type { Budget } from './budget.js';
import { choiceToSym } from './choice.js';
import { ebnfToGrammar } from './ebnf.js';
import { type Grammar, GrammarBuilder, type Sym } from './grammar.js';
import { readJson } from './json-text.js';
import { anyJson } from './notation.js';
import { grammarError } from './problem.js';
import { regexToTerminal, splitLiteral } from './regex.js';
import { schemaToGrammar } from './schema/index.js';
import { structuralTagToGrammar } from './structural-tag.js';

/** One constraint and how it is meant; lib/core/structured.ts says what each means. */
export interface GrammarSpec {
  /** A JSON Schema, or the JSON text of one. */
  readonly json?: object | boolean | string;
  /** Without flags, or as `/…/i`. The whole text must match. */
  readonly regex?: string;
  readonly choice?: readonly string[];
  readonly grammar?: string;
  readonly jsonObject?: boolean;
  readonly structuralTag?: object | string;
  readonly disableAnyWhitespace?: boolean;
  readonly disableAdditionalProperties?: boolean;
  readonly whitespacePattern?: string;
  /** Default true: what cannot be enforced is refused. */
  readonly strict?: boolean;
}

export interface SpecLimits {
  /** Of a schema's JSON text, of a grammar, a regex or a structural tag. Default 65,536. */
  readonly maxSchemaBytes?: number;
  /** Of a schema's nesting. Default 64. */
  readonly maxDepth?: number;
  /** Of all texts of enums, or of a choice, together. Default 100,000. */
  readonly maxEnumBytes?: number;
  /** Ids of special tokens by their text, for what names some. */
  readonly tokenIds?: (text: string) => number | undefined;
}

export interface CompiledSpec {
  readonly grammar: Grammar;
  /** What is not enforced: where strict, formats that nothing is known of. */
  readonly warnings: readonly string[];
}

const CONSTRAINTS = ['json', 'regex', 'choice', 'grammar', 'jsonObject', 'structuralTag'] as const;
const MAX_SCHEMA_BYTES = 65_536;

/**
 * The grammar of all texts that a spec allows.
 * @throws ERR_GRAMMAR where it is malformed, too large, or (if strict) cannot be enforced
 */
export function compileSpec(
  spec: GrammarSpec,
  limits: SpecLimits = {},
  budget?: Budget,
): CompiledSpec {
  const given = CONSTRAINTS.filter((name) => spec[name] !== undefined);
  if (given.length !== 1) {
    const found = given.length === 0 ? 'has none' : `has ${given.join(' and ')}`;
    throw grammarError(`a constraint is one of ${CONSTRAINTS.join(', ')}; this one ${found}`);
  }
  const builder = new GrammarBuilder(budget);
  const warnings: string[] = [];
  builder.start(symbolOf(spec, limits, builder, warnings));
  return { grammar: builder.build(), warnings };
}

export function symbolOf(
  spec: GrammarSpec,
  limits: SpecLimits,
  builder: GrammarBuilder,
  warnings: string[],
): Sym {
  const { disableAnyWhitespace, disableAdditionalProperties, whitespacePattern, strict } = spec;
  const { maxSchemaBytes = MAX_SCHEMA_BYTES, maxDepth, maxEnumBytes, tokenIds } = limits;
  const options = {
    ...{ disableAnyWhitespace, disableAdditionalProperties, whitespacePattern, strict },
    ...{ maxSchemaBytes, maxDepth, maxEnumBytes, warnings },
  };
  const sized = (name: string, text: string) => {
    const bytes = Buffer.byteLength(text);
    if (bytes <= maxSchemaBytes) return text;
    throw grammarError(
      `${name} has ${bytes} bytes, ${maxSchemaBytes} are allowed: make it smaller`,
    );
  };
  if (spec.json !== undefined) {
    const { json } = spec;
    const schema = typeof json === 'string' ? parsed(sized('the schema', json)) : json;
    return schemaToGrammar(schema, options, builder);
  }
  if (spec.regex !== undefined) {
    const { source, flags } = splitLiteral(sized('the regex', spec.regex));
    return builder.terminal(regexToTerminal(source, builder.regex, { flags }));
  }
  if (spec.choice !== undefined) return choiceToSym(spec.choice, builder, maxEnumBytes);
  if (spec.grammar !== undefined) {
    return ebnfToGrammar(sized('the grammar', spec.grammar), builder, { tokens: tokenIds });
  }
  if (spec.structuralTag !== undefined) {
    const { structuralTag: tag } = spec;
    sized('the structural tag', typeof tag === 'string' ? tag : JSON.stringify(tag));
    return structuralTagToGrammar(tag, { ...options, tokenIds }, builder);
  }
  if (spec.jsonObject === true) return anyJson(builder, options).object;
  throw grammarError('jsonObject can only be true: leave it out for any text');
}

function parsed(text: string): unknown {
  try {
    return readJson(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw grammarError(`the schema is no JSON: ${why}`);
  }
}

/** Schemas as grammars, for the tests of them. */
import { type Grammar, GrammarBuilder } from '../../lib/grammar/grammar.js';
import { type SchemaOptions, schemaToGrammar } from '../../lib/grammar/schema/index.js';
import { ByteMatcher } from './byte-matcher.js';

export function compile(schema: unknown, options: SchemaOptions = {}): ByteMatcher {
  return new ByteMatcher(grammarOf(schema, options));
}

export function grammarOf(schema: unknown, options: SchemaOptions = {}): Grammar {
  const builder = new GrammarBuilder();
  builder.start(schemaToGrammar(schema, options, builder));
  return builder.build();
}

/** The error of a schema that is refused. */
export function refusal(
  schema: unknown,
  options?: SchemaOptions,
): { code: string; pointer: string } {
  try {
    compile(schema, options);
  } catch (error) {
    const { code, pointer } = error as { code: string; pointer: string };
    return { code, pointer };
  }
  throw new Error('it was not refused');
}

/** JSON as Python writes it by default: a space after each comma and colon. */
export function spaced(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spaced).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, v]) => `${JSON.stringify(name)}: ${spaced(v)}`);
  return `{${members.join(', ')}}`;
}

import { charsOf } from '../bytes.js';
import type { GrammarBuilder, Sym } from '../grammar.js';
import type { SchemaOptions } from './index.js';
import { namesWithout } from './syntaxes.js';
import { taggedParameters, VALUE_TYPES } from './tagged.js';

/** How a style writes the parameters of a call. */
export interface XmlStyle {
  readonly start: string;
  /** Between name and value; line feeds may stand between two of these. */
  readonly middle: readonly string[];
  readonly end: string;
}

export const XML_STYLES: ReadonlyMap<string, XmlStyle> = new Map([
  ['qwen_xml', { start: '<parameter=', middle: ['>'], end: '</parameter>' }],
  ['minimax_xml', { start: '<parameter name="', middle: ['">'], end: '</parameter>' }],
  ['glm_xml', { start: '<arg_key>', middle: ['</arg_key>', '<arg_value>'], end: '</arg_value>' }],
]);

/**
 * The properties of a schema's objects, each between tags, in the order of the schema. A line feed
 * may stand around values and between tags, as templates write it.
 * @throws ERR_GRAMMAR as schemaToGrammar does, and for names that cannot be written
 */
export function xmlParameters(
  schema: unknown,
  { start, middle, end }: XmlStyle,
  options: SchemaOptions,
  builder: GrammarBuilder,
): Sym {
  const { regex } = builder;
  const line = builder.optional(builder.text('\n'));
  const nothing = builder.nothing();
  const names = regex.repeat(namesWithout(charsOf('<>"'), regex), 0, Infinity);
  const tags = {
    types: VALUE_TYPES,
    middle: builder.sequence(...middle.flatMap((tag) => [builder.text(tag), line])),
    end: builder.sequence(line, builder.text(end), line),
    marker: end,
  };
  const brackets = { open: line, comma: nothing, close: nothing, empty: line };
  const style = { brackets, start: builder.text(start), tags: [tags], names };
  return taggedParameters(schema, style, options, builder);
}

import { ALL_CHARS, charsOf, unionChars } from '../bytes.js';
import { textWithout } from '../free-text.js';
import type { GrammarBuilder, Sym } from '../grammar.js';
import type { Regex } from '../ir.js';
import { JSON_WORDS, type Notation } from '../notation.js';
import { Emitter } from './emit.js';
import { enforced, openSchema, type SchemaOptions } from './index.js';
import { namesWithout, PlainSyntax, SPACES, writableNames } from './syntaxes.js';

/** What stands around texts. */
export interface Quote {
  readonly mark: Sym;
  /** As it is found in a text; '' for a control token, which no text has. */
  readonly text: string;
}

/**
 * A schema's values, objects without quotes around names, `{a:1,b:<|"|>x<|"|>}`, texts as they are
 * between marks. Properties come in the order of the alphabet.
 * @throws ERR_GRAMMAR as schemaToGrammar does, and for names that cannot be written
 */
export function quotedValue(
  schema: unknown,
  quote: Quote,
  options: SchemaOptions,
  builder: GrammarBuilder,
): Sym {
  return enforced(
    options,
    (dropped) => {
      const syntax = new PlainSyntax(builder.regex, options);
      const { expansion, root } = openSchema(schema, options, builder, dropped, syntax);
      return new Emitter(expansion, notation(quote, options, builder)).value(root);
    },
    builder,
  );
}

function notation(
  { mark, text }: Quote,
  options: SchemaOptions,
  builder: GrammarBuilder,
): Notation {
  const { regex } = builder;
  const brackets = ([open, close]: string) => ({
    open: builder.text(open),
    comma: builder.text(','),
    close: builder.text(close),
    empty: builder.text(open + close),
  });
  return {
    object: brackets('{}'),
    array: brackets('[]'),
    words: JSON_WORDS,
    names: writableNames(names(builder), options),
    texts: textWithout([text], regex),
    // Templates of this style sort, what they describe as well as what they write.
    order: (a, b) => compare(a.toLowerCase(), b.toLowerCase()),
    key: (name) => builder.terminal(regex.concat(name, regex.text(':'))),
    text: (chars) => builder.sequence(mark, builder.terminal(chars), mark),
  };
}

/** Longest name, in characters. */
const MAX_NAME = 256;

/** No mark within, no space at an end. */
function names({ regex }: GrammarBuilder): Regex {
  const char = namesWithout(unionChars(SPACES, charsOf(':,{}[]"<>')), regex);
  const word = regex.repeat(char, 1, Infinity);
  const gap = regex.repeat(regex.text(' '), 1, Infinity);
  const words = regex.concat(word, regex.repeat(regex.concat(gap, word), 0, Infinity));
  return regex.optional(regex.and(words, regex.repeat(regex.chars(ALL_CHARS), 1, MAX_NAME)));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Spellings of texts that are not JSON's, and of names. */
import {
  ALL_CHARS,
  byteSet,
  type CharSet,
  charSet,
  charsOf,
  intersectChars,
  subtractChars,
} from '../bytes.js';
import type { GrammarBuilder } from '../grammar.js';
import type { Regex, RegexBuilder } from '../ir.js';
import { anyChar, JsonSyntax } from '../json.js';
import { jsonNotation, type Notation, PYTHON_WORDS, type WritableNames } from '../notation.js';
import type { SchemaOptions } from './index.js';
import { Refusal } from './refusal.js';

/** What `\s` of a regular expression is, and trim() takes away. */
export const SPACES: CharSet = charSet(
  ...charsOf('\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff'),
  [0x2000, 0x200a],
);
const CONTROLS = charSet([0, 0x1f], [0x7f, 0x9f]);
const HEX = byteSet([0x30, 0x39], [0x41, 0x46], [0x61, 0x66]);

/** Texts that stand as they are: no quotes, no escapes. */
export class PlainSyntax extends JsonSyntax {
  override readonly char: Regex = this.builder.chars(ALL_CHARS);
  override readonly chars: Regex = this.builder.repeat(this.char, 0, Infinity);

  override encode(set: CharSet): Regex {
    return this.builder.chars(set);
  }

  override spell(text: string): string {
    return text;
  }

  override spellings(text: string): Regex {
    return this.builder.text(text);
  }
}

/**
 * What stands within quotes of Python, of either kind: as in JSON, controls also as \xHH, a quote
 * itself with or without a backslash. {@link pythonNotation} keeps bare ones apart from their kind.
 */
export class PythonSyntax extends JsonSyntax {
  override readonly char: Regex = this.builder.alt(
    anyChar(this.builder),
    this.builder.texts(['"', "\\'"]),
    this.builder.concat(
      this.builder.text('\\x'),
      this.builder.repeat(this.builder.bytes(HEX), 2, 2),
    ),
  );
  override readonly chars: Regex = this.builder.repeat(this.char, 0, Infinity);

  override encode(set: CharSet): Regex {
    const quotes = ['"', "'"].filter((quote) => intersectChars(set, charsOf(quote)).length > 0);
    const escapes = quotes.flatMap((quote) => [quote, `\\${quote}`]);
    for (const [first, last] of intersectChars(set, CONTROLS)) {
      for (let code = first; code <= last; code++) {
        escapes.push(`\\x${code.toString(16).padStart(2, '0')}`);
      }
    }
    const others = super.encode(subtractChars(set, charsOf(`"'`)));
    return this.builder.alt(others, this.builder.texts(escapes));
  }

  override spell(text: string): string {
    return super.spell(text).replaceAll("'", "\\'");
  }

  override texts(texts: readonly string[]): Regex {
    const plain = texts.filter((text) => !/["']/.test(text));
    const quoted = texts.filter((text) => /["']/.test(text));
    return this.builder.altOf([super.texts(plain), ...quoted.map((text) => this.encoded(text))]);
  }

  override spellings(text: string): Regex {
    return /["']/.test(text) ? this.encoded(text) : super.spellings(text);
  }
}

/** Values as Python writes them, and as JSON does. */
export function pythonNotation(builder: GrammarBuilder, syntax: PythonSyntax): Notation {
  const { regex } = builder;
  const quoted = (chars: Regex) =>
    regex.altOf(
      ['"', "'"].map((quote) => {
        const plain = regex.chars(subtractChars(ALL_CHARS, charsOf(`\\${quote}`)));
        const escaped = regex.concat(regex.text('\\'), regex.chars(ALL_CHARS));
        const inner = regex.repeat(regex.alt(plain, escaped), 0, Infinity);
        return regex.concat(regex.text(quote), regex.and(chars, inner), regex.text(quote));
      }),
    );
  return {
    ...jsonNotation(builder, syntax),
    words: PYTHON_WORDS,
    key: (name) => builder.terminal(regex.concat(quoted(name), syntax.colon)),
    text: (chars) => builder.terminal(quoted(chars)),
  };
}

/** Names of none of these characters, nor of controls: as they are in any syntax. */
export function namesWithout(chars: CharSet, builder: RegexBuilder): Regex {
  const others = subtractChars(ALL_CHARS, charSet(...CONTROLS, ...chars));
  return builder.chars(others);
}

/** Refuses other names where the schema is strict, else leaves them out and says so. */
export function writableNames(regex: Regex, options: SchemaOptions): WritableNames {
  const { strict = true, warnings } = options;
  return {
    regex,
    unwritable(name, pointer) {
      const message = `a call of this model cannot spell the name ${JSON.stringify(name)}`;
      if (strict) throw new Refusal(pointer, `${message}: give it another`);
      const warning = `${pointer} is left out: ${message}`;
      if (warnings?.includes(warning) === false) warnings.push(warning);
    },
  };
}

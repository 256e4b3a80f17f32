/** The grammar of a call's arguments, by the tool's schema, in the style of a format. */
import { isOctavoError } from '../errors.js';
import { charsOf } from '../grammar/bytes.js';
import type { GrammarBuilder, Sym } from '../grammar/grammar.js';
import type { SpecLimits } from '../grammar/index.js';
import type { Regex } from '../grammar/ir.js';
import { schemaToGrammar } from '../grammar/schema/index.js';
import { pythonArguments } from '../grammar/schema/pythonic.js';
import { quotedValue } from '../grammar/schema/quoted.js';
import { namesWithout } from '../grammar/schema/syntaxes.js';
import { type TagStyle, type Tags, taggedParameters } from '../grammar/schema/tagged.js';
import type { Tool } from './definitions.js';
import { type ArgumentStyle, JSON_TYPES, type JsonType, type TaggedStyle } from './format.js';
import type { Literals } from './literals.js';
import { isMark } from './marks.js';
import { SchemaTypes } from './schema-types.js';

/** Longest name of an argument between tags. */
const MAX_NAME = 256;

export class ArgumentGrammar {
  readonly #builder: GrammarBuilder;
  readonly #literals: Literals;
  readonly #limits: SpecLimits;
  readonly #warnings: string[];

  constructor(builder: GrammarBuilder, literals: Literals, limits: SpecLimits, warnings: string[]) {
    this.#builder = builder;
    this.#literals = literals;
    this.#limits = limits;
    this.#warnings = warnings;
  }

  /** @throws ERR_GRAMMAR, with the tool's place */
  of(tool: Tool, style: ArgumentStyle): Sym {
    const param = `tools[${tool.place}].function.parameters`;
    const warnings: string[] = [];
    try {
      const symbol = this.#styled(tool, style, warnings);
      this.#warnings.push(...warnings.map((warning) => `${param}: ${warning}`));
      return symbol;
    } catch (error) {
      if (isOctavoError(error) && error.code === 'ERR_GRAMMAR') {
        error.message = `${param} (of ${tool.name}): ${error.message}`;
        Object.defineProperty(error, 'param', { value: param, enumerable: true });
      }
      throw error;
    }
  }

  #styled({ schema, strict }: Tool, style: ArgumentStyle, warnings: string[]): Sym {
    const builder = this.#builder;
    const { maxSchemaBytes, maxDepth, maxEnumBytes } = this.#limits;
    const options = { strict, maxSchemaBytes, maxDepth, maxEnumBytes, warnings };
    switch (style.kind) {
      case 'json':
        return schemaToGrammar(schema, options, builder);
      case 'python':
        return pythonArguments(schema, options, builder);
      case 'quoted': {
        const quote = { mark: this.#literals.text(style.quote), text: plain(style.quote) };
        return quotedValue(schema, quote, options, builder);
      }
      case 'tagged':
        return taggedParameters(schema, this.#tagStyle(schema, style), options, builder);
    }
  }

  #tagStyle(schema: Tool['schema'], style: TaggedStyle): TagStyle {
    const { start, mids, ends, separator } = style;
    const groups = new Map<string, JsonType[]>();
    for (const type of JSON_TYPES) {
      const around = `${mids[type]}\0${ends[type]}`;
      groups.set(around, [...(groups.get(around) ?? []), type]);
    }
    const tags = [...groups.values()].map((types): Tags => {
      const [mid, end] = [mids[types[0]], ends[types[0]]];
      const [middle, close] = [this.#literals.text(mid), this.#literals.text(end)];
      return { types, middle, end: close, marker: plain(end.trim()) };
    });
    const nothing = this.#builder.nothing();
    return {
      brackets: {
        ...{ open: nothing, close: nothing, empty: nothing },
        comma: this.#literals.text(separator),
      },
      start: this.#literals.text(start),
      tags,
      names: this.#names(Object.values(mids)),
      reader: new SchemaTypes(schema),
    };
  }

  /** Names that end where what stands behind them begins. */
  #names(mids: readonly string[]): Regex {
    const { regex } = this.#builder;
    const ends = mids.map((mid) => (isMark(mid[0] ?? '') ? '' : (mid[0] ?? '')));
    const char = namesWithout(charsOf(`<>"${ends.join('')}`), regex);
    return regex.repeat(char, 0, MAX_NAME);
  }
}

/** A marker as it may be found in a text: a control token is never. */
function plain(marker: string): string {
  return isMark(marker) ? '' : marker;
}

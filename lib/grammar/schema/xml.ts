import { ALL_CHARS, type CharSet } from '../bytes.js';
import { textWithout } from '../free-text.js';
import type { GrammarBuilder, Sym } from '../grammar.js';
import type { Regex } from '../ir.js';
import { JsonSyntax } from '../json.js';
import { Emitter } from './emit.js';
import { Expansion } from './expansion.js';
import { enforced, openSchema, type SchemaOptions } from './index.js';
import type { Node } from './node.js';
import { Refusal } from './refusal.js';
import type { ObjectShape } from './shapes.js';
import { Space } from './space.js';

/** How a style writes the parameters of a call. Texts stand as they are, all else as JSON. */
export interface XmlStyle {
  readonly open: (name: string) => string;
  readonly middle: string;
  readonly close: string;
  /** The text that ends a value. */
  readonly end: string;
}

export const XML_STYLES: ReadonlyMap<string, XmlStyle> = new Map([
  [
    'qwen_xml',
    {
      open: (name) => `<parameter=${name}>`,
      middle: '',
      close: '</parameter>',
      end: '</parameter>',
    },
  ],
  [
    'minimax_xml',
    {
      open: (name) => `<parameter name="${name}">`,
      middle: '',
      close: '</parameter>',
      end: '</parameter>',
    },
  ],
  [
    'glm_xml',
    {
      open: (name) => `<arg_key>${name}</arg_key>`,
      middle: '<arg_value>',
      close: '</arg_value>',
      end: '</arg_value>',
    },
  ],
]);

/**
 * The properties of a schema's objects, each between tags, in the order of the schema. A line feed
 * may stand around values and between tags, as templates write it.
 * @throws ERR_GRAMMAR as schemaToGrammar does
 */
export function xmlParameters(
  schema: unknown,
  style: XmlStyle,
  options: SchemaOptions,
  builder: GrammarBuilder,
): Sym {
  return enforced(options, (dropped) => {
    const { expansion, root, document } = openSchema(schema, options, builder, dropped);
    // Texts are spelled as they are here, and as JSON within objects and arrays.
    const plain = new Space(builder, new PlainSyntax(builder.regex, options), document.unevaluated);
    const closed = options.disableAdditionalProperties ?? false;
    const outside = new Expansion(plain, document, dropped, closed);
    const parameters = new Parameters(new Emitter(expansion), outside, style, builder);
    const shapes = expansion.set(root).objects;
    if (shapes.length === 0) throw new Refusal('', 'parameters need a schema of objects');
    const plainRoot = outside.keywords.node(schema, undefined, '');
    const ways = shapes.map((shape, i) => parameters.of(shape, outside.set(plainRoot).objects[i]));
    return builder.choice(...ways);
  });
}

/** Texts between tags: no quotes, no escapes. */
class PlainSyntax extends JsonSyntax {
  override readonly char: Regex = this.builder.chars(ALL_CHARS);
  override readonly chars: Regex = this.builder.repeat(this.char, 0, Infinity);

  override encode(set: CharSet): Regex {
    return this.builder.chars(set);
  }

  override spell(text: string): string {
    return text;
  }
}

class Parameters {
  readonly #emitter: Emitter;
  readonly #outside: Expansion;
  readonly #style: XmlStyle;
  readonly #builder: GrammarBuilder;

  constructor(emitter: Emitter, outside: Expansion, style: XmlStyle, builder: GrammarBuilder) {
    this.#emitter = emitter;
    this.#outside = outside;
    this.#style = style;
    this.#builder = builder;
  }

  of(shape: ObjectShape, plain: ObjectShape): Sym {
    const builder = this.#builder;
    const { named } = this.#emitter.expansion.layouts.of(shape);
    const plainNamed = this.#outside.layouts.of(plain).named;
    const required = named.filter((one) => one.required).length;
    if (shape.needs.length > 0 || shape.min > required || shape.max < named.length) {
      throw new Refusal(shape.pointer, 'the number of parameters cannot be enforced in this style');
    }
    const gap = builder.terminal(builder.regex.optional(builder.regex.text('\n')));
    const parts = named.map(({ name, node, required }, i) => {
      const one = builder.sequence(this.#parameter(name, node, plainNamed[i].node), gap);
      return required ? one : builder.optional(one);
    });
    return builder.sequence(gap, ...parts);
  }

  #parameter(name: string, node: Node, plain: Node): Sym {
    const builder = this.#builder;
    const { regex } = builder;
    const { open, middle, close, end } = this.#style;
    const line = regex.optional(regex.text('\n'));
    const inner = middle === '' ? regex.epsilon() : regex.concat(line, regex.text(middle));
    const head = regex.concat(regex.text(open(name)), inner, line);
    const texts = this.#outside.set(plain).strings;
    const written = regex.and(texts.written, textWithout([end], regex));
    const values = [builder.terminal(written)];
    const { expansion, space } = this.#emitter;
    values.push(this.#emitter.written({ ...expansion.set(node), strings: space.none.strings }));
    const tail = builder.terminal(regex.concat(line, regex.text(close)));
    return builder.sequence(builder.terminal(head), builder.choice(...values), tail);
  }
}

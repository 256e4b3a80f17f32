import { charsOf, unionChars } from '../bytes.js';
import type { GrammarBuilder, Sym } from '../grammar.js';
import { Emitter } from './emit.js';
import { enforced, openSchema, type SchemaOptions } from './index.js';
import { membersOf } from './members.js';
import { namesWithout, PythonSyntax, pythonNotation, SPACES, writableNames } from './syntaxes.js';
import type { MemberWriter } from './writer.js';

/**
 * The properties of a schema's objects as arguments of a call in Python: `a=1, b='x'`. Values are
 * Python's, or JSON's, which read the same. Names have no space, bracket, quote, backslash, nor any
 * of `= , * #`.
 * @throws ERR_GRAMMAR as schemaToGrammar does, and for names that cannot be written
 */
export function pythonArguments(
  schema: unknown,
  options: SchemaOptions,
  builder: GrammarBuilder,
): Sym {
  return enforced(
    options,
    (dropped) => {
      const { regex } = builder;
      const syntax = new PythonSyntax(regex, options);
      const { expansion, root } = openSchema(schema, options, builder, dropped, syntax);
      const values = new Emitter(expansion, pythonNotation(builder, syntax));
      const char = namesWithout(unionChars(SPACES, charsOf(`=,()[]{}'"*#\\`)), regex);
      const nothing = builder.nothing();
      const writer = {
        ...{ builder, expansion, space: expansion.space },
        notation: {
          object: { open: nothing, comma: builder.text(', '), close: nothing, empty: nothing },
          names: writableNames(regex.repeat(char, 1, Infinity), options),
        },
        member: (name, node) => {
          const key = builder.terminal(regex.concat(name, regex.text('=')));
          return builder.fuse([key, values.later(node)]);
        },
      } satisfies MemberWriter;
      const sym = membersOf(writer, root);
      values.finish();
      return sym;
    },
    builder,
  );
}

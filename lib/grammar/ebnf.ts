import { gbnfToGrammar } from './gbnf.js';
import type { GrammarBuilder, Sym } from './grammar.js';
import { larkToGrammar } from './lark.js';
import { grammarError } from './problem.js';
import { MAX_SOURCE_LENGTH } from './rules.js';
import type { TokenLookup } from './scanner.js';

export interface EbnfOptions {
  /** Ids of special tokens, for grammars that name some: `<|name|>`. */
  readonly tokens?: TokenLookup;
}

/**
 * A grammar as text, in GBNF (`root ::= …`) or Lark's style (`start: …`), told apart by how their
 * rules begin.
 * @throws ERR_GRAMMAR with the line of what is wrong
 */
export function ebnfToGrammar(
  source: string,
  builder: GrammarBuilder,
  options: EbnfOptions = {},
): Sym {
  if (source.length > MAX_SOURCE_LENGTH || /^[ \t]*[A-Za-z0-9_-]+\s*::=/m.test(source)) {
    return gbnfToGrammar(source, builder, options);
  }
  if (/^[ \t]*[?!]{0,2}[A-Za-z_]\w*(?:\.-?\d+)?[ \t]*:/m.test(source)) {
    return larkToGrammar(source, builder, options);
  }
  throw grammarError('the grammar has no rule: write root ::= … (GBNF) or start: … (Lark)');
}

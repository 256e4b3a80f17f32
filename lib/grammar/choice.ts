import type { GrammarBuilder, Sym } from './grammar.js';
import { grammarError } from './problem.js';

/**
 * One of these texts.
 * @param most bytes that all of them may have together; as many texts at most
 * @throws ERR_GRAMMAR where there is none, or they are too long
 */
export function choiceToSym(
  texts: readonly string[],
  builder: GrammarBuilder,
  most = 100_000,
): Sym {
  if (texts.length === 0) throw grammarError('choice is empty: give the texts to choose from');
  if (texts.length > most) {
    throw grammarError(`choice has ${texts.length} texts, ${most} are allowed: give fewer`);
  }
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (bytes > most) {
    throw grammarError(`choice has ${bytes} bytes of text, ${most} are allowed: give fewer`);
  }
  return builder.terminal(builder.regex.texts(texts));
}

/** The native matcher over a vocabulary of the 256 bytes. */
import type { Grammar } from '../../lib/grammar/grammar.js';
import { encodeProgram } from '../../lib/grammar/program.js';
import { testAddon } from './addon.js';

const LIMITS = { maxStates: 250_000, maxBytes: 256 << 20, maxMs: 20_000 };
const UTF8 = new TextEncoder();

/** Makes matchers that say whether a whole text is of a grammar. */
export async function byteMatchers() {
  const addon = testAddon();
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const offsets = Int32Array.from({ length: 258 }, (_, id) => Math.min(id, 256));
  const vocabulary = await addon.Vocabulary.build(bytes, offsets, Int32Array.of(256));
  return async (grammar: Grammar) => {
    const compiled = await addon.Grammar.compile(vocabulary, encodeProgram(grammar), LIMITS);
    return async (text: string): Promise<boolean> => {
      const matcher = compiled.start();
      const isTaken = UTF8.encode(text).every((byte) => matcher.advance(byte));
      while (matcher.complete() === null) await matcher.settle();
      if (matcher.failure !== '') throw new Error(matcher.failure);
      return isTaken && matcher.complete() === true;
    };
  };
}

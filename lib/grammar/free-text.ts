import { ALL_CHARS } from './bytes.js';
import type { Regex, RegexBuilder } from './ir.js';

/** Texts as UTF-8 that contain none of the words. */
export function textWithout(words: readonly string[], builder: RegexBuilder): Regex {
  const text = builder.repeat(builder.chars(ALL_CHARS), 0, Infinity);
  const real = words.filter((word) => word !== '');
  if (real.length === 0) return text;
  const any = builder.anyBytes();
  return builder.and(text, builder.not(builder.concat(any, builder.texts(real), any)));
}

/**
 * A text and then the word, where neither the word nor any of the others is found earlier: what a
 * reader who looks for the words cuts at just this place.
 */
export function textUntil(word: string, others: readonly string[], builder: RegexBuilder): Regex {
  const text = builder.repeat(builder.chars(ALL_CHARS), 0, Infinity);
  const words = [word, ...others].filter((other) => other !== '');
  if (words.length === 0) return text;
  const any = builder.anyBytes();
  const earlier = builder.concat(
    any,
    builder.texts(words),
    builder.repeat(builder.anyByte(), 1, Infinity),
  );
  // A longer word that ends where this one does would be found before it.
  const longer = words.filter((other) => other !== word && other.endsWith(word));
  const ending = builder.concat(any, builder.texts(longer));
  const whole = builder.concat(text, builder.text(word));
  return builder.and(whole, builder.not(builder.alt(earlier, ending)));
}

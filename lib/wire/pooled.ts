/** Writes texts that are computed whole into the words that POOLED_LAYOUT describes. */
import { POOLED_LAYOUT as L, POOLINGS, type Pooling } from './layout.js';

export interface PooledText {
  readonly tokenIds: ArrayLike<number>;
  /** As long as `tokenIds`; absent = all 0. */
  readonly tokenTypes?: ArrayLike<number>;
  readonly pooling: Pooling;
  /** Its angles come from the model's long table. */
  readonly longRope: boolean;
}

export interface PooledBatch {
  readonly texts: readonly PooledText[];
  /** The values of a text are the logits of these ids at its last token. */
  readonly tokenLogits?: readonly number[];
}

export function encodePooled({ texts, tokenLogits }: PooledBatch): Int32Array {
  const ids = tokenLogits ?? [];
  const numTexts = texts.length;
  const numTokens = texts.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
  const hasTypes = texts.some(({ tokenTypes }) => tokenTypes !== undefined);
  const tokensAt = L.headerWords + L.textWords * numTexts;
  const typesAt = tokensAt + numTokens;
  const idsAt = typesAt + (hasTypes ? numTokens : 0);
  const words = new Int32Array(idsAt + ids.length);
  words[L.headerVersion] = L.version;
  words[L.headerTotalWords] = words.length;
  words[L.headerNumTexts] = numTexts;
  words[L.headerNumTokens] = numTokens;
  words[L.headerHasTokenTypes] = Number(hasTypes);
  words[L.headerNumTokenLogits] = ids.length;
  let token = 0;
  texts.forEach(({ tokenIds, tokenTypes, pooling, longRope }, i) => {
    const column = L.headerWords + i;
    words[column + L.textLength * numTexts] = tokenIds.length;
    words[column + L.textPooling * numTexts] = POOLINGS[pooling];
    words[column + L.textLongRope * numTexts] = Number(longRope);
    words.set(tokenIds, tokensAt + token);
    if (tokenTypes !== undefined) words.set(tokenTypes, typesAt + token);
    token += tokenIds.length;
  });
  words.set(ids, idsAt);
  return words;
}

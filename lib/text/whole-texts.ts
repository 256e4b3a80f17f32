/** Texts that a model reads whole, alone or in pairs, and what is cut of those too long. */

/** What is asked of the library's encoding. */
export interface Encoded {
  getLength(): number;
  getIds(): number[];
  getTypeIds(): number[];
  /** Which text a token is of; null where it is of none. */
  getSequenceIds(): (number | null | undefined)[];
  tokenToSequence(token: number): number | null;
}

/** A text, or two that are read together. */
export interface WholeText {
  readonly text: string;
  /** Not beside `marked`. */
  readonly pair?: string;
  /** The text, other characters where it comes from outside and spells no control token; null: all
   * of it does. */
  readonly marked?: string | null;
}

export interface WholeOptions {
  /** Most tokens, special ones included. */
  readonly maxTokens: number;
  /** Whether a longer text is cut, or refused. */
  readonly truncate: boolean;
  readonly addSpecialTokens?: boolean;
}

export interface TokenizedText {
  readonly ids: readonly number[];
  /** The type of each token of a pair. */
  readonly types?: readonly number[];
  readonly isTruncated: boolean;
}

/** Special tokens that are put around texts, where not the library does. */
export interface Ends {
  readonly front?: number;
  /** Behind each text of a pair. */
  readonly back?: number;
  /** In front of the second of a pair. */
  readonly second?: number;
}

/** How many they are around a text, or around a pair. */
export function countEnds({ front, back, second }: Ends, isPair: boolean): number {
  const put = isPair ? [front, back, second, back] : [front, back];
  return put.filter((id) => id !== undefined).length;
}

/**
 * How many tokens of two texts stay where `most` do: the longer one is cut first, then both alike,
 * as the library's "longest first". (Which of two long texts has an odd token, the library decides
 * by how far it has read them.)
 */
export function longestFirst(first: number, second: number, most: number): [number, number] {
  let short = Math.min(first, second);
  let long = short > most ? short : Math.max(short, most - short);
  if (short + long > most) {
    short = Math.floor(most / 2);
    long = short + (most % 2);
  }
  return first > second ? [long, short] : [short, long];
}

/**
 * The ids of one text, cut to `most`: special tokens behind it stay.
 * @param ids of `encoding`, perhaps fewer of its text
 * @returns null where the special tokens alone are more than `most`
 */
export function cutSingle(ids: number[], encoding: Encoded, most: number): number[] | null {
  const length = encoding.getLength();
  const isAdded = (i: number) => i >= 0 && i < length && encoding.tokenToSequence(i) === null;
  let numFront = 0;
  while (isAdded(numFront)) numFront++;
  let numBack = 0;
  while (isAdded(length - 1 - numBack)) numBack++;
  if (numFront + numBack > most || numFront === length) return null;
  return [...ids.slice(0, most - numBack), ...ids.slice(ids.length - numBack)];
}

/**
 * The ids of two texts, cut to `most` where they are more.
 * @param ends put around both texts; they count
 * @returns null where special tokens alone are more than `most`
 */
export function pairOf(encoding: Encoded, ends: Ends, most: number): TokenizedText | null {
  const { front, back, second } = ends;
  const ids = encoding.getIds();
  const types = encoding.getTypeIds();
  const sources = encoding.getSequenceIds();
  const lengths = [0, 0];
  for (const source of sources) if (source === 0 || source === 1) lengths[source]++;
  const room = most - countEnds(ends, true) - (ids.length - lengths[0] - lengths[1]);
  if (room < 0) return null;
  const isTruncated = lengths[0] + lengths[1] > room;
  const left = isTruncated ? longestFirst(lengths[0], lengths[1], room) : lengths;
  const kept: [id: number, type: number][] = [];
  const put = (id: number | undefined, type: 0 | 1) => {
    if (id !== undefined) kept.push([id, type]);
  };
  put(front, 0);
  let isSecond = false;
  const turn = () => {
    isSecond = true;
    put(back, 0);
    put(second, 1);
  };
  for (let i = 0; i < ids.length; i++) {
    const source = sources[i];
    if (source === 1 && !isSecond) turn();
    if ((source === 0 || source === 1) && left[source]-- <= 0) continue;
    kept.push([ids[i], types[i]]);
  }
  if (!isSecond) turn();
  put(back, 1);
  return { ids: kept.map(([id]) => id), types: kept.map(([, type]) => type), isTruncated };
}

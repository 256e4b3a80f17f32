/** The merges of a BPE vocabulary in a GGUF file, as a tokenizer.json has them. */
import { shown } from '../arguments.js';
import {
  badKey,
  type GgufTokenizerMetadata,
  MAX_TOKEN_LENGTH,
  TokenType,
} from './gguf-metadata.js';
import { type IndexedVocabulary, JsonList } from './gguf-vocabulary.js';
import { Pacer } from './pacer.js';

/** Merges written at once; a stringification of so many takes a fraction of a millisecond. */
const CHUNK = 1024;

/**
 * The merges that a file lists: "left right" as they are, which the library reads faster than
 * pairs; or pairs, where one of them could be read in two ways. Whether there are such tokens the
 * library looks up anyway: see {@link checkMerges}.
 */
export async function listedMerges(metadata: GgufTokenizerMetadata): Promise<string> {
  const merges = metadata.merges ?? [];
  const pacer = new Pacer();
  let isClear = true;
  for (let i = 0; i < merges.length; i++) {
    if (pacer.due()) await pacer.turn();
    const merge: unknown = merges[i];
    if (typeof merge !== 'string') throw badKey('merges', `holds no string at ${i}.`);
    const space = merge.indexOf(' ', 1);
    if (space < 0) throw noMerge(merge, i);
    isClear &&= merge.lastIndexOf(' ') === space && merge[0] !== ' ' && !isOther(merge);
  }
  const list = new JsonList();
  const chunks = new Pacer(1);
  for (let i = 0; i < merges.length; i += CHUNK) {
    const some = merges.slice(i, i + CHUNK);
    list.add(JSON.stringify(isClear ? some : some.map(apart)).slice(1, -1));
    if (chunks.due()) await chunks.turn();
  }
  return `[${list.text}]`;
}

/** What the library takes for the head of a file of merges, and what is longer than any token. */
function isOther(merge: string): boolean {
  return merge.startsWith('#version') || merge.length > MAX_TOKEN_LENGTH;
}

function apart(merge: string): readonly [left: string, right: string] {
  const space = merge.indexOf(' ', 1);
  return [merge.slice(0, space), merge.slice(space + 1)];
}

function noMerge(merge: string, i: number): Error {
  return badKey('merges', `holds ${shown(merge)} at ${i}, which joins no two tokens.`);
}

/**
 * For a tokenizer that the library has refused, since its own words name no key.
 *
 * @throws ERR_MODEL_FORMAT where one of the listed merges joins no two tokens.
 */
export async function checkMerges(
  { merges = [] }: GgufTokenizerMetadata,
  { idOf, pacer }: IndexedVocabulary,
): Promise<void> {
  for (let i = 0; i < merges.length; i++) {
    if (pacer.due()) await pacer.turn();
    const [left, right] = apart(merges[i]);
    const areTokens = idOf.has(left) && idOf.has(right) && idOf.has(left + right);
    if (!areTokens) throw noMerge(merges[i], i);
  }
}

/** One pass of a radix sort: the ids in `order`, stably sorted by 16 bits of their keys. */
async function sortPass(
  order: Uint32Array,
  keys: Uint32Array,
  shift: number,
  pacer: Pacer,
): Promise<Uint32Array> {
  const starts = new Uint32Array(65537);
  for (let id = 0; id < keys.length; id++) {
    starts[((keys[id] >>> shift) & 0xffff) + 1]++;
    if (pacer.due()) await pacer.turn();
  }
  for (let i = 1; i <= 65536; i++) starts[i] += starts[i - 1];
  const next = new Uint32Array(order.length);
  for (let i = 0; i < order.length; i++) {
    next[starts[(keys[order[i]] >>> shift) & 0xffff]++] = order[i];
    if (pacer.due()) await pacer.turn();
  }
  return next;
}

/**
 * Ids by score, best first, equal scores by id: a radix sort on the bits of the float32 scores,
 * because a comparing sort of 256,000 cannot be cut into turns.
 *
 * @throws ERR_MODEL_FORMAT when a score is no finite number.
 */
async function byScore(scores: ArrayLike<number>, pacer: Pacer): Promise<Uint32Array> {
  const floats = new Float32Array(scores.length);
  const keys = new Uint32Array(floats.buffer);
  const order = new Uint32Array(scores.length);
  for (let id = 0; id < scores.length; id++) {
    if (!Number.isFinite(scores[id])) throw badKey('scores', `holds no finite number at ${id}.`);
    floats[id] = scores[id];
    const bits = keys[id];
    keys[id] = bits & 0x80000000 ? bits : ~bits & 0x7fffffff;
    order[id] = id;
    if (pacer.due()) await pacer.turn();
  }
  return sortPass(await sortPass(order, keys, 0, pacer), keys, 16, pacer);
}

/** Sum of the squares of all lengths: some seconds; 256,000 tokens of Gemma have 2e7. */
const MAX_CUT_WORK = 2e9;

/**
 * SentencePiece has no merges, only scores: of all neighbours whose union is a token it joins those
 * with the best score, the leftmost first. That is BPE with, for each token from the best score
 * down, every way to split it into two tokens as a merge.
 */
export async function scoredMerges(
  metadata: GgufTokenizerMetadata,
  vocabulary: IndexedVocabulary,
): Promise<string> {
  const { tokens, idOf, types, pacer } = vocabulary;
  const scores = metadata.scores ?? new Float32Array(tokens.length);
  const merges = (id: number | undefined) =>
    id !== undefined && (types[id] <= TokenType.NORMAL || types[id] === TokenType.UNUSED);
  // Each cut of a token hashes both its parts.
  const work = tokens.reduce((sum, token) => sum + token.length ** 2, 0);
  if (work > MAX_CUT_WORK) throw badKey('tokens', 'are too long.');
  const list = new JsonList();
  for (const id of await byScore(scores, pacer)) {
    if (!merges(id)) continue;
    const token = tokens[id];
    for (let cut = 1; cut < token.length; cut++) {
      if (pacer.due()) await pacer.turn();
      const left = token.slice(0, cut);
      const right = token.slice(cut);
      if (!merges(idOf.get(left)) || !merges(idOf.get(right))) continue;
      list.add(JSON.stringify([left, right]));
    }
  }
  return `[${list.text}]`;
}

/** The merges of a BPE vocabulary in a GGUF file, as a tokenizer.json has them. */
import { shown } from '../arguments.js';
import { badKey, type GgufTokenizerMetadata, TokenType } from './gguf-metadata.js';
import { JsonList, type Vocabulary } from './gguf-vocabulary.js';
import type { Pacer } from './pacer.js';

/** The merges that a file lists, as pairs. */
export async function listedMerges(
  metadata: GgufTokenizerMetadata,
  vocabulary: Vocabulary,
): Promise<string> {
  const { idOf, pacer } = vocabulary;
  const merges = metadata.merges ?? [];
  const list = new JsonList();
  for (let i = 0; i < merges.length; i++) {
    if (pacer.due()) await pacer.turn();
    const merge: unknown = merges[i];
    if (typeof merge !== 'string') throw badKey('merges', `holds no string at ${i}.`);
    const space = merge.indexOf(' ', 1);
    const left = merge.slice(0, space);
    const right = merge.slice(space + 1);
    const a = space < 0 ? undefined : idOf.get(left);
    const b = idOf.get(right);
    if (a === undefined || b === undefined || !idOf.has(left + right)) {
      throw badKey('merges', `holds ${shown(merge)} at ${i}, which joins no two tokens.`);
    }
    list.add(JSON.stringify([left, right]));
  }
  return `[${list.text}]`;
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
  vocabulary: Vocabulary,
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

import { badKey, checkMetadata, type GgufTokenizerMetadata, TokenType } from './gguf-metadata.js';
import { Pacer } from './pacer.js';
import { type PreTokenizer, preTokenizer } from './pre-tokenizers.js';
import { Tokenizer, type TokenizerConfig } from './tokenizer.js';

export type { GgufTokenizerMetadata } from './gguf-metadata.js';

/** The two files that {@link Tokenizer.fromJson} takes, as a GGUF file would have had them. */
export interface TokenizerFiles {
  /** Text of a tokenizer.json. */
  readonly json: string;
  readonly config: TokenizerConfig;
}

/** The tokens, checked, with what the pieces of the json need. */
interface Vocabulary {
  readonly tokens: readonly string[];
  readonly idOf: ReadonlyMap<string, number>;
  readonly types: ArrayLike<number>;
  readonly pacer: Pacer;
}

/** Types where the file has none: all normal, but the tokens that it names are control tokens. */
function typesOf(metadata: GgufTokenizerMetadata, count: number): ArrayLike<number> {
  if (metadata.token_type !== undefined) return metadata.token_type;
  const types = new Uint8Array(count).fill(TokenType.NORMAL);
  const { bos_token_id, eos_token_id, eot_token_id, eom_token_id, padding_token_id } = metadata;
  for (const id of [bos_token_id, eos_token_id, eot_token_id, eom_token_id, padding_token_id]) {
    if (id !== undefined) types[id] = TokenType.CONTROL;
  }
  return types;
}

async function readVocabulary(metadata: GgufTokenizerMetadata): Promise<Vocabulary> {
  const given = metadata.tokens ?? [];
  const types = typesOf(metadata, given.length);
  const tokens: string[] = [];
  const idOf = new Map<string, number>();
  const pacer = new Pacer();
  for (let id = 0; id < given.length; id++) {
    let token: unknown = given[id];
    if (typeof token !== 'string') throw badKey('tokens', `holds no string at ${id}.`);
    const type = types[id];
    if (!(Number.isInteger(type) && type >= 0 && type <= 6)) {
      throw badKey('token_type', `is ${String(type)} at ${id}; it must be 0 to 6.`);
    }
    if (token === '') token = `[EMPTY_${id}]`;
    else if (type === TokenType.USER_DEFINED && metadata.model === 'llama') {
      token = (token as string).replaceAll('\u2581', ' ');
    }
    const text = token as string;
    const other = idOf.get(text);
    if (other !== undefined)
      throw badKey('tokens', `holds ${JSON.stringify(text)} twice: ${other}, ${id}.`);
    idOf.set(text, id);
    tokens.push(text);
    if (pacer.due()) await pacer.turn();
  }
  return { tokens, idOf, types, pacer };
}

/** Pieces of JSON text joined in chunks, so that no single join is long. */
class JsonList {
  #done = '';
  #chunk: string[] = [];

  add(piece: string): void {
    if (this.#chunk.push(piece) >= 4096) this.#close();
  }

  #close(): void {
    if (this.#chunk.length === 0) return;
    this.#done += (this.#done === '' ? '' : ',') + this.#chunk.join(',');
    this.#chunk = [];
  }

  get text(): string {
    this.#close();
    return this.#done;
  }
}

async function vocabJson({ tokens, pacer }: Vocabulary): Promise<string> {
  const list = new JsonList();
  for (let id = 0; id < tokens.length; id++) {
    list.add(`${JSON.stringify(tokens[id])}:${id}`);
    if (pacer.due()) await pacer.turn();
  }
  return `{${list.text}}`;
}

/** Control, unknown and user-defined tokens: found in a text before anything else is. */
async function addedJson({ tokens, types, pacer }: Vocabulary): Promise<string> {
  const list = new JsonList();
  for (let id = 0; id < tokens.length; id++) {
    if (pacer.due()) await pacer.turn();
    const special = types[id] === TokenType.CONTROL || types[id] === TokenType.UNKNOWN;
    if (!special && types[id] !== TokenType.USER_DEFINED) continue;
    list.add(
      `{"id":${id},"content":${JSON.stringify(tokens[id])},"single_word":false,"lstrip":false,` +
        `"rstrip":false,"normalized":false,"special":${special}}`,
    );
  }
  return `[${list.text}]`;
}

/** The merges a byte-level file lists, as pairs. */
async function listedMerges(
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
      throw badKey('merges', `holds ${JSON.stringify(merge)} at ${i}, which joins no two tokens.`);
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

/**
 * SentencePiece has no merges, only scores: of all neighbours whose union is a token it joins those
 * with the best score, the leftmost first. That is BPE with, for each token from the best score
 * down, every way to split it into two tokens as a merge.
 */
async function scoredMerges(
  metadata: GgufTokenizerMetadata,
  vocabulary: Vocabulary,
): Promise<string> {
  const { tokens, idOf, types, pacer } = vocabulary;
  const scores = metadata.scores ?? [];
  const merges = (id: number | undefined) =>
    id !== undefined && (types[id] <= TokenType.NORMAL || types[id] === TokenType.UNUSED);
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

const SPACE = '\u2581';

function sentencePieceShape(prefix: boolean): Record<string, unknown> {
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: SPACE };
  const prepend = { type: 'Prepend', prepend: SPACE };
  const back = { type: 'Replace', pattern: { String: SPACE }, content: ' ' };
  const decoders = [back, { type: 'ByteFallback' }, { type: 'Fuse' }];
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 };
  return {
    normalizer: { type: 'Sequence', normalizers: prefix ? [prepend, replace] : [replace] },
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders: prefix ? [...decoders, strip] : decoders },
  };
}

function byteLevelShape(pre: PreTokenizer): Record<string, unknown> {
  const level = {
    type: 'ByteLevel',
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: false,
  };
  const splits = pre.patterns.map((pattern) => ({
    type: 'Split',
    pattern: { Regex: pattern },
    behavior: 'Isolated',
    invert: false,
  }));
  return {
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [...splits, level] },
    decoder: level,
  };
}

/** Members of `model` besides vocab and merges. */
function modelShape(
  metadata: GgufTokenizerMetadata,
  vocabulary: Vocabulary,
  ignoreMerges: boolean,
) {
  const { tokens, types } = vocabulary;
  const bytes = Array.prototype.includes.call(types, TokenType.BYTE);
  for (let id = 0; bytes && id < tokens.length; id++) {
    if (types[id] !== TokenType.BYTE || /^<0x[0-9A-F]{2}>$/.test(tokens[id])) continue;
    throw badKey(
      'token_type',
      `calls ${JSON.stringify(tokens[id])} (${id}) a byte, which it is not.`,
    );
  }
  const spm = metadata.model === 'llama';
  const unknown =
    metadata.unknown_token_id ?? Array.prototype.indexOf.call(types, TokenType.UNKNOWN);
  return {
    type: 'BPE',
    dropout: null,
    unk_token: spm && unknown >= 0 ? tokens[unknown] : null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: spm,
    byte_fallback: spm && bytes,
    ignore_merges: ignoreMerges,
  };
}

function configOf(
  metadata: GgufTokenizerMetadata,
  vocabulary: Vocabulary,
  addBos: boolean,
): TokenizerConfig {
  const token = (id: number | undefined) => (id === undefined ? undefined : vocabulary.tokens[id]);
  for (const [flag, key] of [
    ['add_bos_token', 'bos_token_id'],
    ['add_eos_token', 'eos_token_id'],
  ]) {
    if (metadata[flag] !== true || metadata[key] !== undefined) continue;
    throw badKey(key, `is missing, though tokenizer.ggml.${flag} asks for it.`);
  }
  return {
    bos_token: token(metadata.bos_token_id),
    eos_token: token(metadata.eos_token_id),
    pad_token: token(metadata.padding_token_id),
    unk_token: token(metadata.unknown_token_id),
    add_bos_token: metadata.add_bos_token ?? addBos,
    add_eos_token: metadata.add_eos_token ?? false,
  };
}

/**
 * Turns the tokenizer of a GGUF file into a tokenizer.json and a tokenizer_config.json. Gives the
 * event loop a turn every few milliseconds (V8's own pauses add up to 15 ms at 256,000 tokens on a
 * slow machine); 150,000 tokens take about 0.7 s in all, 256,000 about 2 s.
 *
 * @throws ERR_MODEL_FORMAT for missing or inconsistent metadata, naming the key;
 *   ERR_MODEL_UNSUPPORTED for a tokenizer model or pre-tokenizer that is not known, naming it.
 */
export async function ggufTokenizerFiles(metadata: GgufTokenizerMetadata): Promise<TokenizerFiles> {
  checkMetadata(metadata);
  const pre = metadata.model === 'gpt2' ? preTokenizer(metadata.pre) : undefined;
  const vocabulary = await readVocabulary(metadata);
  const config = configOf(metadata, vocabulary, pre?.addBos ?? true);
  const added = await addedJson(vocabulary);
  const shape = pre ? byteLevelShape(pre) : sentencePieceShape(metadata.add_space_prefix ?? true);
  const model = modelShape(metadata, vocabulary, pre?.ignoreMerges ?? false);
  const vocab = await vocabJson(vocabulary);
  const merges = await (pre ? listedMerges : scoredMerges)(metadata, vocabulary);
  const outer = JSON.stringify({ version: '1.0', truncation: null, padding: null, ...shape });
  const inner = JSON.stringify(model).slice(0, -1);
  const json =
    `${outer.slice(0, -1)},"added_tokens":${added},"post_processor":null,` +
    `"model":${inner},"vocab":${vocab},"merges":${merges}}}`;
  return { json, config };
}

/**
 * The tokenizer of a GGUF file: {@link ggufTokenizerFiles}, then {@link Tokenizer.fromJson} (which
 * blocks, see there).
 *
 * @throws what the two throw.
 */
export async function ggufTokenizer(
  metadata: GgufTokenizerMetadata,
  name = 'the GGUF tokenizer',
): Promise<Tokenizer> {
  const { json, config } = await ggufTokenizerFiles(metadata);
  return Tokenizer.fromJson(json, config, name);
}

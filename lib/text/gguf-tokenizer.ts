import { checkMerges, listedMerges, scoredMerges } from './gguf-merges.js';
import {
  badKey,
  checkMetadata,
  type GgufTokenizerMetadata,
  type TokenizerModel,
} from './gguf-metadata.js';
import {
  byteLevelShape,
  characterShape,
  type Shape,
  unigramShape,
  wordPieceShape,
} from './gguf-shapes.js';
import {
  addedJson,
  indexed,
  readVocabulary,
  scoredVocabJson,
  type Vocabulary,
  vocabJson,
} from './gguf-vocabulary.js';
import { preTokenizer } from './pre-tokenizers.js';
import { Tokenizer, type TokenizerConfig } from './tokenizer.js';

export type { GgufTokenizerMetadata } from './gguf-metadata.js';

/** What {@link Tokenizer.fromJson} takes, as if a GGUF file would have had them. */
export interface TokenizerFiles {
  /** Text of a tokenizer.json. */
  readonly json: string;
  readonly config: TokenizerConfig;
  /** Rules that come before what the json says (see sentence-rules.ts). */
  readonly charsmap?: Uint8Array;
}

/** The tokens around a text, by id. */
interface Ends {
  readonly front: number | undefined;
  readonly back: number | undefined;
}

/** Which tokens a text gets in front and behind; whether the file says so or the model's kind. */
function endsOf(metadata: GgufTokenizerMetadata, model: TokenizerModel, addBos: boolean): Ends {
  const { bos_token_id: bos, eos_token_id: eos } = metadata;
  if (model === 'bert') {
    const front = bos ?? metadata.cls_token_id;
    const back = metadata.seperator_token_id ?? eos;
    if (front === undefined) throw badKey('cls_token_id', 'is missing.');
    if (back === undefined) throw badKey('seperator_token_id', 'is missing.');
    return { front, back };
  }
  for (const [flag, key] of [
    ['add_bos_token', 'bos_token_id'],
    ['add_eos_token', 'eos_token_id'],
  ]) {
    if (metadata[flag] !== true || metadata[key] !== undefined) continue;
    throw badKey(key, `is missing, though tokenizer.ggml.${flag} asks for it.`);
  }
  // Files of Gemma 4 say no, and all of its templates begin with it.
  const first = model === 'gemma4' || (metadata.add_bos_token ?? addBos);
  const last = metadata.add_eos_token ?? model === 't5';
  return { front: first ? bos : undefined, back: last ? eos : undefined };
}

function configOf(
  metadata: GgufTokenizerMetadata,
  model: TokenizerModel,
  { tokens }: Vocabulary,
  { front, back }: Ends,
): TokenizerConfig {
  const token = (id: number | undefined) => (id === undefined ? undefined : tokens[id]);
  const bert = model === 'bert';
  return {
    bos_token: token(bert ? front : metadata.bos_token_id),
    eos_token: token(bert ? back : metadata.eos_token_id),
    pad_token: token(metadata.padding_token_id),
    unk_token: token(metadata.unknown_token_id),
    add_bos_token: front !== undefined,
    add_eos_token: back !== undefined,
  };
}

/** Encoders have their ends in the tokenizer.json, where pairs of texts have them too. */
function pairTemplate(model: TokenizerModel, { tokens }: Vocabulary, { front, back }: Ends) {
  if (model !== 'bert' && model !== 't5') return null;
  if (front === undefined && back === undefined) return null;
  const piece = (id: number | undefined, type_id = 0) =>
    id === undefined ? [] : [{ SpecialToken: { id: tokens[id], type_id } }];
  const text = (id: string, type_id = 0) => ({ Sequence: { id, type_id } });
  const single = [...piece(front), text('A'), ...piece(back)];
  // XLM-R's form has two ends between its texts, and all of one type.
  const between = model === 't5' && front !== undefined ? piece(back) : [];
  const type = model === 'bert' ? 1 : 0;
  const named = [front, back].filter((id) => id !== undefined);
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, ...between, text('B', type), ...piece(back, type)],
    special_tokens: Object.fromEntries(
      named.map((id) => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }]),
    ),
  };
}

/** The names under which byte-level files bring Gemma's kind of BPE. */
const CHARACTER_BPE = new Set(['gemma4', 'granite-embed-multi-311m']);

/** What there is to tell of a model of tokenizer. */
interface Kind {
  readonly shape: Shape;
  /** Further members of `model`, as JSON. */
  readonly lists: string;
}

async function kindOf(
  model: TokenizerModel,
  metadata: GgufTokenizerMetadata,
  vocabulary: Vocabulary,
): Promise<Kind> {
  if (model === 't5') {
    const shape = unigramShape(metadata, await indexed(vocabulary));
    return { shape, lists: `"vocab":${await scoredVocabJson(metadata, vocabulary)}` };
  }
  const vocab = `"vocab":${await vocabJson(vocabulary)}`;
  if (model === 'bert') return { shape: wordPieceShape(metadata, vocabulary), lists: vocab };
  if (model === 'gpt2') {
    const shape = byteLevelShape(preTokenizer(metadata.pre));
    return { shape, lists: `${vocab},"merges":${await listedMerges(metadata)}` };
  }
  const known = await indexed(vocabulary);
  const shape = characterShape(metadata, known);
  const merges = model === 'llama' ? scoredMerges(metadata, known) : listedMerges(metadata);
  return { shape, lists: `${vocab},"merges":${await merges}` };
}

/**
 * Turns the tokenizer of a GGUF file into a tokenizer.json and a tokenizer_config.json. Gives the
 * event loop a turn every few milliseconds (V8's own pauses add up to 15 ms at 256,000 tokens on a
 * slow machine); 150,000 tokens with listed merges take about 0.2 s in all, 256,000 of
 * SentencePiece, whose merges are found first, about 2 s.
 *
 * @throws ERR_MODEL_FORMAT for missing or inconsistent metadata, naming the key;
 *   ERR_MODEL_UNSUPPORTED for a tokenizer model or pre-tokenizer that is not known, naming it.
 */
export async function ggufTokenizerFiles(metadata: GgufTokenizerMetadata): Promise<TokenizerFiles> {
  const named = checkMetadata(metadata);
  const model = named === 'gpt2' && CHARACTER_BPE.has(metadata.pre ?? '') ? 'gemma4' : named;
  const addBos = model === 'gpt2' ? preTokenizer(metadata.pre).addBos : model === 'llama';
  const vocabulary = await readVocabulary(metadata);
  const ends = endsOf(metadata, model, addBos);
  const config = configOf(metadata, model, vocabulary, ends);
  const added = await addedJson(vocabulary);
  const { shape, lists } = await kindOf(model, metadata, vocabulary);
  const { model: head, ...parts } = shape;
  const outer = JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    ...parts,
    post_processor: pairTemplate(model, vocabulary, ends),
  });
  const inner = JSON.stringify(head).slice(0, -1);
  const json = `${outer.slice(0, -1)},"added_tokens":${added},"model":${inner},${lists}}}`;
  const { precompiled_charsmap: rules } = metadata;
  if (model !== 't5' || rules === undefined || rules.length === 0) return { json, config };
  return { json, config, charsmap: Uint8Array.from(rules) };
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
  const { json, config, charsmap } = await ggufTokenizerFiles(metadata);
  try {
    const tokenizer = Tokenizer.fromJson(json, config, name, { charsmap });
    if (tokenizer.vocabSize === metadata.tokens?.length) return tokenizer;
    // One of two tokens that are the same is not there; which, is told here.
    await indexed(await readVocabulary(metadata));
    return tokenizer;
  } catch (error) {
    const hasMerges = metadata.model === 'gpt2' || metadata.model === 'gemma4';
    if (hasMerges) await checkMerges(metadata, await indexed(await readVocabulary(metadata)));
    throw error;
  }
}

/**
 * What stands around the vocabulary in a tokenizer.json, for each model of tokenizer that a GGUF
 * file may have.
 */
import { badKey, type GgufTokenizerMetadata } from './gguf-metadata.js';
import {
  hasBytes,
  type IndexedVocabulary,
  SPACE,
  unknownId,
  type Vocabulary,
} from './gguf-vocabulary.js';
import type { PreTokenizer } from './pre-tokenizers.js';

type Json = Record<string, unknown>;

/** Members of a tokenizer.json; `model` without its vocabulary. */
export interface Shape {
  readonly normalizer: Json | null;
  readonly pre_tokenizer: Json | null;
  readonly decoder: Json;
  readonly model: Json;
}

const replace = (pattern: Json, content: string): Json => ({ type: 'Replace', pattern, content });
const SPACES_TO_MARKS = replace({ String: ' ' }, SPACE);
const MARKS_TO_SPACES = replace({ String: SPACE }, ' ');
const PREPEND = { type: 'Prepend', prepend: SPACE };
/** The space that was put in front of a text. */
const STRIP = { type: 'Strip', content: ' ', start: 1, stop: 0 };

function bpe(more: Json): Json {
  return {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    ...more,
  };
}

/** Byte-level BPE. */
export function byteLevelShape(pre: PreTokenizer): Shape {
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
    normalizer: pre.normalizer === null ? null : { type: pre.normalizer },
    pre_tokenizer: { type: 'Sequence', pretokenizers: [...splits, level] },
    decoder: level,
    model: bpe({ ignore_merges: pre.ignoreMerges }),
  };
}

/** BPE over the characters of a whole text, spaces as marks: SentencePiece's, and Gemma 4's. */
export function characterShape(
  metadata: GgufTokenizerMetadata,
  vocabulary: IndexedVocabulary,
): Shape {
  const prefix = metadata.model === 'llama' && (metadata.add_space_prefix ?? true);
  const unknown = unknownId(metadata, vocabulary);
  const decoders = [MARKS_TO_SPACES, { type: 'ByteFallback' }, { type: 'Fuse' }];
  return {
    normalizer: {
      type: 'Sequence',
      normalizers: prefix ? [PREPEND, SPACES_TO_MARKS] : [SPACES_TO_MARKS],
    },
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders: prefix ? [...decoders, STRIP] : decoders },
    model: bpe({
      unk_token: unknown === undefined ? null : vocabulary.tokens[unknown],
      fuse_unk: true,
      byte_fallback: hasBytes(vocabulary),
    }),
  };
}

function neededUnknown(metadata: GgufTokenizerMetadata, vocabulary: Vocabulary): number {
  const id = unknownId(metadata, vocabulary);
  if (id === undefined)
    throw badKey('unknown_token_id', 'is missing, and no token is of its type.');
  return id;
}

/** WordPiece as BERT has it. */
export function wordPieceShape(metadata: GgufTokenizerMetadata, vocabulary: Vocabulary): Shape {
  return {
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: metadata['normalizer.strip_accents'] ?? null,
      lowercase: metadata['normalizer.lowercase'] ?? true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
    model: {
      type: 'WordPiece',
      unk_token: vocabulary.tokens[neededUnknown(metadata, vocabulary)],
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
    },
  };
}

/** SentencePiece's unigram. */
export function unigramShape(
  metadata: GgufTokenizerMetadata,
  vocabulary: IndexedVocabulary,
): Shape {
  const unknown = neededUnknown(metadata, vocabulary);
  const bytes = hasBytes(vocabulary);
  const prefix = metadata.add_space_prefix ?? true;
  const surface = replace({ Regex: `\\A${escaped(vocabulary.tokens[unknown])}\\z` }, ' \u2047 ');
  const decoders = [surface, MARKS_TO_SPACES, ...(bytes ? [{ type: 'ByteFallback' }] : [])];
  return {
    normalizer: { type: 'Sequence', normalizers: unigramNormalizers(metadata, prefix) },
    pre_tokenizer: wordsApart(vocabulary),
    decoder: {
      type: 'Sequence',
      decoders: [...decoders, { type: 'Fuse' }, ...(prefix ? [STRIP] : [])],
    },
    model: { type: 'Unigram', unk_id: unknown, byte_fallback: bytes },
  };
}

/** What comes behind the compiled rules. */
function unigramNormalizers(metadata: GgufTokenizerMetadata, prefix: boolean): Json[] {
  const single = metadata.remove_extra_whitespaces === true;
  const parts: Json[] = [];
  if (single) {
    parts.push(replace({ Regex: ' {2,}' }, ' '), replace({ Regex: '\\A ' }, ''));
  }
  if (prefix) parts.push(PREPEND);
  parts.push(SPACES_TO_MARKS);
  // Marks that the text brought go, too; only from the first of a run on, so that runs cost little.
  if (single) parts.push(replace({ Regex: `(?<!${SPACE})${SPACE}++\\z` }, ''));
  return parts;
}

/**
 * Cuts a text before its spaces where no token goes across one: that changes nothing, but the
 * library needs memory for a whole part at once, and remembers short ones.
 */
function wordsApart({ tokens, idOf }: IndexedVocabulary): Json | null {
  if (!idOf.has(SPACE)) return null;
  const across = new RegExp(`[^${SPACE}]${SPACE}`);
  if (tokens.some((token) => across.test(token))) return null;
  return {
    type: 'Split',
    pattern: { Regex: `${SPACE}+` },
    behavior: 'MergedWithNext',
    invert: false,
  };
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

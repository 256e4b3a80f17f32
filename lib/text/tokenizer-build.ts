/** From a tokenizer.json to the library's object, and what is read of the file beside it. */
import { Tokenizer as Library } from 'tokenizers';
import { z } from 'zod';
import { octavoError } from '../errors.js';
import { byteToken } from './byte-runs.js';
import { MAX_TOKEN_LENGTH } from './gguf-metadata.js';
import { jsonMembers } from './json-members.js';
import { SentenceRules } from './sentence-rules.js';
import { parts } from './tokenizer-config.js';
import { checkTokenizerShape } from './tokenizer-shape.js';

const headSchema = z.object({
  added_tokens: z
    .array(
      z.object({
        id: z.number(),
        content: z.string().max(MAX_TOKEN_LENGTH),
        special: z.boolean().default(false),
      }),
    )
    .nullish(),
  post_processor: z.unknown().optional(),
  decoder: z.unknown().optional(),
  model: z.unknown().optional(),
});
/** What is read of a tokenizer.json here; all of it but vocabulary and merges. */
const HEAD = {
  added_tokens: true,
  normalizer: true,
  pre_tokenizer: true,
  post_processor: true,
  decoder: true,
  model: {
    type: true,
    continuing_subword_prefix: true,
    fuse_unk: true,
    unk_token: true,
    unk_id: true,
  },
} as const;

/** Ids of byte-fallback tokens, where the tokenizer's decoder takes them for bytes. */
export function byteIds(library: Library, decoder: unknown): Map<number, number> {
  const ids = new Map<number, number>();
  if (!parts(decoder).some((part) => part.type === 'ByteFallback')) return ids;
  for (let byte = 0; byte < 256; byte++) {
    const id = library.tokenToId(byteToken(byte));
    if (id !== null) ids.set(id, byte);
  }
  return ids;
}

export interface Built {
  readonly library: Library;
  readonly head: z.output<typeof headSchema>;
  readonly rules: SentenceRules | undefined;
}

export function build(json: string, name: string, charsmap: Uint8Array | undefined): Built {
  try {
    const members = jsonMembers(json, HEAD, MAX_TOKEN_LENGTH);
    checkTokenizerShape(members);
    const head = headSchema.parse(members);
    const library = Library.fromString(json);
    library.disableTruncation();
    library.disablePadding();
    const rules = charsmap && new SentenceRules(charsmap, head.added_tokens ?? []);
    return { library, head, rules };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw octavoError('ERR_TOKENIZER', `${name} is not a tokenizer the library can read: ${why}`, {
      param: name,
      cause,
    });
  }
}

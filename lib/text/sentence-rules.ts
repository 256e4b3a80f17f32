/**
 * SentencePiece's normalization of a text by its compiled rules (see charsmap.ts): at each place
 * the longest key is replaced. The library's own way with them works on whole graphemes and takes
 * the shortest key, which loses combining marks and leaves Hangul apart.
 */
import { octavoError } from '../errors.js';
import { Charsmap, charsmapFault } from './charsmap.js';
import { Pacer } from './pacer.js';

/** Bytes that rules may add to a text, more than the longest text has. */
const MAX_BYTES = 2 ** 26;
/** Pieces or bytes that are gathered before they become text. */
const CHUNK = 1 << 14;

/** A text as it goes on: what was meant as tokens is as it was. */
export interface Normalized {
  readonly text: string;
  /** As long as the text, spelling only the tokens that are meant; see ControlTokens.cuts. */
  readonly marked: string;
}

interface Added {
  readonly content: string;
  readonly special: boolean;
}

/** Stands for what is no token in {@link Normalized.marked}. */
const OTHER = '\0';

export class SentenceRules {
  readonly #map: Charsmap;
  readonly #added: readonly Added[];
  readonly #firsts: ReadonlySet<string>;

  /**
   * @param bytes the rules
   * @param added tokens that are found in a text before it is normalized
   * @throws Error whose message says what is wrong with the rules
   */
  constructor(bytes: Uint8Array, added: readonly Added[]) {
    const fault = charsmapFault(Buffer.from(bytes).toString('base64'));
    if (fault !== undefined) throw new Error(`its tokenizer ${fault}`);
    this.#map = new Charsmap(bytes);
    this.#added = [...added].sort((a, b) => b.content.length - a.content.length);
    this.#firsts = new Set(added.map(({ content }) => content[0]));
  }

  /**
   * @param marked the text, other characters where it comes from outside; null: all of it does
   * @throws ERR_PROMPT_TOO_LONG when the rules make too much of it
   */
  async apply(text: string, marked: string | null): Promise<Normalized> {
    const pacer = new Pacer();
    const out = { text: '', marked: '' };
    let from = 0;
    for (let at = 0; at < text.length; at++) {
      if (pacer.due()) await pacer.turn();
      if (!this.#firsts.has(text[at])) continue;
      const token = this.#tokenAt(text, marked, at);
      if (token === undefined) continue;
      await this.#add(text.slice(from, at), out, pacer);
      out.text += token;
      out.marked += token;
      from = at + token.length;
      at = from - 1;
    }
    await this.#add(text.slice(from), out, pacer);
    return out;
  }

  #tokenAt(text: string, marked: string | null, at: number): string | undefined {
    return this.#added.find(
      ({ content, special }) =>
        text.startsWith(content, at) && (!special || marked?.startsWith(content, at)),
    )?.content;
  }

  async #add(piece: string, out: { text: string; marked: string }, pacer: Pacer): Promise<void> {
    if (piece === '') return;
    const normalized = await this.#normalize(Buffer.from(piece), pacer);
    out.text += normalized;
    out.marked += OTHER.repeat(normalized.length);
  }

  async #normalize(bytes: Buffer, pacer: Pacer): Promise<string> {
    const { replacements } = this.#map;
    let done = '';
    let chunk: string[] = [];
    let total = 0;
    let kept = 0;
    const keepTo = (end: number) => {
      if (end > kept) chunk.push(bytes.toString('utf8', kept, end));
    };
    for (let at = 0; at < bytes.length; ) {
      if (pacer.due()) await pacer.turn();
      if (chunk.length >= CHUNK || at - kept >= CHUNK) {
        keepTo(at);
        kept = at;
        done += chunk.join('');
        chunk = [];
      }
      const key = this.#map.longest(bytes, at);
      if (key === undefined) {
        at += sizeOf(bytes[at]);
        continue;
      }
      keepTo(at);
      chunk.push(replacements.toString('utf8', key.from, key.to));
      total += key.to - key.from;
      if (total > MAX_BYTES) throw tooLong();
      at += key.length;
      kept = at;
    }
    keepTo(bytes.length);
    return done + chunk.join('');
  }
}

/** Bytes of the character that a byte begins. */
function sizeOf(lead: number): number {
  if (lead < 0xc0) return 1;
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

function tooLong(): Error {
  return octavoError(
    'ERR_PROMPT_TOO_LONG',
    `the tokenizer's rules make more than ${MAX_BYTES} bytes of the text; shorten it`,
    { param: 'prompt' },
  );
}

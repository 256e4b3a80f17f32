/**
 * The tokens that steer a model, and how a text is kept from spelling them. The library takes every
 * spelling of an added token for the token. Where one is not meant, the text is cut inside it; the
 * cut is a token of its own, unknown outside, whose ids are dropped.
 */
import { randomUUID } from 'node:crypto';
import { AddedToken, type Tokenizer as Library } from 'tokenizers';
import { Pacer } from './pacer.js';

/** Where pre-tokens of a text begin, in UTF-16 units; what lies between two is tokenized alone. */
export type Boundaries = (text: string) => readonly number[];

/** Not special in some checkpoints (DeepSeek's roles), and control tokens all the same. */
const BARRED = /^<[|｜][^<>]*[|｜]>$/;

/** Letters, digits, spaces and what templates and JSON have other uses for. */
const COMMON = /[\p{L}\p{M}\p{N}\s"'\\%{}&_.\-+*/~^]/u;

/** Characters around a spelling that say where its pre-tokens begin. */
const CONTEXT = 16;

/** So many are cut where pre-tokens meet; any more, which is faster, behind the first character. */
const MAX_EXACT = 64;

/** Of a text, as much as is searched at once: a quarter of a millisecond. */
const WINDOW = 65_536;

/** Letters and digits alone, whatever their case. */
const bare = (text: string) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');

/** The first and the last character that a template has no other use for. */
function endsOf(token: string): string[] {
  const chars = Array.from(token).filter((c) => c.length === 1 && !COMMON.test(c));
  return chars.length === 0 ? [] : [chars[0], chars[chars.length - 1]];
}

type Span = readonly [start: number, end: number];

export class ControlTokens {
  /** What marks are to keep apart, in texts that come from outside. */
  readonly chars: string;
  readonly #pattern: RegExp | null;
  /** All spellings, a line each; and with letters and digits alone. */
  readonly #spelled: { readonly raw: string; readonly bare: string };
  readonly #longest: number;

  /** @param tokens added ones; of a single character none can be cut */
  constructor(tokens: readonly { readonly content: string; readonly special: boolean }[]) {
    const control = tokens
      .filter(({ content, special }) => special || BARRED.test(content))
      .map(({ content }) => content)
      .filter((content) => Array.from(content).length > 1)
      .sort((a, b) => b.length - a.length);
    this.chars = [...new Set(control.flatMap(endsOf))].join('');
    const escaped = control.map((content) => content.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
    this.#pattern = escaped.length === 0 ? null : new RegExp(escaped.join('|'));
    this.#spelled = { raw: control.join('\n').toLowerCase(), bare: control.map(bare).join('\n') };
    this.#longest = Math.max(0, ...control.map(({ length }) => length));
  }

  /** Whether a word is part of a token's spelling, cases and punctuation aside. */
  holds(word: string): boolean {
    const part = bare(word);
    if (part !== '') return this.#spelled.bare.includes(part);
    return this.#spelled.raw !== '' && this.#spelled.raw.includes(word.trim().toLowerCase());
  }

  /**
   * Where a text is to be cut, so that only those control tokens stand whole that `marked` spells
   * too. In small steps: null is one without a cut.
   *
   * @param marked the text, other characters standing for what comes from outside; null: all does
   */
  *cuts(text: string, marked: string | null, boundaries: Boundaries): Generator<number | null> {
    if (this.#pattern === null || text === marked) return;
    const meant = marked ?? '';
    let own = yield* this.#next(meant, 0);
    let numCuts = 0;
    for (let found = yield* this.#next(text, 0); found !== undefined; ) {
      const [start, end] = found;
      while (own !== undefined && own[1] <= start) own = yield* this.#next(meant, own[1]);
      let from: number;
      if (own !== undefined && own[0] <= start && end <= own[1]) {
        [, from] = own;
        yield null;
      } else {
        from = this.#cut(text, found, own, numCuts++ < MAX_EXACT ? boundaries : null);
        yield from;
      }
      found = yield* this.#next(text, from);
    }
  }

  /** The first spelling that begins at `from` or later. */
  *#next(text: string, from: number): Generator<null, Span | undefined> {
    for (let at = from; at < text.length; at += WINDOW) {
      const found = this.#pattern?.exec(text.slice(at, at + WINDOW + this.#longest));
      if (found && found.index < WINDOW) {
        const start = at + found.index;
        return [start, start + found[0].length];
      }
      yield null;
    }
    return undefined;
  }

  /**
   * A place inside a spelling, and not inside one that is meant.
   * @param boundaries null: the first that there is
   */
  #cut(
    text: string,
    [start, end]: Span,
    own: Span | undefined,
    boundaries: Boundaries | null,
  ): number {
    const first = start + ((text.codePointAt(start) as number) > 0xffff ? 2 : 1);
    const isFree = (at: number) => own === undefined || at <= own[0] || at >= own[1];
    if (boundaries !== null) {
      const from = Math.max(0, start - CONTEXT);
      const at = boundaries(text.slice(from, end + CONTEXT))
        .map((offset) => from + offset)
        .find((offset) => offset > start && offset < end && isFree(offset));
      if (at !== undefined && this.#pattern?.test(text.slice(start, at)) === false) return at;
    }
    return isFree(first) ? first : (own as Span)[1];
  }
}

/**
 * The token that stands for a run of unknown characters together, which a cut may part; undefined
 * where each has its own, or there is none.
 *
 * @param model of a tokenizer.json
 */
export function fusedUnknown(model: unknown, library: Library): number | undefined {
  const { type, fuse_unk, unk_token, unk_id } = (model ?? {}) as Record<string, unknown>;
  if (type === 'Unigram') return typeof unk_id === 'number' ? unk_id : undefined;
  if (fuse_unk !== true || typeof unk_token !== 'string') return undefined;
  return library.tokenToId(unk_token) ?? undefined;
}

/** Cuts texts for the library, and joins what it makes of them. */
export class Cutter {
  /** Stands at a cut. Nobody can write it who has not read this process's memory. */
  readonly #separator = `\ufddf${randomUUID()}\ufddf`;
  readonly separatorId: number | null;
  readonly #library: Library;

  /**
   * Adds the separator to the library.
   * @param fused see {@link fusedUnknown}
   */
  constructor(
    library: Library,
    readonly control: ControlTokens,
    readonly fused?: number,
  ) {
    this.#library = library;
    library.addAddedTokens([new AddedToken(this.#separator, true)]);
    this.separatorId = library.tokenToId(this.#separator);
  }

  /**
   * Whoever else waits has turns meanwhile. Cuts end where there are more than `most`: a token
   * stands between any two.
   * @param marked see {@link ControlTokens.cuts}
   */
  async cut(
    text: string,
    marked: string | null,
    most: number,
  ): Promise<{ written: string; numCuts: number }> {
    const pacer = new Pacer(1);
    let written = '';
    let numCuts = 0;
    let from = 0;
    for (const cut of this.control.cuts(text, marked, (piece) => this.#boundaries(piece))) {
      if (cut !== null) {
        if (++numCuts > most) break;
        written += text.slice(from, cut) + this.#separator;
        from = cut;
      }
      if (pacer.due()) await pacer.turn();
    }
    return { written: numCuts === 0 ? text : written + text.slice(from), numCuts };
  }

  #boundaries(text: string): number[] {
    const chars = Array.from(text);
    const pieces = this.#library.getPreTokenizer()?.preTokenizeString(text) ?? [];
    return pieces.map(([, [start]]) => chars.slice(0, start).join('').length);
  }

  /** Without the separators, and the space that some tokenizers put in front of what follows. */
  async joined(ids: readonly number[]): Promise<number[]> {
    const joined: number[] = [];
    const pacer = new Pacer();
    for (let i = 0; i < ids.length; i++) {
      if (pacer.due()) await pacer.turn();
      if (ids[i] === this.separatorId) continue;
      if (ids[i] === this.fused && joined.at(-1) === ids[i]) continue;
      const isCut = i > 0 && ids[i - 1] === this.separatorId;
      const token = isCut ? this.#library.idToToken(ids[i]) : null;
      if (token === null || !/^[▁Ġ]/.test(token)) joined.push(ids[i]);
      else if (token.length > 1) joined.push(this.#library.tokenToId(token.slice(1)) ?? ids[i]);
    }
    return joined;
  }
}

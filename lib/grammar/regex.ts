import type { CharSet } from './bytes.js';
import type { Regex, RegexBuilder } from './ir.js';
import { grammarError } from './problem.js';
import { ANY_TEXT, concatAst, parseRegex, type RegexAst } from './regex-syntax.js';

export { parseRegex, type RegexAst } from './regex-syntax.js';

export interface LowerOptions {
  /** How one character of a set is written. Never the empty string. Default: as its UTF-8. */
  readonly encode?: (set: CharSet) => Regex;
  /** True: a text fits that has a match anywhere in it. Default: the whole text must match. */
  readonly search?: boolean;
}

/** Copies of a part with `^` or `$` in it; others are counted. */
const MAX_COPIES = 8;

/**
 * The texts of a regular expression (ECMAScript's, with the meaning of flag u) as a regex over
 * bytes. Greedy and lazy mean the same, groups only group.
 * @throws ERR_GRAMMAR as {@link parseRegex} does
 */
export function regexToTerminal(
  source: string,
  builder: RegexBuilder,
  options: LowerOptions & { readonly flags?: string } = {},
): Regex {
  return lowerRegex(parseRegex(source, options.flags, builder.budget), builder, options);
}

/** `/…/flags` with an i among the flags is taken apart; all else is a source without flags. */
export function splitLiteral(text: string): { source: string; flags: string } {
  const match = /^\/((?:[^\\/]|\\.)*)\/([gsu]*i[gisu]*)$/s.exec(text);
  if (match === null) return { source: text, flags: '' };
  return { source: match[1], flags: match[2].replaceAll('g', '') };
}

/** @throws ERR_GRAMMAR where a part with `^` or `$` is repeated more than 8 times */
export function lowerRegex(
  ast: RegexAst,
  builder: RegexBuilder,
  options: LowerOptions = {},
): Regex {
  const lowering = new Lowering(builder, options.encode ?? ((set) => builder.chars(set)));
  return lowering.whole(ast, options.search ?? false);
}

/** The strings of a part between two places of the text: the ones with characters, and the bare. */
interface Piece {
  readonly some: Regex;
  readonly none: boolean;
}

class Lowering {
  readonly #builder: RegexBuilder;
  readonly #encode: (set: CharSet) => Regex;
  readonly #sets = new Map<CharSet, Regex>();
  readonly #plain = new Map<RegexAst, Regex>();
  readonly #pieces = new Map<RegexAst, (Piece | undefined)[]>();

  constructor(builder: RegexBuilder, encode: (set: CharSet) => Regex) {
    this.#builder = builder;
    this.#encode = encode;
  }

  whole(ast: RegexAst, search: boolean): Regex {
    if (ast.kind === 'alt') {
      return this.#builder.altOf(ast.parts.map((part) => this.whole(part, search)));
    }
    let parts = ast.kind === 'concat' ? ast.parts : [ast];
    if (parts.length === 1 && parts[0] !== ast) return this.whole(parts[0], search);
    const [left, right] = [parts[0]?.kind === 'start', parts.at(-1)?.kind === 'end'];
    if (left) parts = parts.slice(1);
    if (right) parts = parts.slice(0, -1);
    const inner = [
      ...(search && !left ? [ANY_TEXT] : []),
      ...parts,
      ...(search && !right ? [ANY_TEXT] : []),
    ];
    if (!parts.some((part) => part.anchored)) {
      return this.#builder.concatOf(inner.map((part) => this.#unanchored(part)));
    }
    const { some, none } = this.#between(concatAst(inner), true, true);
    return none ? this.#builder.optional(some) : some;
  }

  #unanchored(ast: RegexAst): Regex {
    let known = this.#plain.get(ast);
    if (known === undefined) {
      known = this.#lower(ast);
      this.#plain.set(ast, known);
    }
    return known;
  }

  #lower(ast: RegexAst): Regex {
    switch (ast.kind) {
      case 'set':
        return this.#set(ast.set);
      case 'concat':
        return this.#builder.concatOf(ast.parts.map((part) => this.#unanchored(part)));
      case 'alt':
        return this.#builder.altOf(ast.parts.map((part) => this.#unanchored(part)));
      case 'repeat':
        return this.#builder.repeat(this.#unanchored(ast.of), ast.min, ast.max);
      default:
        return this.#builder.epsilon();
    }
  }

  #set(set: CharSet): Regex {
    let known = this.#sets.get(set);
    if (known === undefined) {
      known = this.#encode(set);
      this.#sets.set(set, known);
    }
    return known;
  }

  /**
   * What a part with anchors matches. `atStart`: nothing lies before its first place; `atEnd`:
   * nothing lies behind its last.
   */
  #between(ast: RegexAst, atStart: boolean, atEnd: boolean): Piece {
    if (!ast.anchored) {
      const regex = this.#unanchored(ast);
      return { some: this.#builder.nonEmpty(regex), none: regex.nullable };
    }
    const known = this.#pieces.get(ast) ?? [];
    this.#pieces.set(ast, known);
    return (known[Number(atStart) * 2 + Number(atEnd)] ??= this.#piece(ast, atStart, atEnd));
  }

  #piece(ast: RegexAst, atStart: boolean, atEnd: boolean): Piece {
    const builder = this.#builder;
    switch (ast.kind) {
      case 'start':
        return { some: builder.empty(), none: atStart };
      case 'end':
        return { some: builder.empty(), none: atEnd };
      case 'alt': {
        const pieces = ast.parts.map((part) => this.#between(part, atStart, atEnd));
        const some = builder.altOf(pieces.map((piece) => piece.some));
        return { some, none: pieces.some((piece) => piece.none) };
      }
      case 'concat':
        return this.#sequence(ast.parts, atStart, atEnd);
      case 'repeat':
        return this.#repeat(ast, atStart, atEnd);
      default:
        throw new Error('a set has no anchors');
    }
  }

  #sequence(parts: readonly RegexAst[], atStart: boolean, atEnd: boolean): Piece {
    const builder = this.#builder;
    // What follows each part, from the last on: [not at the start, at the start].
    const bare: Piece = { some: builder.empty(), none: true };
    let rest: [Piece, Piece] = [bare, bare];
    for (const part of [...parts].reverse()) {
      const followed = (start: boolean): Piece => {
        const here = rest[Number(start)];
        const inside = this.#between(part, start, false);
        const last = this.#between(part, start, atEnd);
        return {
          some: builder.alt(
            builder.concat(inside.some, rest[0].some),
            inside.none ? here.some : builder.empty(),
            rest[0].none ? last.some : builder.empty(),
          ),
          none: last.none && here.none,
        };
      };
      rest = [followed(false), atStart ? followed(true) : bare];
    }
    return rest[Number(atStart)];
  }

  #repeat(ast: RegexAst & { kind: 'repeat' }, atStart: boolean, atEnd: boolean): Piece {
    const { of, min, max } = ast;
    if (min > MAX_COPIES || (max !== Infinity && max > MAX_COPIES)) {
      throw grammarError(
        `regex repeats a part with ^ or $ in it more than ${MAX_COPIES} times: take the anchor out`,
      );
    }
    if (min === 0 && max === Infinity) return this.#star(of, atStart, atEnd);
    const nothing = concatAst([]);
    const maybe: RegexAst = { kind: 'alt', parts: [of, nothing], anchored: true };
    const copies: RegexAst[] = Array.from({ length: min }, () => of);
    if (max === Infinity) copies.push({ ...ast, min: 0 });
    else for (let i = min; i < max; i++) copies.push(maybe);
    return this.#sequence(copies, atStart, atEnd);
  }

  #star(of: RegexAst, atStart: boolean, atEnd: boolean): Piece {
    const builder = this.#builder;
    const some = (start: boolean, end: boolean) => this.#between(of, start, end).some;
    const inner = builder.repeat(some(false, false), 0, Infinity);
    const several = builder.concat(some(atStart, false), inner, some(false, atEnd));
    return { some: builder.alt(some(atStart, atEnd), several), none: true };
  }
}

/** The methods of Python's str. Positions and lengths count code points. */
import { checkLength, spend, spendSearch, spendText } from './budget.js';
import { typeFailure, valueFailure } from './failure.js';
import { plain as bare, splitText } from './marks.js';
import { isSpace, SPACE_CLASS } from './space.js';
import {
  type Args,
  asIndex,
  asSize,
  Bytes,
  bind,
  characters,
  type Dict,
  Tuple,
  textLength,
  textOf,
  toList,
  typeName,
  Undefined,
  type Value,
} from './values.js';

export type Method<Self> = (self: Self, args: Args) => Value;

/** @throws TemplateFailure when it is no text */
export function needText(value: Value, who: string): string {
  const text = textOf(value);
  if (text !== undefined) return text;
  if (value instanceof Undefined) throw value.failure();
  throw typeFailure(`${who} must be str, not ${typeName(value)}`);
}

function plain(name: string, of: (self: string) => Value): Method<string> {
  return (self, args) => {
    bind(`str.${name}`, args, []);
    spendText(self.length);
    return of(self);
  };
}

/** Letters that have a form of their own as a title, by any of their forms. */
const TITLES = new Map(
  ['ǅǄǆ', 'ǈǇǉ', 'ǋǊǌ', 'ǲǱǳ'].flatMap((all) =>
    Array.from(all, (c): [string, string] => [c, all[0]]),
  ),
);

function titled(char: string): string {
  const known = TITLES.get(char);
  if (known !== undefined) return known;
  const upper = char.toUpperCase();
  return upper.length <= char.length ? upper : upper[0] + upper.slice(1).toLowerCase();
}

/** A word in lower case but for its first letter; as a whole, since a sigma is final or not. */
function asTitle(word: string): string {
  const [first] = word;
  return titled(first) + word.toLowerCase().slice(first.toLowerCase().length);
}

export function capitalize(text: string): string {
  return text === '' ? '' : asTitle(text);
}

const CASED = /[\p{Lowercase}\p{Uppercase}\p{Lt}]/u;
const WORD = /[\p{Lowercase}\p{Uppercase}\p{Lt}]+/gu;

function title(text: string): string {
  spend(2 * text.length);
  return text.replace(WORD, asTitle);
}

/** A sigma that ends a word, which has a small form of its own; any other; letters. */
const SWAPPED =
  /(Σ(?<=(?!\p{CI})\p{Cased}\p{CI}*Σ)(?!\p{CI}*(?!\p{CI})\p{Cased}))|[^\0-\x7f]|[A-Za-z]+/gu;

function swapped(chars: string, ending?: string): string {
  if (ending !== undefined) return 'ς';
  let out = '';
  for (const c of chars) out += /\p{Uppercase}/u.test(c) ? c.toLowerCase() : c.toUpperCase();
  return out;
}

function swapCase(text: string): string {
  spend(4 * text.length);
  return text.replace(SWAPPED, swapped);
}

function caseFold(text: string): string {
  spend(2 * text.length);
  let out = '';
  for (const c of text) out += c === 'ı' ? c : c.toUpperCase().toLowerCase().replace('ς', 'σ');
  return out;
}

function all(pattern: RegExp): (text: string) => boolean {
  return (text) => text !== '' && pattern.test(text);
}

/** Whether there are cased letters, all of one case. */
function isCase(text: string, upper: boolean): boolean {
  const wrong = upper ? /[\p{Lowercase}\p{Lt}]/u : /[\p{Uppercase}\p{Lt}]/u;
  return CASED.test(text) && !wrong.test(text);
}

/** Without the characters (default: white space) at its ends. */
export function strip(text: string, what: Value | undefined, ends: 'both' | 'left' | 'right') {
  spendText(text.length);
  const drop =
    what === undefined || what === null ? undefined : new Set(bare(needText(what, 'strip')));
  if (drop !== undefined && [...drop].some((c) => c.length > 1))
    return stripAstral(text, drop, ends);
  const seen = drop === undefined ? text : bare(text);
  const drops = (i: number) =>
    drop === undefined ? isSpace(text.charCodeAt(i)) : drop.has(seen[i]);
  let [start, end] = [0, text.length];
  if (ends !== 'right') while (start < end && drops(start)) start++;
  if (ends !== 'left') while (end > start && drops(end - 1)) end--;
  return text.slice(start, end);
}

function stripAstral(text: string, drop: Set<string>, ends: 'both' | 'left' | 'right'): string {
  const chars = [...text];
  let [start, end] = [0, chars.length];
  if (ends !== 'right') while (start < end && drop.has(chars[start])) start++;
  if (ends !== 'left') while (end > start && drop.has(chars[end - 1])) end--;
  return chars.slice(start, end).join('');
}

const WORDS = new RegExp(`[^${SPACE_CLASS}]+`, 'g');

function splitSpace(text: string, most: number): string[] {
  const words: string[] = [];
  for (const { 0: word, index } of text.matchAll(WORDS)) {
    if (words.length === most) {
      words.push(text.slice(index));
      break;
    }
    words.push(word);
  }
  return words;
}

function rsplitSpace(text: string, most: number): string[] {
  spend(text.length);
  const matches = [...text.matchAll(WORDS)];
  const cut = Math.max(0, matches.length - most);
  const words = matches.slice(cut).map(([word]) => word);
  if (cut === 0) return words;
  const last = matches[cut - 1];
  return [text.slice(0, last.index + last[0].length), ...words];
}

function split(self: string, args: Args, fromRight: boolean): Value {
  const who = fromRight ? 'rsplit' : 'split';
  const [by = null, count = -1] = bind(who, args, ['sep', 'maxsplit']);
  spendText(self.length);
  const limit = asSize(count, 'ssize_t');
  const most = limit < 0 ? Number.POSITIVE_INFINITY : limit;
  let parts: string[];
  if (by === null) parts = fromRight ? rsplitSpace(self, most) : splitSpace(self, most);
  else {
    const separator = needText(by, 'the separator of split()');
    if (separator === '') throw valueFailure('empty separator');
    spendSearch(self, separator);
    parts = separator.length > self.length ? [self] : splitRest(self, separator, most, fromRight);
  }
  spend(parts.length);
  return parts;
}

function splitRest(text: string, by: string, most: number, fromRight: boolean): string[] {
  if (!fromRight) {
    const parts = splitText(text, by);
    if (parts.length - 1 <= most) return parts;
    return [...parts.slice(0, most), parts.slice(most).join(by)];
  }
  const parts: string[] = [];
  const [seen, wanted] = [bare(text), bare(by)];
  let end = text.length;
  while (parts.length < most) {
    const at = end < by.length ? -1 : seen.lastIndexOf(wanted, end - by.length);
    if (at < 0) break;
    parts.push(text.slice(at + by.length, end));
    end = at;
  }
  return [...parts, text.slice(0, end)].reverse();
}

/** What ends a line in Python. */
const BREAKS = '\\n-\\r\\x1c-\\x1e\\x85\\u2028\\u2029';
const LINES = new RegExp(`[^${BREAKS}]*(?:\\r\\n|[${BREAKS}]|$)`, 'g');
const LINE_END = new RegExp(`(?:\\r\\n|[${BREAKS}])$`);

export function splitLines(text: string, keep: boolean): string[] {
  spendText(text.length);
  const lines = text.match(LINES)?.filter((line) => line !== '') ?? [];
  return keep ? lines : lines.map((line) => line.replace(LINE_END, ''));
}

function partition(self: string, args: Args, fromRight: boolean): Value {
  const by = needText(bind('partition', args, ['sep'], 1)[0], 'the separator of partition()');
  if (by === '') throw valueFailure('empty separator');
  spendSearch(self, by);
  const [seen, wanted] = [bare(self), bare(by)];
  const at = fromRight ? seen.lastIndexOf(wanted) : seen.indexOf(wanted);
  if (at < 0) return new Tuple(fromRight ? ['', '', self] : [self, '', '']);
  return new Tuple([self.slice(0, at), by, self.slice(at + by.length)]);
}

/** UTF-16 position of a code point's index, as slices count it. */
function clamp(index: Value | undefined, length: number, otherwise: number): number {
  if (index === undefined || index === null) return otherwise;
  const at = asIndex(index);
  return Math.min(length, at < 0 ? Math.max(0, at + length) : at);
}

/** The part between two indices, and where it begins. */
function part(self: string, start: Value | undefined, end: Value | undefined): [string, number] {
  spendText(self.length);
  if ((start ?? null) === null && (end ?? null) === null) return [self, 0];
  const chars = characters(self);
  const from = clamp(start, chars.length, 0);
  const to = clamp(end, chars.length, chars.length);
  return [chars.slice(from, to).join(''), from];
}

function find(name: string, last: boolean, must: boolean): Method<string> {
  return (self, args) => {
    const [what, start, end] = bind(name, args, ['sub', 'start', 'end'], 1);
    const [text, from] = part(bare(self), start, end);
    const wanted = bare(needText(what, `the argument of ${name}()`));
    spendSearch(text, wanted);
    const at = last ? text.lastIndexOf(wanted) : text.indexOf(wanted);
    if (at >= 0) return from + textLength(text.slice(0, at));
    if (must) throw valueFailure('substring not found');
    return -1;
  };
}

function affix(name: 'startswith' | 'endswith'): Method<string> {
  return (self, args) => {
    const [what, start, end] = bind(name, args, ['prefix', 'start', 'end'], 1);
    const [text] = part(bare(self), start, end);
    const wanted = what instanceof Tuple ? what.items : [what];
    const fits = (value: Value) => {
      const affixText = textOf(value);
      if (affixText === undefined) {
        if (value instanceof Undefined) throw value.failure();
        throw typeFailure(
          `${name} first arg must be str or a tuple of str, not ${typeName(value)}`,
        );
      }
      spend(1 + (affixText.length >> 2));
      const seen = bare(affixText);
      return name === 'startswith' ? text.startsWith(seen) : text.endsWith(seen);
    };
    return wanted.some(fits);
  };
}

/** Occurrences replaced, from the left; `count` below 0: all. */
export function replace(text: string, old: string, by: string, count: number): string {
  const most = count < 0 ? Number.POSITIVE_INFINITY : count;
  spendSearch(text, old);
  const parts = old === '' ? ['', ...characters(text), ''] : splitText(text, old);
  const times = Math.min(parts.length - 1, most);
  spend(parts.length);
  spendText(text.length + times * Math.max(0, by.length - old.length));
  if (times === parts.length - 1) return parts.join(by);
  return (
    parts.slice(0, times + 1).join(by) + (old === '' ? '' : old) + parts.slice(times + 1).join(old)
  );
}

/** @param left of what is missing, the part that goes to the left */
export function pad(text: string, width: number, fill: string, left: (missing: number) => number) {
  const missing = width - textLength(text);
  if (missing <= 0) return text;
  spendText(text.length + missing);
  const before = left(missing);
  return fill.repeat(before) + text + fill.repeat(missing - before);
}

function justify(name: string, left: (missing: number, width: number) => number): Method<string> {
  return (self, args) => {
    const [width, fill = ' '] = bind(name, args, ['width', 'fillchar'], 1);
    const char = needText(fill, 'The fill character');
    if (textLength(char) !== 1) {
      throw typeFailure('The fill character must be exactly one character long');
    }
    const columns = asSize(width, 'ssize_t');
    return pad(self, columns, char, (missing) => left(missing, columns));
  };
}

function joinTexts(self: string, args: Args): string {
  const list = toList(bind('join', args, ['iterable'], 1)[0]);
  let length = self.length * list.length;
  const texts = list.map((item, i) => {
    const text = needText(item, `sequence item ${i}`);
    length += text.length;
    return text;
  });
  spendText(length);
  return texts.join(self);
}

function expandTabs(self: string, args: Args): Value {
  const size = asSize(bind('expandtabs', args, ['tabsize'])[0] ?? 8, 'int');
  let out = '';
  let column = 0;
  for (const c of self) {
    const tab = c === '\t' && size > 0 ? size - (column % size) : 0;
    out += c !== '\t' ? c : ' '.repeat(tab);
    column = c === '\n' || c === '\r' ? 0 : column + (c === '\t' ? tab : 1);
    spendText(1 + tab);
    spend(1);
    checkLength(out.length);
  }
  return out;
}

function zeroFill(self: string, args: Args): Value {
  const sign = /^[+-]/.exec(self)?.[0] ?? '';
  const width = asSize(bind('zfill', args, ['width'], 1)[0], 'ssize_t');
  return sign + pad(self.slice(sign.length), width - sign.length, '0', (missing) => missing);
}

function without(name: 'removeprefix' | 'removesuffix'): Method<string> {
  return (self, args) => {
    const text = needText(bind(name, args, ['affix'], 1)[0], `the argument of ${name}()`);
    if (text === '') return self;
    spendText(self.length);
    const [seen, affixText] = [bare(self), bare(text)];
    if (name === 'removeprefix') {
      return seen.startsWith(affixText) ? self.slice(text.length) : self;
    }
    return seen.endsWith(affixText) ? self.slice(0, -text.length) : self;
  };
}

function count(self: string, args: Args): Value {
  const [what, start, end] = bind('count', args, ['sub', 'start', 'end'], 1);
  const [text] = part(bare(self), start, end);
  const wanted = bare(needText(what, 'the argument of count()'));
  spendSearch(text, wanted);
  return wanted === '' ? textLength(text) + 1 : text.split(wanted).length - 1;
}

function encode(self: string): Value {
  spend(1 + 2 * self.length);
  return new Bytes([...new TextEncoder().encode(bare(self))]);
}

export function translate(self: string, table: Dict): string {
  let out = '';
  for (const c of self) {
    const to = table.get(bare(c).codePointAt(0) as number);
    const text = to === undefined ? c : typeof to === 'number' ? String.fromCodePoint(to) : to;
    out += text === null ? '' : needText(text as Value, 'character mapping');
    spend(2);
    checkLength(out.length);
  }
  return out;
}

function stripMethod(name: string, ends: 'both' | 'left' | 'right'): Method<string> {
  return (self, args) => strip(self, bind(name, args, ['chars'])[0], ends);
}

/** By name; format, format_map and translate stand in methods.ts. */
export const STRING_METHODS: ReadonlyMap<string, Method<string>> = new Map([
  ['capitalize', plain('capitalize', capitalize)],
  ['casefold', plain('casefold', caseFold)],
  ['center', justify('center', (missing, width) => (missing >> 1) + (missing & width & 1))],
  ['count', count],
  ['encode', encode],
  ['endswith', affix('endswith')],
  ['expandtabs', expandTabs],
  ['find', find('find', false, false)],
  ['index', find('index', false, true)],
  ['isalnum', plain('isalnum', all(/^[\p{L}\p{Nd}\p{No}\p{Nl}]+$/u))],
  ['isalpha', plain('isalpha', all(/^\p{L}+$/u))],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII begins at NUL
  ['isascii', plain('isascii', (s) => /^[\x00-\x7f]*$/.test(bare(s)))],
  ['isdecimal', plain('isdecimal', all(/^\p{Nd}+$/u))],
  ['isdigit', plain('isdigit', all(/^[\p{Nd}²³¹⁰⁴-⁹₀-₉①-⑨]+$/u))],
  ['isidentifier', plain('isidentifier', all(/^[\p{XIDS}_]\p{XIDC}*$/u))],
  ['islower', plain('islower', (s) => isCase(s, false))],
  ['isnumeric', plain('isnumeric', all(/^\p{N}+$/u))],
  ['isprintable', plain('isprintable', (s) => !/(?! )[\p{C}\p{Z}]/u.test(bare(s)))],
  ['isspace', plain('isspace', all(new RegExp(`^[${SPACE_CLASS}]+$`)))],
  ['istitle', plain('istitle', (s) => CASED.test(s) && title(s) === s)],
  ['isupper', plain('isupper', (s) => isCase(s, true))],
  ['join', joinTexts],
  ['ljust', justify('ljust', () => 0)],
  ['lower', plain('lower', (s) => s.toLowerCase())],
  ['lstrip', stripMethod('lstrip', 'left')],
  ['partition', (self, args) => partition(self, args, false)],
  ['removeprefix', without('removeprefix')],
  ['removesuffix', without('removesuffix')],
  ['replace', replaceMethod],
  ['rfind', find('rfind', true, false)],
  ['rindex', find('rindex', true, true)],
  ['rjust', justify('rjust', (missing) => missing)],
  ['rpartition', (self, args) => partition(self, args, true)],
  ['rsplit', (self, args) => split(self, args, true)],
  ['rstrip', stripMethod('rstrip', 'right')],
  ['split', (self, args) => split(self, args, false)],
  ['splitlines', splitLinesMethod],
  ['startswith', affix('startswith')],
  ['strip', stripMethod('strip', 'both')],
  ['swapcase', plain('swapcase', swapCase)],
  ['title', plain('title', title)],
  ['upper', plain('upper', (s) => s.toUpperCase())],
  ['zfill', zeroFill],
] as [string, Method<string>][]);

function replaceMethod(self: string, args: Args): Value {
  const [old, by, times = -1] = bind('replace', args, ['old', 'new', 'count'], 2);
  const from = needText(old, 'replace() argument 1');
  const to = needText(by, 'replace() argument 2');
  return replace(self, from, to, asSize(times, 'ssize_t'));
}

function splitLinesMethod(self: string, args: Args): Value {
  const [keep = false] = bind('splitlines', args, ['keepends']);
  return splitLines(self, Boolean(asSize(keep, 'int')));
}

/** Long text into lines: wordwrap, and pprint of values. */
import { checkLength, spend, spendText } from './budget.js';
import { compare } from './compare.js';
import { TemplateFailure } from './failure.js';
import { repr } from './printing.js';
import { SPACE_CLASS } from './space.js';
import { splitLines } from './string-methods.js';
import { Dict, Group, Tuple, textLength, typeName, type Value } from './values.js';

export interface WrapOptions {
  readonly width: number;
  readonly breakWords: boolean;
  /** Whether words end at their hyphens; `within`: only where one is too long for a line. */
  readonly breakHyphens: boolean | 'within';
}

const SPACE = '\\t\\n\\v\\f\\r ';
const LETTER = '[\\p{L}\\p{Nl}\\p{No}_]';
const WORD = '[\\p{L}\\p{N}_]';
const MARK = `[\\p{L}\\p{N}_!"'&.,?]`;

const SIMPLE = new RegExp(`[${SPACE}]+|[^${SPACE}]+`, 'gu');

/** As Python's textwrap takes a text apart: spaces, dashes, words up to a hyphen within them. */
const HYPHENS = new RegExp(
  `[${SPACE}]+|(?<=${MARK})-{2,}(?=${WORD})|[^${SPACE}]+?(?:` +
    `-(?:(?<=${LETTER}{2}-)|(?<=${LETTER}-${LETTER}-))(?=${LETTER}-?${LETTER})|` +
    `(?=[${SPACE}]|$)|(?<=${MARK})(?=-{2,}${WORD}))`,
  'gu',
);

const BLANK = new RegExp(`^[${SPACE_CLASS}]*$`);

/** UTF-16 length of the first `count` characters. */
function offset(text: string, count: number): number {
  let at = 0;
  for (let i = 0; i < count && at < text.length; i++) {
    at += (text.codePointAt(at) as number) > 0xffff ? 2 : 1;
  }
  return at;
}

/** UTF-16 length of what goes on this line of a word that is too long: to its last hyphen. */
function cutAt(word: string, room: number, hyphens: boolean): number {
  const end = offset(word, room);
  if (!hyphens) return end;
  const hyphen = word.slice(0, end).lastIndexOf('-');
  return hyphen > 0 && /[^-]/.test(word.slice(0, hyphen)) ? hyphen + 1 : end;
}

/** A word or the spaces between two; its length in characters. */
type Chunk = readonly [text: string, length: number];

/** Puts what fits of a word that is too long for any line on this one, and the rest back. */
function breakWord(out: string[], room: number, left: Chunk[], options: WrapOptions): void {
  const [word, length] = left[left.length - 1];
  if (options.breakWords) {
    const end = cutAt(word, room, Boolean(options.breakHyphens));
    const head = word.slice(0, end);
    out.push(head);
    left[left.length - 1] = [word.slice(end), length - textLength(head)];
    spend(1 + (room >> 2));
  } else if (out.length === 0) {
    out.push(word);
    left.pop();
  }
}

/** One line as lines of at most `width` characters. */
function wrapLine(line: string, options: WrapOptions): string[] {
  const { width } = options;
  spendText(4 * line.length);
  const parts = line.match(options.breakHyphens === true ? HYPHENS : SIMPLE) ?? [];
  const left = parts.map((text): Chunk => [text, textLength(text)]).reverse();
  const lines: string[] = [];
  while (left.length > 0) {
    const out: string[] = [];
    let room = width;
    if (lines.length > 0 && BLANK.test(left[left.length - 1][0])) left.pop();
    while (left.length > 0 && left[left.length - 1][1] <= room) {
      const [text, length] = left.pop() as Chunk;
      out.push(text);
      room -= length;
    }
    if (left.length > 0 && left[left.length - 1][1] > width) breakWord(out, room, left, options);
    if (out.length > 0 && BLANK.test(out[out.length - 1])) out.pop();
    spend(2 + out.length);
    if (out.length > 0) lines.push(out.join(''));
  }
  return lines;
}

export function wrap(lines: readonly string[], by: string, options: WrapOptions): string {
  let length = 0;
  const wrapped = lines.map((line) => {
    const own = wrapLine(line, options);
    const before = length;
    for (const part of own) length += part.length + by.length;
    spendText(length - before);
    checkLength(length);
    return own.join(by);
  });
  return wrapped.join(by);
}

const WIDTH = 80;

function group(parts: string[], open: string, close: string, indent: number): string {
  return open + parts.join(`,\n${' '.repeat(indent + open.length)}`) + close;
}

/** Any two values in an order: by their types where they have none. */
function anyOrder(a: Value, b: Value): number {
  try {
    return compare(a, b);
  } catch (error) {
    if (!(error instanceof TemplateFailure && error.kind === 'type')) throw error;
    return typeName(a) < typeName(b) ? -1 : typeName(a) > typeName(b) ? 1 : 0;
  }
}

/** Every dict within by its keys' order, as Python's pprint sorts them. */
function withSorted(value: Value): Value {
  spend(1);
  if (value instanceof Dict) {
    const entries = [...value.entries()].sort(([a], [b]) => anyOrder(a, b));
    return Dict.of(entries.map(([k, v]) => [k, withSorted(v)] as const));
  }
  if (Array.isArray(value)) return value.map(withSorted);
  return isPlainTuple(value) ? new Tuple(value.items.map(withSorted)) : value;
}

function isPlainTuple(value: Value): value is Tuple {
  return value instanceof Tuple && !(value instanceof Group);
}

const PARTS = new RegExp(`[^${SPACE_CLASS}]*[${SPACE_CLASS}]+|[^${SPACE_CLASS}]+`, 'g');

/** A text as several, by its lines and words; alone it stands in parentheses. */
function prettyText(text: string, indent: number, after: number, alone: boolean): string {
  const more = alone ? 1 : 0;
  const lines = splitLines(text, true);
  const room = WIDTH - indent - more;
  const out: string[] = [];
  lines.forEach((line, i) => {
    const tail = i === lines.length - 1 ? after + more : 0;
    const whole = repr(line);
    if (textLength(whole) <= room - tail) {
      out.push(whole);
      return;
    }
    let current = '';
    const parts = line.match(PARTS) ?? [];
    parts.forEach((part, j) => {
      const longer = current + part;
      const fits = textLength(repr(longer)) <= room - (j === parts.length - 1 ? tail : 0);
      if (!fits && current !== '') out.push(repr(current));
      current = fits ? longer : part;
    });
    out.push(repr(current));
  });
  const all = out.join(`\n${' '.repeat(indent + more)}`);
  return alone && out.length > 1 ? `(${all})` : all;
}

function pretty(value: Value, indent: number, after: number, alone = false): string {
  const line = repr(value);
  if (textLength(line) + indent + after <= WIDTH) return line;
  if (typeof value === 'string') return prettyText(value, indent, after, alone);
  if (value instanceof Dict && value.size > 0) {
    const parts = Array.from(value.entries(), ([key, item], i) => {
      const name = `${repr(key)}: `;
      const last = i === value.size - 1;
      return name + pretty(item, indent + 1 + textLength(name), last ? after + 1 : 1);
    });
    return group(parts, '{', '}', indent);
  }
  const items = Array.isArray(value) ? value : isPlainTuple(value) ? value.items : [];
  if (items.length === 0) return line;
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['(', items.length === 1 ? ',)' : ')'];
  const end = (i: number) => (i === items.length - 1 ? after + close.length : 1);
  const parts = items.map((item, i) => pretty(item, indent + 1, end(i)));
  return group(parts, open, close, indent);
}

/** A value over several lines where one is too long. */
export function prettyPrint(value: Value): string {
  const text = pretty(withSorted(value), 0, 0, true);
  spendText(text.length);
  return text;
}

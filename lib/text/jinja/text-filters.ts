/** Jinja's filters over texts and numbers. */
import { binary, integer } from './arithmetic.js';
import { spend, spendText } from './budget.js';
import { numeric } from './compare.js';
import { typeFailure, valueFailure } from './failure.js';
import { firstCharacters, fixed, formatValue, percentFormat } from './format.js';
import { attributes, escapeText, stripTags, urlize } from './html.js';
import { writeJson } from './json.js';
import type { Filter } from './list-filters.js';
import { changed, mark, plain } from './marks.js';
import { MAX_DIGITS, str } from './printing.js';
import { capitalize, needText, pad, replace, splitLines, strip } from './string-methods.js';
import {
  type Args,
  asIndex,
  asSize,
  bind,
  Dict,
  Float,
  isIterable,
  iterate,
  Markup,
  sizeOf,
  Tuple,
  textLength,
  textOf,
  truth,
  typeName,
  Undefined,
  unpack,
  type Value,
} from './values.js';
import { prettyPrint, wrap } from './wrapping.js';

/** A filter of a text alone. Markup stays markup, unless it is put together anew. */
function ofText(name: string, change: (text: string) => string, isNew = false): Filter {
  return (args) => {
    const [value] = bind(name, args, ['s'], 1);
    if (value instanceof Undefined && value.unsafe) throw value.failure();
    const text = str(value);
    spendText(text.length);
    return value instanceof Markup && !isNew ? new Markup(change(text)) : change(text);
  };
}

/** Each word's first letter is upper case; words begin after space, - and opening brackets. */
function title(text: string): string {
  spend(2 * text.length);
  const words = text.split(/([-\s({[<]+)/).filter((word) => word !== '');
  const cased = words.map((word) => {
    const [first] = word;
    return first.toUpperCase() + word.slice(first.length).toLowerCase();
  });
  return cased.join('');
}

function trim(args: Args): Value {
  const [value, chars] = bind('trim', args, ['value', 'chars'], 1);
  const text = strip(str(value), chars, 'both');
  return value instanceof Markup ? new Markup(text) : text;
}

function center(args: Args): Value {
  const [value, width = 80] = bind('center', args, ['value', 'width'], 1);
  const columns = asSize(width, 'ssize_t');
  const odd = (missing: number) => (missing >> 1) + (missing & columns & 1);
  return pad(str(value), columns, ' ', odd);
}

function byDefault(args: Args): Value {
  const names = ['value', 'default_value', 'boolean'];
  const [value, otherwise = '', falsy = false] = bind('default', args, names, 1);
  return value instanceof Undefined || (truth(falsy) && !truth(value)) ? otherwise : value;
}

function replaceFilter(args: Args): Value {
  const [value, old, by, count = null] = bind('replace', args, ['s', 'old', 'new', 'count'], 3);
  return replace(str(value), str(old), str(by), count === null ? -1 : asSize(count, 'ssize_t'));
}

function spaces(count: Value): string {
  const size = Math.max(0, asSize(count, 'index'));
  spendText(size);
  return ' '.repeat(size);
}

function indent(args: Args): Value {
  const names = ['s', 'width', 'first', 'blank'];
  const [value, width = 4, first = false, blank = false] = bind('indent', args, names, 1);
  const text = textOf(value);
  if (text === undefined) {
    if (value instanceof Undefined) throw value.failure();
    throw typeFailure(`indent takes a text, not ${typeName(value)}`);
  }
  const before = textOf(width) ?? spaces(width);
  const lines = splitLines(`${text}\n`, false);
  spendText(text.length + before.length * lines.length);
  const [head = '', ...more] = lines;
  const all = [head, ...more.map((line) => (line === '' && !truth(blank) ? '' : before + line))];
  const out = (truth(first) ? before : '') + all.join('\n');
  return value instanceof Markup ? new Markup(out) : out;
}

function truncate(args: Args): Value {
  const names = ['s', 'length', 'killwords', 'end', 'leeway'];
  const bound = bind('truncate', args, names, 1);
  const [value, length = 255, killWords = false, end = '...', leeway = null] = bound;
  const tail = needText(end, 'the end of truncate()');
  const most = asIndex(length);
  if (most < textLength(tail)) throw valueFailure(`expected length >= ${textLength(tail)}`);
  const size = sizeOf(value);
  if (size === undefined) throw typeFailure(`object of type '${typeName(value)}' has no len()`);
  const spare = leeway === null ? 5 : asIndex(leeway);
  if (spare < 0) throw valueFailure(`expected leeway >= 0, got ${str(leeway)}`);
  if (size <= most + spare) return value;
  const room = most - textLength(tail);
  spend(2 * Math.min(room, size));
  const head = firstCharacters(needText(value, 'truncate()'), room);
  const space = truth(killWords) ? -1 : head.lastIndexOf(' ');
  const cut = space < 0 ? head : head.slice(0, space);
  return value instanceof Markup ? new Markup(cut + escapeText(end)) : cut + tail;
}

function wordWrap(args: Args): Value {
  const names = ['s', 'width', 'break_long_words', 'wrapstring', 'break_on_hyphens'];
  const [value, width = 79, breakWords = true, by = '\n', hyphens = true] = bind(
    'wordwrap',
    args,
    names,
    1,
  );
  const lines = splitLines(needText(value, 'wordwrap()'), false);
  if (asIndex(width) <= 0) throw valueFailure('invalid width (must be > 0)');
  const [breaks, wraps] = [truth(breakWords), by === null ? '\n' : str(by)];
  const within = hyphens === true ? true : truth(hyphens) && ('within' as const);
  const options = { width: asIndex(width), breakWords: breaks, breakHyphens: within };
  return wrap(lines, wraps, options);
}

const DIGITS = /^[+-]?\p{Nd}+(?:_\p{Nd}+)*$/u;

/** A digit of any script, as ASCII. */
function asciiDigits(text: string): string {
  return text.replace(/(?![0-9])\p{Nd}/gu, (c) => {
    spend(16);
    const code = c.codePointAt(0) as number;
    let zero = code;
    while (code - zero < 9 && /^\p{Nd}$/u.test(String.fromCodePoint(zero - 1))) zero--;
    return String(code - zero);
  });
}

const PREFIX: Record<number, string> = { 2: '0b', 8: '0o', 16: '0x' };

/** `int(text, base)`; undefined where Python raises ValueError. */
function parseInteger(text: string, base: number): Value | undefined {
  const trimmed = strip(text, undefined, 'both');
  if (trimmed.length > MAX_DIGITS) return undefined;
  if (base === 10) {
    if (!DIGITS.test(trimmed)) return undefined;
    return integer(BigInt(asciiDigits(trimmed).replace(/[_+]/g, '')));
  }
  spend((trimmed.length * trimmed.length) >> 6);
  const match = /^([+-]?)(0[box])?([0-9a-z]+(?:_[0-9a-z]+)*)$/i.exec(trimmed);
  if (match === null) return undefined;
  const [, sign, prefix, given] = match;
  const fits = prefix !== undefined && (base === 0 || PREFIX[base] === prefix.toLowerCase());
  const body = (fits ? given : (prefix ?? '') + given).replaceAll('_', '').toLowerCase();
  const radix = base !== 0 ? base : ({ b: 2, o: 8, x: 16 }[prefix?.[1].toLowerCase() ?? ''] ?? 10);
  let total = 0n;
  for (const digit of body) {
    const value = Number.parseInt(digit, 36);
    if (!(value < radix)) return undefined;
    total = total * BigInt(radix) + BigInt(value);
  }
  return integer(sign === '-' ? -total : total);
}

/** `float(value)`; undefined where Python raises TypeError or ValueError. */
function parseFloatValue(value: Value): number | undefined {
  const number = numeric(value);
  if (number !== undefined) return Number(number);
  if (value instanceof Undefined) throw value.failure();
  const text = textOf(value);
  if (text === undefined) return undefined;
  const plain = asciiDigits(strip(text, undefined, 'both')).replace(/(?<=\d)_(?=\d)/g, '');
  const named = /^([+-]?)(inf|infinity|nan)$/i.exec(plain);
  if (named !== null) {
    const size = named[2].toLowerCase() === 'nan' ? Number.NaN : Number.POSITIVE_INFINITY;
    return named[1] === '-' ? -size : size;
  }
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain) ? Number(plain) : undefined;
}

function toInt(args: Args): Value {
  const [value, otherwise = 0, base = 10] = bind('int', args, ['value', 'default', 'base'], 1);
  const text = textOf(value);
  if (text !== undefined) {
    spend(1 + (Math.min(text.length, MAX_DIGITS) >> 3));
    const radix = asIndex(base);
    const known = radix === 0 || (radix >= 2 && radix <= 36);
    const whole = known ? parseInteger(text, radix) : undefined;
    if (whole !== undefined) return whole;
  } else {
    const number = value instanceof Float ? undefined : numeric(value);
    if (number !== undefined) return number;
  }
  const float = parseFloatValue(value);
  if (float === undefined || Number.isNaN(float)) return otherwise;
  if (Number.isFinite(float)) return integer(BigInt(Math.trunc(float)));
  if (text !== undefined) return otherwise;
  throw valueFailure('cannot convert float infinity to integer');
}

function toFloat(args: Args): Value {
  const [value, otherwise = new Float(0)] = bind('float', args, ['value', 'default'], 1);
  const number = parseFloatValue(value);
  return number === undefined ? otherwise : new Float(number);
}

function roundInt(value: number | bigint, precision: number): Value {
  if (precision >= 0) return value;
  spend(Math.min(-precision, MAX_DIGITS));
  const unit = 10n ** BigInt(Math.min(-precision, MAX_DIGITS));
  const half = BigInt(value) + unit / 2n;
  let whole = half / unit - (half < 0n && half % unit !== 0n ? 1n : 0n);
  if (half % unit === 0n && whole % 2n !== 0n) whole--;
  return integer(whole * unit);
}

function round(args: Args): Value {
  const names = ['value', 'precision', 'method'];
  const [value, precision = 0, method = 'common'] = bind('round', args, names, 1);
  if (!['common', 'ceil', 'floor'].includes(method as string)) {
    throw valueFailure('method must be common, ceil or floor');
  }
  const number = numeric(value);
  if (number === undefined) {
    if (value instanceof Undefined) throw value.failure();
    throw typeFailure(`type ${typeName(value)} doesn't define __round__ method`);
  }
  const places = asIndex(precision);
  if (method !== 'common') {
    const unit = binary('**', 10, places);
    const scaled = Number(numeric(binary('*', value, unit)));
    const whole = integer(BigInt(method === 'ceil' ? Math.ceil(scaled) : Math.floor(scaled)));
    return binary('/', whole, unit);
  }
  if (!(value instanceof Float)) return roundInt(number, places);
  const float = Number(number);
  if (!Number.isFinite(float) || places > 400) return value;
  if (places < 0) {
    const unit = 10 ** Math.min(-places, 308);
    return new Float(Number(fixed(float / unit, 0)) * unit * (float < 0 ? -1 : 1));
  }
  return new Float(Number(fixed(float, places)) * (float < 0 ? -1 : 1));
}

function absolute(args: Args): Value {
  const [value] = bind('abs', args, ['x'], 1);
  if (value instanceof Float) return new Float(Math.abs(value.value));
  const number = numeric(value);
  if (number !== undefined) return number < 0 ? integer(-BigInt(number)) : number;
  if (value instanceof Undefined) throw value.failure();
  throw typeFailure(`bad operand type for abs(): '${typeName(value)}'`);
}

function format(args: Args): Value {
  const [value, ...values] = args.pos;
  if (values.length > 0 && args.named.size > 0) {
    throw valueFailure("can't handle positional and keyword arguments at the same time");
  }
  return percentFormat(str(value), args.named.size > 0 ? Dict.of(args.named) : new Tuple(values));
}

function toJson(args: Args): Value {
  const names = ['x', 'ensure_ascii', 'indent', 'separators', 'sort_keys'];
  const [value, ascii = false, indentBy = null, separators = null, sortKeys = false] = bind(
    'tojson',
    args,
    names,
    1,
  );
  // Python does not look at the indent where there is nothing but a text.
  const flat = indentBy === null || textOf(value) !== undefined;
  const step = flat ? undefined : (textOf(indentBy) ?? spaces(indentBy));
  const [item, key] =
    separators === null
      ? [step === undefined ? ', ' : ',', ': ']
      : unpack(separators, 2).map((s) => needText(s, 'a separator'));
  return writeJson(value, {
    ascii: truth(ascii),
    indent: step,
    separators: [item, key],
    sortKeys: truth(sortKeys),
  });
}

const SIZES = ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];

function fileSize(args: Args): Value {
  const [value, binaryUnits = false] = bind('filesizeformat', args, ['value', 'binary'], 1);
  const bytes = parseFloatValue(value);
  if (bytes === undefined) throw valueFailure('could not convert it to a number of bytes');
  const base = truth(binaryUnits) ? 1024 : 1000;
  if (bytes === 1) return '1 Byte';
  if (bytes === Number.NEGATIVE_INFINITY) {
    throw valueFailure('cannot convert float infinity to integer');
  }
  if (bytes < base) return `${BigInt(Math.trunc(bytes))} Bytes`;
  let power = 1;
  while (power < SIZES.length && !(bytes < base ** (power + 1))) power++;
  const letter = truth(binaryUnits) ? `${SIZES[power - 1].toUpperCase()}i` : SIZES[power - 1];
  return `${formatValue(new Float(bytes / base ** power), '.1f')} ${letter}B`;
}

function percentEncoded(text: string, query: boolean): string {
  spend(6 * text.length);
  const bytes = new TextEncoder().encode(plain(text));
  let out = '';
  for (const b of bytes) {
    const c = String.fromCharCode(b);
    if (b < 128 && (/[\w.~-]/.test(c) || (c === '/' && !query))) out += c;
    else if (c === ' ' && query) out += '+';
    else out += `%${b.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return out;
}

function urlEncode(args: Args): Value {
  const [value] = bind('urlencode', args, ['value'], 1);
  if (textOf(value) !== undefined || !isIterable(value)) return percentEncoded(str(value), false);
  const items = value instanceof Dict ? Array.from(value.entries()) : [...iterate(value)];
  spend(2 * items.length);
  const pairs = items.map((item) => {
    const [key, own] = unpack(item, 2);
    return `${percentEncoded(str(key), true)}=${percentEncoded(str(own), true)}`;
  });
  return pairs.join('&');
}

function urlizeFilter(args: Args): Value {
  const names = ['value', 'trim_url_limit', 'nofollow', 'target', 'rel', 'extra_schemes'];
  const [value, limit = null, nofollow = false, target = null, rel = null] = bind(
    'urlize',
    args,
    names,
    1,
  );
  const rels = new Set(rel === null ? [] : str(rel).split(/\s+/).filter(Boolean));
  rels.add('noopener');
  if (truth(nofollow)) rels.add('nofollow');
  return urlize(value, {
    limit: limit === null ? undefined : asIndex(limit),
    rel: [...rels].sort().join(' '),
    target: target === null ? '' : escapeText(target),
  });
}

function wordCount(args: Args): Value {
  const text = str(bind('wordcount', args, ['s'], 1)[0]);
  spend(1 + (text.length >> 1));
  return text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0;
}

function escapeFilter(args: Args): Value {
  const [value] = bind('escape', args, ['s'], 1);
  return value instanceof Markup ? value : new Markup(escapeText(value));
}

function toText(args: Args): Value {
  const [value] = bind('string', args, ['object'], 1);
  return value instanceof Markup ? value : str(value);
}

function forceEscape(args: Args): Value {
  return new Markup(escapeText(str(bind('forceescape', args, ['value'], 1)[0])));
}

function xmlAttributes(args: Args): Value {
  const [dict, space = true] = bind('xmlattr', args, ['d', 'autospace'], 1);
  return attributes(dict, truth(space));
}

/** By name; the first argument of each is the value. */
export const TEXT_FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ['abs', absolute],
  ['capitalize', ofText('capitalize', capitalize)],
  ['center', center],
  ['d', byDefault],
  ['default', byDefault],
  ['e', escapeFilter],
  ['escape', escapeFilter],
  ['filesizeformat', fileSize],
  ['float', toFloat],
  ['forceescape', forceEscape],
  ['format', format],
  ['indent', indent],
  ['int', toInt],
  ['lower', ofText('lower', (text) => text.toLowerCase())],
  ['pprint', (args) => prettyPrint(bind('pprint', args, ['value'], 1)[0])],
  ['replace', replaceFilter],
  ['round', round],
  ['safe', (args) => new Markup(str(bind('safe', args, ['value'], 1)[0]))],
  ['string', toText],
  ['striptags', (args) => mark(stripTags(plain(str(bind('striptags', args, ['value'], 1)[0]))))],
  ['title', ofText('title', changed(title), true)],
  ['tojson', toJson],
  ['trim', trim],
  ['truncate', truncate],
  ['upper', ofText('upper', (text) => text.toUpperCase())],
  ['urlencode', urlEncode],
  ['urlize', urlizeFilter],
  ['wordcount', wordCount],
  ['wordwrap', wordWrap],
  ['xmlattr', xmlAttributes],
]);

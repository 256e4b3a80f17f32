/** Arguments that are not one JSON object: what stands around keys and values, by differences. */
import type { CallFormat, JsonType, TaggedStyle } from './format.js';
import { commonStart, frameOf, isBare, NAMES, OTHER, outside, PAIR } from './probe.js';

/** Renders one call with these arguments, as far as it is the model's; null where it fails. */
type Called = (args: object) => string | null;

/** One call of one pair, in pieces. */
interface Pair {
  readonly head: string;
  readonly pre: string;
  readonly mid: string;
  readonly post: string;
}

function pairOf(text: string, from = 0, name: string = NAMES[0]): Pair | null {
  const [key, value] = PAIR;
  // The name may stand there twice: the last one before the key counts.
  const k = text.indexOf(key, text.indexOf(name, from));
  const n = k < 0 ? -1 : text.lastIndexOf(name, k);
  const v = text.indexOf(value, k + key.length);
  if (n < from || v < 0) return null;
  return {
    head: text.slice(from, n),
    pre: text.slice(n + name.length, k),
    mid: text.slice(k + key.length, v),
    post: text.slice(v + value.length),
  };
}

/** Values of other types than texts, and how they may be written. */
const SAMPLES: readonly { type: JsonType; value: unknown; written: RegExp }[] = [
  { type: 'number', value: 70717, written: /70717/ },
  { type: 'boolean', value: true, written: /true|True/ },
  { type: 'null', value: null, written: /null|None/ },
  {
    type: 'object',
    value: { zinz: 'zvinz' },
    written: /\{\s*["']zinz["']\s*:\s*["']zvinz["']\s*\}/,
  },
  { type: 'array', value: [70717], written: /\[\s*70717\s*\]/ },
];

/** @returns null where this style is not understood */
export function namedFrom(
  single: string,
  both: string | null,
  called: Called,
): Omit<CallFormat, 'ids'> | null {
  const pair = pairOf(single);
  if (pair === null) return null;
  const second = both === null ? null : secondOf(both);
  if (pair.pre === '(' && /^=['"]$/.test(pair.mid)) return inBrackets(pair, second, 'python');
  if (pair.pre === '{' && /^:.+$/.test(pair.mid))
    return inBrackets(pair, second, pair.mid.slice(1));
  return tagged(pair, second, called);
}

/** The second of two calls. */
function secondOf(both: string): Pair | null {
  const first = pairOf(both);
  const at = both.length - (first?.post.length ?? 0);
  return first === null || !first.post.includes(NAMES[1]) ? null : pairOf(both, at, NAMES[1]);
}

/** `name(key='value')` or `name{key:<quote>value<quote>}`. */
function inBrackets(
  { head, post }: Pair,
  second: Pair | null,
  quote: string,
): Omit<CallFormat, 'ids'> | null {
  const python = quote === 'python';
  const closing = python ? /^['"]/.exec(post)?.[0] : post.startsWith(`${quote}}`) && `${quote}}`;
  if (!closing) return null;
  const nameEnd = python ? '(' : '';
  const one = { head, nameEnd, tail: post.slice(closing.length) };
  const frame = frameOf(one, second && { head: second.head.slice(closing.length), nameEnd });
  if (frame === null) return null;
  const style = python ? { kind: 'python' as const } : { kind: 'quoted' as const, quote };
  return { ...frame, arguments: style, bare: isBare(frame) };
}

function tagged(pair: Pair, second: Pair | null, called: Called): Omit<CallFormat, 'ids'> | null {
  const none = called({});
  const two = called({ [PAIR[0]]: PAIR[1], [OTHER[0]]: OTHER[1] });
  const at = none?.lastIndexOf(NAMES[0]) ?? -1;
  if (none === null || at < 0 || two === null) return null;
  const bare = none.slice(at + NAMES[0].length);
  const nameEnd = pair.pre.slice(0, outside(pair.pre, commonStart(pair.pre, bare)));
  const start = pair.pre.slice(nameEnd.length);
  const tail = bare.slice(nameEnd.length);
  if (start === '' || !pair.post.endsWith(tail)) return null;
  const end = pair.post.slice(0, pair.post.length - tail.length);
  const gap = pairOf(two)?.post.split(OTHER[0])[0];
  if (!gap?.startsWith(end) || !gap.endsWith(start) || gap.length < end.length + start.length) {
    return null;
  }
  const separator = gap.slice(end.length, gap.length - start.length);
  const style = styleOf({ pair, start, end, separator }, called);
  if (style === null) return null;
  const frame = frameOf(
    { head: pair.head, nameEnd, tail },
    second && {
      head: second.head.slice(end.length),
      nameEnd: second.pre.slice(0, second.pre.length - start.length),
    },
  );
  return frame && { ...frame, arguments: style, bare: false };
}

interface Around {
  readonly pair: Pair;
  readonly start: string;
  readonly end: string;
  readonly separator: string;
}

/** What stands around values of each type. */
function styleOf({ pair, start, end, separator }: Around, called: Called): TaggedStyle | null {
  const mids: Partial<Record<JsonType, string>> = { string: pair.mid };
  const ends: Partial<Record<JsonType, string>> = { string: end };
  for (const { type, value, written } of SAMPLES) {
    const text = called({ [PAIR[0]]: value, [OTHER[0]]: OTHER[1] });
    const from = text?.indexOf(PAIR[0]) ?? -1;
    const after = text === null || from < 0 ? '' : text.slice(from + PAIR[0].length);
    const own = after.split(`${separator}${start}${OTHER[0]}`)[0];
    const found = written.exec(own);
    if (found !== null) {
      mids[type] = own.slice(0, found.index);
      ends[type] = own.slice(found.index + found[0].length);
    } else if (type === 'object' || type === 'array') return null;
  }
  const all = (texts: Partial<Record<JsonType, string>>): Record<JsonType, string> => {
    const other = texts.number ?? (texts.string as string);
    const own = texts.string as string;
    return {
      number: other,
      boolean: other,
      null: other,
      object: other,
      array: other,
      ...texts,
      string: own,
    };
  };
  return { kind: 'tagged', start, mids: all(mids), ends: all(ends), separator };
}

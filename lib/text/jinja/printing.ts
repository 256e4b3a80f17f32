/** How Python writes values: str() and repr(). */
import { checkLength, spend, spendText } from './budget.js';
import { valueFailure } from './failure.js';
import { plain } from './marks.js';
import { Dict, Float, Markup, Namespace, Tuple, Undefined, type Value, View } from './values.js';

/** Longest integer that is written or read, as in Python. */
export const MAX_DIGITS = 4300;

/** The shortest decimals that give this float back, in Python's notation. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (Object.is(value, -0)) return '-0.0';
  const [digits, power] = value.toExponential().split('e');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) return `${digits}e${exponentText(exponent)}`;
  const text = String(value);
  return text.includes('.') ? text : `${text}.0`;
}

/** `-05`, `+16`, `+100`. */
export function exponentText(exponent: number): string {
  return (exponent < 0 ? '-' : '+') + String(Math.abs(exponent)).padStart(2, '0');
}

export function intText(value: number | bigint): string {
  if (typeof value === 'number') return String(value);
  const text = value.toString();
  spend(text.length);
  if (text.length > MAX_DIGITS + 1) {
    throw valueFailure(`an integer of more than ${MAX_DIGITS} digits cannot be written`);
  }
  return text;
}

const ESCAPES: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };
const UNPRINTABLE = /[\\\n\r\t]|(?! )[\p{C}\p{Z}]/gu;

function escapeOf(char: string): string {
  if (plain(char) !== char) return char;
  const known = ESCAPES[char];
  if (known !== undefined) return known;
  const code = char.codePointAt(0) as number;
  const hex = code.toString(16);
  if (code < 0x100) return `\\x${hex.padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
}

/** A text as Python's repr() writes it. */
export function quoted(text: string): string {
  spendText(text.length);
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(UNPRINTABLE, escapeOf);
  return quote + (quote === "'" ? body.replaceAll("'", "\\'") : body) + quote;
}

function listed(items: readonly Value[], seen: Set<object>): string {
  let out = '';
  for (const item of items) {
    const text = repr(item, seen);
    spend(2 + (text.length >> 2));
    checkLength(out.length + text.length);
    out += out === '' ? text : `, ${text}`;
  }
  return out;
}

function dictText(dict: Dict, seen: Set<object>): string {
  let out = '';
  for (const [key, value] of dict.entries()) {
    const text = `${repr(key, seen)}: ${repr(value, seen)}`;
    spend(1 + (text.length >> 2));
    checkLength(out.length + text.length);
    out += out === '' ? text : `, ${text}`;
  }
  return out;
}

/** What holds itself is written once. */
function once(value: object, seen: Set<object>, again: string, write: () => string): string {
  if (seen.has(value)) return again;
  seen.add(value);
  const text = write();
  seen.delete(value);
  return text;
}

export function repr(value: Value, seen: Set<object> = new Set()): string {
  spend(1);
  if (typeof value === 'string') return quoted(value);
  if (value === null || typeof value !== 'object') return str(value);
  if (Array.isArray(value)) {
    return once(value, seen, '[...]', () => `[${listed(value, seen)}]`);
  }
  if (value instanceof Tuple) {
    const comma = value.items.length === 1 ? ',' : '';
    return once(value, seen, '(...)', () => `(${listed(value.items, seen)}${comma})`);
  }
  if (value instanceof Dict) {
    return once(value, seen, '{...}', () => `{${dictText(value, seen)}}`);
  }
  if (value instanceof Namespace) return `<Namespace ${repr(value.attributes, seen)}>`;
  if (value instanceof View) return `${value.type}([${listed(value.list(), seen)}])`;
  if (value instanceof Markup) return `Markup(${quoted(value.text)})`;
  return value instanceof Undefined ? 'Undefined' : str(value);
}

export function str(value: Value): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'bigint') return intText(value);
  if (Array.isArray(value) || value instanceof Dict || value instanceof Tuple) return repr(value);
  if (value instanceof Markup) return value.text;
  if (value instanceof Float) return floatText(value.value);
  if (value instanceof Undefined) return '';
  if (value instanceof Namespace || value instanceof View) return repr(value);
  return value.print();
}

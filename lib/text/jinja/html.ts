/** Text for HTML: markup is what is escaped already. */
import { spend, spendText } from './budget.js';
import { typeFailure, valueFailure } from './failure.js';
import { changed, plain } from './marks.js';
import { str } from './printing.js';
import { SPACE_CLASS } from './space.js';
import { Dict, Markup, Undefined, type Value } from './values.js';

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
};

/** A value's text, escaped unless it is markup. */
export function escapeText(value: Value): string {
  const text = str(value);
  spendText(text.length);
  if (value instanceof Markup) return text;
  return changed((bare) => bare.replace(/[&<>"']/g, (c) => ENTITIES[c]))(text);
}

const SPACES = new RegExp(`[${SPACE_CLASS}]+`);

const NAMED: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function entity(whole: string, name: string): string {
  if (!name.startsWith('#')) return Object.hasOwn(NAMED, name) ? NAMED[name] : whole;
  const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1));
  return code > 0 && code < 0x110000 ? String.fromCodePoint(code) : '\ufffd';
}

/** Without comments and tags, white space as single spaces, entities resolved. */
export function stripTags(text: string): string {
  spend(1 + text.length);
  let out = '';
  let at = 0;
  for (let open = text.indexOf('<'); open >= 0; open = text.indexOf('<', at)) {
    const comment = text.startsWith('<!--', open);
    const close = comment ? text.indexOf('-->', open + 4) : text.indexOf('>', open);
    if (close < 0) break;
    out += text.slice(at, open);
    at = close + (comment ? 3 : 1);
  }
  out += text.slice(at);
  const words = out.split(SPACES).filter((word) => word !== '');
  return words.join(' ').replace(/&(#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z]+);/g, entity);
}

/** ` name="value"` of each that is there. */
export function attributes(dict: Value, space: boolean): string {
  if (!(dict instanceof Dict)) throw typeFailure('xmlattr takes a dict');
  const parts: string[] = [];
  for (const [key, value] of dict.entries()) {
    if (value === null || value instanceof Undefined) continue;
    const name = plain(str(key));
    if (/[\s/>=]/.test(name)) throw valueFailure(`Invalid character in attribute name: '${name}'`);
    parts.push(`${escapeText(key)}="${escapeText(value)}"`);
  }
  return parts.length > 0 && space ? ` ${parts.join(' ')}` : parts.join(' ');
}

const PATH = '(:\\d{1,5})?([/?#]\\S*)?$';
const HOST = '[\\w%-]+(\\.[\\w%-]+)*';
const SITE = new RegExp(`^(https?://|www\\.)${HOST}${PATH}`, 'i');
const BARE = new RegExp(`^${HOST}\\.(com|net|int|edu|gov|org|info|mil)${PATH}`, 'i');
const MAIL = /^\S+@\w[\w.-]*\.\w+$/;

/** Options of urlize. */
export interface LinkOptions {
  readonly limit: number | undefined;
  readonly rel: string;
  readonly target: string;
}

function link(word: string, { limit, rel, target }: LinkOptions): string {
  const extra = (rel ? ` rel="${rel}"` : '') + (target ? ` target="${target}"` : '');
  const shown = limit !== undefined && word.length > limit ? `${word.slice(0, limit)}...` : word;
  if (SITE.test(word)) {
    const address = /^https?:\/\//i.test(word) ? word : `https://${word}`;
    return `<a href="${address}"${extra}>${shown}</a>`;
  }
  if (BARE.test(word)) return `<a href="https://${word}"${extra}>${shown}</a>`;
  if (word.startsWith('mailto:') && MAIL.test(word.slice(7))) {
    return `<a href="${word}">${word.slice(7)}</a>`;
  }
  if (MAIL.test(word) && !word.startsWith('www.') && !word.includes(':')) {
    return `<a href="mailto:${word}">${word}</a>`;
  }
  return word;
}

const OPENING = /^(?:[(<]|&lt;)+/;

/** Where the brackets and stops at a word's end begin, in linear time. */
function closingAt(word: string): number {
  for (let end = word.length; ; ) {
    if (end > 0 && ')>.,\n'.includes(word[end - 1])) end--;
    else if (word.endsWith('&gt;', end)) end -= 4;
    else return end;
  }
}

/** Addresses become links. */
export function urlize(value: Value, options: LinkOptions): string {
  const text = escapeText(value);
  spend(2 * text.length);
  const pieces = text.split(/(\s+)/);
  const done = pieces.map((piece) => {
    if (piece.length > 2048) return piece;
    const head = OPENING.exec(piece)?.[0] ?? '';
    const rest = piece.slice(head.length);
    const end = closingAt(rest);
    return head + link(rest.slice(0, end), options) + rest.slice(end);
  });
  return done.join('');
}

/**
 * What a tokenizer.json must keep to before the library sees it. The library is Rust compiled
 * without a way back: where it panics, at load or at some text, the process ends. So the few shapes
 * that make it panic, hang or grow without bound are refused here; everything else is its business.
 */
import { shown } from '../arguments.js';
import { charsmapFault } from './charsmap.js';
import { patternFault, shortestMatch } from './regex-cost.js';

/** The members of a tokenizer.json that are looked at, as JSON. */
export interface TokenizerShape {
  normalizer?: unknown;
  pre_tokenizer?: unknown;
  post_processor?: unknown;
  decoder?: unknown;
  /** Without vocabulary and merges. */
  model?: unknown;
}

type Part = Readonly<Record<string, unknown>>;

const MAX_PARTS = 64;
const MAX_DEPTH = 16;
/** How many times longer all replacements together may make a text. */
const MAX_GROWTH = 16;
/** Characters, or tokens, that a part adds to a text. */
const MAX_ADDED = 1000;

/** @throws Error whose message says what is wrong, naming the part */
export function checkTokenizerShape(shape: TokenizerShape): void {
  checkModel(shape.model);
  checkAll('normalizer', shape.normalizer, checkNormalizer);
  checkAll('pre_tokenizer', shape.pre_tokenizer, checkPreTokenizer);
  checkAll('decoder', shape.decoder, checkDecoder);
  checkAll('post_processor', shape.post_processor, checkProcessor);
}

function fail(where: string, why: string): never {
  throw new Error(`its ${where} ${why}`);
}

function checkAll(where: string, root: unknown, check: (part: Part, where: string) => void): void {
  if (root === undefined || root === null) return;
  const list = partsOf(root, where, 0);
  if (list.length > MAX_PARTS) fail(where, `has more than ${MAX_PARTS} parts`);
  let growth = 1;
  for (const part of list) {
    const named = `${where} ${shown(part.type)}`;
    if (typeof part.type !== 'string') fail(where, 'has a part without a type');
    check(part, named);
    if (part.type === 'Replace') growth *= growthOf(part);
  }
  if (growth > MAX_GROWTH) fail(where, `makes a text ${growth} times as long`);
}

/** "Sequence" taken apart; other parts hold none. */
function partsOf(node: unknown, where: string, depth: number): Part[] {
  if (typeof node !== 'object' || node === null || Array.isArray(node)) {
    return fail(where, `has ${shown(node)} for a part`);
  }
  const part = node as Part;
  if (part.type !== 'Sequence') return [part];
  if (depth > MAX_DEPTH) fail(where, 'is nested too deeply');
  const inner = part.normalizers ?? part.pretokenizers ?? part.processors ?? part.decoders;
  if (!Array.isArray(inner) || inner.length > MAX_PARTS) {
    return fail(where, `has a sequence that is no list of up to ${MAX_PARTS}`);
  }
  return inner.flatMap((each) => partsOf(each, where, depth + 1));
}

function checkModel(model: unknown): void {
  const part = (model ?? {}) as Part;
  // Merges are cut behind the prefix without a look at whether they have it.
  const prefix = part.continuing_subword_prefix ?? '';
  const bpe = part.type === undefined || part.type === 'BPE';
  if (bpe && prefix !== '') fail('model', `has a continuing_subword_prefix, ${shown(prefix)}`);
}

function checkNormalizer(part: Part, where: string): void {
  if (part.type === 'Replace') checkPattern(part, where, 1);
  if (part.type === 'Prepend') checkLength(part.prepend, where);
  if (part.type !== 'Precompiled') return;
  const fault = charsmapFault(part.precompiled_charsmap);
  if (fault !== undefined) fail(where, fault);
}

function checkPreTokenizer(part: Part, where: string): void {
  if (part.type === 'Split') checkPattern(part, where, 0);
  if (part.type === 'FixedLength' && !(Number(part.length) >= 1)) fail(where, 'has length 0');
}

function checkDecoder(part: Part, where: string): void {
  if (part.type === 'Replace') checkPattern(part, where, 1);
  // It counts from the end of a token, also of one that is shorter.
  if (part.type === 'Strip' && part.stop !== 0)
    fail(where, `cuts ${shown(part.stop)} from the end`);
}

function checkProcessor(part: Part, where: string): void {
  if (part.type !== 'TemplateProcessing') return;
  const known = (part.special_tokens ?? {}) as Record<string, { ids?: unknown } | null>;
  for (const piece of [part.single, part.pair].flat() as ({ SpecialToken?: Part } | null)[]) {
    const token = piece?.SpecialToken;
    if (token === undefined) continue;
    const { id } = token;
    if (typeof id !== 'string' || !Object.hasOwn(known, id)) {
      fail(where, `names ${shown(id)}, which its special_tokens have not`);
    }
    const ids = known[id]?.ids;
    if (Array.isArray(ids) && ids.length > MAX_ADDED) fail(where, `adds ${ids.length} tokens`);
  }
}

/** A string or a regular expression that matches at least so many characters. */
function checkPattern(part: Part, where: string, least: number): void {
  const { String: text, Regex: regex } = (part.pattern ?? {}) as Part;
  if (typeof regex === 'string') {
    const fault = patternFault(regex);
    if (fault !== undefined) fail(where, `has a pattern that ${fault}: ${shown(regex)}`);
    if (shortestMatch(regex) < least) fail(where, `has a pattern that may match nothing`);
  } else if (typeof text === 'string' && text.length < least) {
    fail(where, 'has an empty pattern');
  }
  checkLength(part.content ?? '', where);
}

function checkLength(added: unknown, where: string): void {
  const length = typeof added === 'string' ? added.length : 0;
  if (length > MAX_ADDED) fail(where, `adds ${length} characters`);
}

function growthOf({ pattern, content }: Part): number {
  const { String: text, Regex: regex } = (pattern ?? {}) as Part;
  const from = typeof regex === 'string' ? shortestMatch(regex) : String(text ?? ' ').length;
  return Math.max(1, String(content ?? '').length / from);
}

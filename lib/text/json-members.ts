/** Index just past the string that begins (with its quote) at `at`. */
function skipString(json: string, at: number): number {
  for (let i = at + 1; i < json.length; i++) {
    const code = json.charCodeAt(i);
    if (code === 0x5c) i++;
    else if (code === 0x22) return i + 1;
  }
  return json.length;
}

/** Index of the comma or closing bracket that ends the value beginning at `at`. */
function skipValue(json: string, at: number, see: (length: number) => void): number {
  let depth = 0;
  for (let i = at; i < json.length; i++) {
    const code = json.charCodeAt(i);
    if (code === 0x22) {
      const end = skipString(json, i);
      see(end - i - 2);
      i = end - 1;
    } else if (code === 0x7b || code === 0x5b) depth++;
    else if (code === 0x2c) {
      if (depth === 0) return i;
    } else if ((code === 0x7d || code === 0x5d) && depth-- === 0) return i;
  }
  return json.length;
}

/** Of a wanted member: its value, parsed; or of an object's, those wanted inside it. */
export interface Wanted {
  readonly [name: string]: true | Wanted;
}

const NONE: Wanted = {};

/**
 * Some members of a big JSON object, parsed, without parsing the rest: a tokenizer.json of 10 MB
 * takes some 30 ms. Of members that stand there twice the last counts, as for the library; those
 * that are absent are absent in the result. What is not JSON is left for the library to refuse.
 *
 * @param wanted names; for a big object that is wanted in part, the names inside it
 * @param longest how long a string inside such an object may be written, in UTF-16 units
 * @throws SyntaxError when a member asked for is not JSON, RangeError for a string too long.
 */
export function jsonMembers(
  json: string,
  wanted: Wanted,
  longest = Number.POSITIVE_INFINITY,
): Record<string, unknown> {
  const start = json.search(/[^\s]/);
  return json[start] === '{' ? members(json, start, wanted, () => {}, longest).found : {};
}

/** Members of the object that begins at `at`, and the index just past it. */
function members(
  json: string,
  at: number,
  wanted: Wanted,
  see: (length: number) => void,
  longest: number,
): { found: Record<string, unknown>; end: number } {
  const found: Record<string, unknown> = {};
  let next = at + 1;
  while (next < json.length) {
    const open = skipBlanks(json, next);
    if (json[open] !== '"') return { found, end: open + 1 };
    const close = skipString(json, open);
    const name: unknown = JSON.parse(json.slice(open, close));
    const start = skipBlanks(json, skipBlanks(json, close) + 1);
    const want = Object.hasOwn(wanted, name as string) ? wanted[name as string] : NONE;
    let end: number;
    if (want !== true && want !== NONE && json[start] === '{') {
      const inner = members(json, start, want, checked(longest), longest);
      found[name as string] = inner.found;
      end = skipBlanks(json, inner.end);
    } else {
      end = skipValue(json, start, see);
      if (want !== NONE) found[name as string] = JSON.parse(json.slice(start, end));
    }
    if (json[end] !== ',') return { found, end: end + 1 };
    next = end + 1;
  }
  return { found, end: next };
}

/**
 * The text of a member as it is written, for numbers that JSON.parse rounds; undefined where there
 * is none. Of members that stand there twice the last counts.
 * @param json valid
 * @param path names, each of a member of the object before
 */
export function writtenMember(json: string, path: readonly string[]): string | undefined {
  let text: string | undefined = json.trim();
  for (const name of path) text = text === undefined ? undefined : lastMember(text, name);
  return text;
}

function lastMember(json: string, wanted: string): string | undefined {
  let found: string | undefined;
  if (json[0] !== '{') return found;
  for (let next = 1; ; ) {
    const open = skipBlanks(json, next);
    if (json[open] !== '"') return found;
    const close = skipString(json, open);
    const start = skipBlanks(json, skipBlanks(json, close) + 1);
    const end = skipValue(json, start, () => {});
    if (JSON.parse(json.slice(open, close)) === wanted) found = json.slice(start, end).trim();
    if (json[end] !== ',') return found;
    next = end + 1;
  }
}

function checked(longest: number): (length: number) => void {
  return (length) => {
    if (length > longest) throw new RangeError(`a token of ${length} characters`);
  };
}

function skipBlanks(json: string, at: number): number {
  let i = at;
  while (i < json.length && json.charCodeAt(i) <= 0x20) i++;
  return i;
}

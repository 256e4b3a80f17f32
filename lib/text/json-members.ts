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
function skipValue(json: string, at: number): number {
  let depth = 0;
  for (let i = at; i < json.length; i++) {
    const char = json[i];
    if (char === '"') i = skipString(json, i) - 1;
    else if (char === '{' || char === '[') depth++;
    else if (depth === 0 && (char === ',' || char === '}' || char === ']')) return i;
    else if (char === '}' || char === ']') depth--;
  }
  return json.length;
}

/**
 * Some members of a big JSON object, parsed, without parsing the rest: a tokenizer.json of 10 MB
 * costs about 1 ms when what is asked for stands before its vocabulary (as the library writes it).
 * Members that are absent are absent in the result. For valid JSON: the library has checked it.
 *
 * @throws SyntaxError when a member asked for is not JSON.
 */
export function jsonMembers(json: string, wanted: readonly string[]): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  let left = wanted.length;
  let at = json.indexOf('{') + 1;
  while (at > 0 && at < json.length && left > 0) {
    const open = json.indexOf('"', at);
    if (open < 0) break;
    const close = skipString(json, open);
    const name: unknown = JSON.parse(json.slice(open, close));
    const start = json.indexOf(':', close) + 1;
    if (start === 0) break;
    const end = skipValue(json, start);
    if (typeof name === 'string' && wanted.includes(name)) {
      found[name] = JSON.parse(json.slice(start, end));
      left--;
    }
    if (json[end] !== ',') break;
    at = end + 1;
  }
  return found;
}

/** How a template writes calls: by their arguments as JSON, or one by one. */
import type { AnswerFormat, CallFormat } from './format.js';
import { frameOf, isBare, NAMES, PAIR, type Pieces, type Probe, written } from './probe.js';
import { namedFrom } from './probe-arguments.js';

const JSON_PAIR = new RegExp(`\\{\\s*"${PAIR[0]}"\\s*:\\s*"${PAIR[1]}"\\s*\\}`, 'g');

/** Calls whose arguments are a JSON object; null where they are not. */
function jsonPieces(text: string, count: number): Pieces[] | null {
  const spans = [...text.matchAll(JSON_PAIR)].map((m) => [m.index, m.index + m[0].length]);
  if (spans.length !== count) return null;
  const pieces: Pieces[] = [];
  let from = 0;
  for (let i = 0; i < count; i++) {
    const [start, end] = spans[i];
    const name = text.indexOf(NAMES[i], from);
    if (name < 0 || name > start) return null;
    const next = i + 1 < count ? spans[i + 1][0] : text.length;
    pieces.push({
      head: text.slice(from, name),
      nameEnd: text.slice(name + NAMES[i].length, start),
      tail: text.slice(end, next),
    });
    from = end;
  }
  return pieces;
}

/**
 * @param over what ends a turn
 * @returns null where the calls of a template are not understood
 */
export function callsFrom(
  probe: Probe,
  { reasoning, content }: Pick<AnswerFormat, 'reasoning' | 'content'>,
  over: string,
): Omit<CallFormat, 'ids'> | null {
  const own = (text: string | null): string | null => {
    if (text === null || !text.includes(NAMES[0])) return null;
    const bare = over !== '' && text.endsWith(over) ? text.slice(0, -over.length) : text;
    const rest = written(probe.begin, bare, reasoning);
    const empty = content.start + content.end;
    return empty !== '' && rest.trimStart().startsWith(empty)
      ? rest.trimStart().slice(empty.length)
      : rest;
  };
  const pair = { [PAIR[0]]: PAIR[1] };
  const single = own(probe.called([pair]));
  if (single === null) return null;
  const both = own(probe.called([pair, pair]));
  const one = jsonPieces(single, 1);
  if (one === null) return namedFrom(single, both, (args) => own(probe.called([args])));
  const two = both?.includes(NAMES[1]) ? jsonPieces(both, 2) : null;
  const frame = frameOf(one[0], two?.[1] ?? null);
  return frame && { ...frame, arguments: { kind: 'json' }, bare: isBare(frame) };
}

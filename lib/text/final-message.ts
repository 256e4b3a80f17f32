/** A conversation whose last message the model goes on with. */
import { octavoError } from '../errors.js';
import type { Turn } from './chat-messages.js';
import { trimEnd } from './jinja/space.js';

/** Stands behind the last message in the render; its space shows whether that was trimmed. */
const MARK = '<octavo_goes_on_here>';
const SPACED = `${MARK} `;

const REASONING = ['reasoning_content', 'thinking', 'reasoning'];

function refused(why: string): Error {
  return octavoError(
    'ERR_CHAT_TEMPLATE',
    `The chat template cannot go on with the last message: ${why}`,
    {
      param: 'template.continueFinalMessage',
    },
  );
}

/** The last part that is a text, marked. */
function markParts(parts: readonly unknown[]): { marked: unknown[]; text: string } {
  const at = parts.findLastIndex(
    (piece) => typeof (piece as { text?: unknown })?.text === 'string',
  );
  if (at < 0) throw refused('none of its parts is a text');
  const piece = parts[at] as { text: string };
  return { marked: parts.with(at, { ...piece, text: piece.text + SPACED }), text: piece.text };
}

export interface MarkedTurns {
  readonly turns: readonly Turn[];
  /** What must stand in the render. */
  readonly text: string;
}

/**
 * Marks where the last message ends.
 *
 * @param member of the message (content …) that is gone on with
 * @throws ERR_CHAT_TEMPLATE when it has none
 */
export function markFinal(turns: readonly Turn[], member: string): MarkedTurns {
  const last = turns[turns.length - 1];
  const value = last[member];
  if (Array.isArray(value)) {
    const { marked, text } = markParts(value);
    return { turns: turns.with(-1, { ...last, [member]: marked }), text };
  }
  if (typeof value !== 'string') throw refused(`it has no ${member}`);
  const same = REASONING.includes(member) ? REASONING.filter((k) => last[k] === value) : [member];
  const marked = Object.fromEntries(same.map((key) => [key, value + SPACED]));
  return { turns: turns.with(-1, { ...last, ...marked }), text: value };
}

/**
 * The render up to the end of the last message.
 *
 * @throws ERR_CHAT_TEMPLATE when the message is not in it as it is
 */
export function cutFinal(rendered: string, text: string): string {
  const at = rendered.lastIndexOf(MARK);
  if (at < 0 || !rendered.includes(text.trim())) {
    throw refused('it does not stand in the rendered text');
  }
  const before = rendered.slice(0, at);
  return rendered.startsWith(SPACED, at) ? before : trimEnd(before);
}

/** Whether a template's source reads the member at all. */
export function readsMember(source: string, member: string): boolean {
  const names = REASONING.includes(member) ? REASONING : [member];
  return names.some((name) => source.includes(name));
}

export function memberMissing(member: string): Error {
  return refused(`the template reads no ${member}`);
}

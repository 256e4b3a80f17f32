/** What is typed into a chat: lines that become texts and commands. */
import { octavoError } from '../errors.js';

/** What was typed so far has been taken back. */
export const CANCELLED = Symbol('cancelled');

/** Where lines come from: a terminal, or a pipe. */
export interface Lines {
  /**
   * The next line, null at the end.
   * @param prompt shown by a terminal
   */
  read(prompt: string): Promise<string | null | typeof CANCELLED>;
}

/** A text for the model, or a command and what stands behind it. */
export type Entry =
  | { readonly text: string }
  | { readonly command: string; readonly argument: string };

const FENCE = "'''";
const PROMPT = '> ';
const MORE = '… ';

/** A block begins a line, or is what /system says. */
const BLOCK = /^(\/system\s+)?'''/;

/**
 * The next entry, null at the end of the input. A line that ends in a backslash goes on in the
 * next; between ''' and ''' stand any lines. A slash begins a command, two are one of the text.
 * @throws ERR_INVALID_PROMPT for a block without an end
 */
export async function readEntry(lines: Lines): Promise<Entry | null> {
  for (;;) {
    const line = await lines.read(PROMPT);
    if (line === null) return null;
    if (line === CANCELLED) continue;
    const entry = await entryOf(line, lines);
    if (entry === CANCELLED) continue;
    if (!('text' in entry) || entry.text.trim() !== '') return entry;
  }
}

async function entryOf(line: string, lines: Lines): Promise<Entry | typeof CANCELLED> {
  const block = BLOCK.exec(line);
  if (block !== null) {
    const text = await restOfBlock(line.slice(block[0].length), lines);
    if (text === CANCELLED) return CANCELLED;
    return block[1] === undefined ? { text } : { command: 'system', argument: text };
  }
  const whole = await continued(line, lines);
  if (whole === CANCELLED) return CANCELLED;
  if (whole.startsWith('//')) return { text: whole.slice(1) };
  const [, command, argument] = /^\/(\S*)\s*([\s\S]*)$/.exec(whole) ?? [];
  return command === undefined ? { text: whole } : { command, argument: argument.trimEnd() };
}

/** The end of the input ends the text, too. */
async function continued(line: string, lines: Lines): Promise<string | typeof CANCELLED> {
  let text = line;
  while (text.endsWith('\\')) {
    const more = await lines.read(MORE);
    if (more === CANCELLED) return CANCELLED;
    text = `${text.slice(0, -1)}\n${more ?? ''}`;
    if (more === null) break;
  }
  return text;
}

/** The fences may have lines of their own. */
async function restOfBlock(first: string, lines: Lines): Promise<string | typeof CANCELLED> {
  const block = [first];
  while (!block[block.length - 1].trimEnd().endsWith(FENCE)) {
    const more = await lines.read(MORE);
    if (more === CANCELLED) return CANCELLED;
    if (more === null) {
      const sentence = `the input ends within a block; ${FENCE} at the end of a line closes it`;
      throw octavoError('ERR_INVALID_PROMPT', sentence, { param: 'messages' });
    }
    block.push(more);
  }
  const last = block[block.length - 1].trimEnd();
  block[block.length - 1] = last.slice(0, -FENCE.length);
  if (block.length > 1 && block[block.length - 1].trim() === '') block.pop();
  if (block.length > 1 && block[0].trim() === '') block.shift();
  return block.join('\n');
}

/** Turns with calls drawn at random, as a family's template writes them. */
import type { Beginning } from '../../lib/tools/parser.js';
import type { ToolDefinition } from '../../lib/tools/types.js';
import type { Random } from '../support/random.js';
import { randomTools } from '../support/random-tools.js';
import { type Subject, type Turn, writtenBy } from './support.js';

export interface Drawn {
  readonly tools: readonly ToolDefinition[];
  readonly turn: Turn;
  /** As a model writes it, with marks. */
  readonly text: string;
  readonly beginning: Beginning;
}

/** @param refuses texts that the family cannot hold */
export function drawTurn(
  own: Subject,
  { refuses, reasons }: { readonly refuses?: RegExp; readonly reasons?: boolean },
  draws: Random,
): Drawn {
  const { uniform } = draws;
  const pick = <T>(list: readonly T[]): T => list[draws.integer(list.length)];
  const isTagged = own.spelled.calls?.arguments.kind === 'tagged';
  /** A text in a tag may not spell the tag's end. */
  const allows = (text: string) =>
    !refuses?.test(text) && !(isTagged && /<\/(parameter|arg_value)/.test(text));
  const { tools, args } = randomTools(uniform, { allows });
  const count = own.spelled.calls?.parallel ? 1 + draws.integer(3) : 1;
  const calls = Array.from({ length: count }, () => {
    const { name } = tools[draws.integer(tools.length)].function;
    return { name, args: args(name) };
  });
  const { content } = own.spelled;
  // Content up to the end of an answer leaves no place for calls.
  const isLast = content.start !== '' && content.end === '';
  const withContent = uniform() < 0.5 && !own.spelled.calls?.bare && !isLast;
  const turn: Turn = {
    content: withContent ? pick(['Let me see.', 'Grüße 👍 <b>', 'One\n\ntwo']) : '',
    ...(reasons && uniform() < 0.6
      ? { reasoning: pick(['I think.', 'First\n\nthen <x> 日本']) }
      : {}),
    calls,
  };
  return { tools, turn, ...writtenBy(own, tools, turn) };
}

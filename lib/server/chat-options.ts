/** What the library is told of a conversation beside its messages: tools, and how it may think. */
import type { ChatOptions, ReasoningOptions } from '../tools/types.js';
import type { ServerConfig } from './options.js';
import type { ToolWishes } from './tools.js';

/** How requests say whether, and how much, a model thinks before it answers. */
export interface ReasoningBody {
  readonly reasoning_effort?: string;
  readonly thinking_token_budget?: number;
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>>;
}

/** Names that templates have for the same switch. */
const SWITCHES = ['enable_thinking', 'thinking'];

export function reasoningOf(body: ReasoningBody): ReasoningOptions {
  const { reasoning_effort: effort, thinking_token_budget: budget = -1 } = body;
  const variables = body.chat_template_kwargs ?? {};
  const given = SWITCHES.map((name) => variables[name]).find((one) => typeof one === 'boolean');
  const enabled = (given as boolean | undefined) ?? (effort === 'none' ? false : undefined);
  return {
    ...(enabled === undefined ? {} : { enabled }),
    ...(budget < 0 ? {} : { budget }),
    ...(effort === undefined || effort === 'none' ? {} : { effort }),
  };
}

/** @throws Problem 400 */
export function chatOptions(
  { toolCallParser, reasoningParser }: ServerConfig,
  { toolbox, choice, parallel }: ToolWishes,
  reasoning: ReasoningOptions,
): ChatOptions {
  return {
    ...toolbox.options(choice, parallel),
    ...(Object.keys(reasoning).length === 0 ? {} : { reasoning }),
    ...(toolCallParser === undefined ? {} : { toolCallParser }),
    ...(reasoningParser === undefined ? {} : { reasoningParser }),
  };
}

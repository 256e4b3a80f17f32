/** What a chat completion asks for, understood. */
import type { GenerateParams } from '../engine/gate.js';
import type { Prompt } from '../engine/prompts.js';
import type { ChatStyle } from './chat-message.js';
import { chatOptions, reasoningOf } from './chat-options.js';
import { promptText, withTokenWishes } from './encoding.js';
import type { StartEvent } from './engine-events.js';
import type { Exchange } from './exchange.js';
import type { Model } from './models.js';
import { checkStream, generateParams } from './params.js';
import { badRequest } from './problem.js';
import { chatForms, renderOptions } from './prompt-input.js';
import { refuseUnsupported } from './refused.js';
import { type ChatBody, chatBody } from './schemas/chat.js';
import { answerId, type Service, VERSION } from './service.js';
import { structuredWish } from './structured.js';
import { tellHosted } from './toolbox.js';
import { chatTools, isOld } from './tools.js';

export const FINGERPRINT = `octavo-${VERSION}`;

/** A request that has been understood. */
export interface ChatCall {
  /** Of the answer. */
  readonly id: string;
  readonly body: ChatBody;
  readonly model: Model;
  readonly forms: Iterable<Prompt>;
  readonly params: GenerateParams;
  /** How its answers are told. */
  readonly style: ChatStyle;
}

/** @throws Problem 400, 404 */
export async function readChat(service: Service, exchange: Exchange): Promise<ChatCall> {
  const body = await exchange.body(chatBody);
  const model = service.models.findFor('generate', body.model);
  refuseUnsupported(body);
  checkCombinations(body);
  exchange.logprobsField = 'top_logprobs';
  const maxTokens = body.max_completion_tokens ?? body.max_tokens;
  const params = generateParams(model.llm, body, {
    maxTokens,
    logprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
    promptLogprobs: body.prompt_logprobs,
    structuredOutputs: structuredWish(exchange, body),
  });
  const tools = chatTools(body);
  tellHosted(exchange, tools.hosted);
  const chat = chatOptions(service.config, tools, reasoningOf(body));
  const template = renderOptions(body, service.config);
  const forms = chatForms(body.messages, template, chat, model.llm.chatTemplate);
  const wished = await withTokenWishes(exchange, model.llm, forms, body, maxTokens ?? 1);
  const style = {
    toolbox: tools.toolbox,
    isOld: isOld(body),
    isNamed: typeof tools.choice === 'object' && 'name' in tools.choice,
    withReasoning: body.include_reasoning ?? true,
    reasoningField: service.config.reasoningField,
  };
  return { id: answerId('chatcmpl-', body), body, model, forms: wished, params, style };
}

function checkCombinations(body: ChatBody): void {
  checkStream(body);
  if (body.top_logprobs !== undefined && body.top_logprobs !== 0 && !body.logprobs) {
    throw badRequest('top_logprobs needs logprobs: true', 'top_logprobs');
  }
}

/** What of the last message an answer repeats, where `echo` asks for it. */
export function echoed({
  echo,
  add_generation_prompt: begin,
  continue_final_message,
  messages,
}: ChatBody) {
  if (!echo || (begin !== false && !continue_final_message)) return '';
  const { content } = messages[messages.length - 1];
  if (typeof content === 'string') return content;
  return (content ?? []).map(({ text }) => (typeof text === 'string' ? text : '')).join('\n');
}

/** What a request may ask to see of its prompt. */
export async function promptParts({ body, model }: ChatCall, start: StartEvent) {
  return {
    ...(body.return_token_ids ? { prompt_token_ids: start.tokenIds } : {}),
    // What a template writes is control tokens, too.
    ...(body.return_prompt_text ? { prompt_text: await promptText(model.llm, start, false) } : {}),
  };
}

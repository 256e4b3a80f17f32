/** /v1/messages and /v1/messages/count_tokens, as Anthropic's */

import { z } from 'zod';
import type { SamplingParams } from '../core/sampling-params.js';
import type { Prompt } from '../engine/prompts.js';
import { collect, streamFrames } from './answering.js';
import { encodeForms } from './encoding.js';
import type { EndEvent, GenerationEvent } from './engine-events.js';
import type { Exchange } from './exchange.js';
import { blockText, messagesOf } from './message-blocks.js';
import type { Model } from './models.js';
import { badRequest } from './problem.js';
import { chatForms, renderOptions } from './prompt-input.js';
import { refuseUnsupported } from './refused.js';
import type { Route } from './router.js';
import {
  type CountBody,
  countBody,
  type MessageBody,
  messageAnswer,
  messageBody,
  messageProblem,
} from './schemas/messages.js';
import { newId, type Service } from './service.js';
import { SseWriter } from './sse.js';
import { Usage } from './usage.js';

interface MessageCall {
  readonly body: MessageBody;
  readonly model: Model;
  readonly forms: Iterable<Prompt>;
  readonly params: SamplingParams;
}

export function messageRoutes(service: Service): Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/messages',
      summary: "Answers a conversation, as Anthropic's messages",
      body: messageBody,
      response: messageAnswer,
      streams: true,
      problem: messageProblem,
      guarded: true,
      queued: true,
      async handle(exchange) {
        const body = await exchange.body(messageBody);
        const call = read(service, body);
        await (body.stream ? stream : answer)(service, exchange, call);
      },
    },
    {
      method: 'POST',
      path: '/v1/messages/count_tokens',
      summary: 'Tokens of a conversation',
      body: countBody,
      response: z.object({ input_tokens: z.int() }),
      problem: messageProblem,
      guarded: true,
      queued: true,
      async handle(exchange) {
        const body = await exchange.body(countBody);
        const { llm } = service.models.find(body.model);
        const tokenIds = await encodeForms(exchange, llm, formsOf(service, body));
        exchange.json({ input_tokens: tokenIds.length });
      },
    },
  ];
}

function read(service: Service, body: MessageBody): MessageCall {
  const model = service.models.findFor('generate', body.model);
  const optional = {
    temperature: body.temperature,
    topP: body.top_p,
    topK: body.top_k === -1 ? 0 : body.top_k,
    stop: body.stop_sequences?.filter((text) => text !== ''),
  };
  const given = Object.entries(optional).filter(([, value]) => value !== undefined);
  const params = { maxTokens: body.max_tokens, ...Object.fromEntries(given) };
  return { body, model, forms: formsOf(service, body), params };
}

function formsOf({ config }: Service, body: CountBody): Iterable<Prompt> {
  refuse(body);
  const messages = messagesOf(body);
  // Clients of Anthropic's begin what the assistant is to go on with.
  const { role, tool_calls } = messages[messages.length - 1];
  const continue_final_message = role === 'assistant' && tool_calls === undefined;
  return chatForms(messages, renderOptions({ messages, continue_final_message }, config));
}

/** The same as none, in Anthropic's words. */
const DEFAULT_EFFORT = 'high';

function refuse(body: CountBody): void {
  const { mcp_servers, container } = body;
  refuseUnsupported({ mcp_servers, container });
  const refused = (name: string, what: string) =>
    badRequest(`${name}: ${what} not supported yet; leave it out`, name);
  if ((body.tools?.length ?? 0) > 0) throw refused('tools', 'tools are');
  const choice = body.tool_choice?.type ?? 'auto';
  if (choice !== 'auto' && choice !== 'none') throw refused('tool_choice', 'tools are');
  if (body.thinking?.type === 'enabled') throw refused('thinking', 'reasoning is');
  const effort = body.output_config?.effort ?? DEFAULT_EFFORT;
  if (effort !== DEFAULT_EFFORT) throw refused('output_config.effort', 'reasoning efforts are');
  const format = body.output_config?.format ?? body.output_format ?? null;
  if (format !== null) throw refused('output_config.format', 'structured output is');
}

/** Why it ended, in Anthropic's words. */
function ending({ reason, stopReason }: Pick<EndEvent, 'reason' | 'stopReason'>) {
  if (reason === 'length') return { stop_reason: 'max_tokens', stop_sequence: null };
  if (typeof stopReason !== 'string') return { stop_reason: 'end_turn', stop_sequence: null };
  return { stop_reason: 'stop_sequence', stop_sequence: stopReason };
}

async function answer(service: Service, exchange: Exchange, call: MessageCall): Promise<void> {
  const { body, model, forms } = call;
  const mailbox = service.generator.run(exchange, { ...call, prompts: [forms] });
  const { samples, usage } = await collect(mailbox, 1);
  const [sample] = samples;
  exchange.json({
    id: newId('msg_'),
    type: 'message',
    role: 'assistant',
    model: body.model ?? model.name,
    content: [blockText(sample.text)],
    ...ending(sample),
    usage: usage.anthropic,
  });
}

async function stream(service: Service, exchange: Exchange, call: MessageCall): Promise<void> {
  const { body, model, forms } = call;
  const { maxBufferedBytes } = service.config;
  const sse = new SseWriter(exchange, { named: true });
  const generation = { ...call, prompts: [forms] };
  const mailbox = service.generator.run(exchange, generation, maxBufferedBytes);
  const events = new MessageEvents(body.model ?? model.name);
  await streamFrames(mailbox, sse, (event) => events.of(event));
  sse.end();
}

class MessageEvents {
  readonly #model: string;
  readonly #usage = new Usage();
  #ending: object = {};

  constructor(model: string) {
    this.#model = model;
  }

  of(event: GenerationEvent): object[] {
    this.#usage.add(event);
    if (event.type === 'start') return this.#begin();
    if (event.type === 'end') {
      this.#ending = ending(event);
      return [{ type: 'content_block_stop', index: 0 }];
    }
    if (event.type === 'delta') {
      const { text } = event;
      if (text === '') return [];
      return [{ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }];
    }
    const usage = this.#usage.anthropic;
    return [{ type: 'message_delta', delta: this.#ending, usage }, { type: 'message_stop' }];
  }

  #begin(): object[] {
    const message = {
      id: newId('msg_'),
      type: 'message',
      role: 'assistant',
      model: this.#model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: this.#usage.anthropic,
    };
    return [
      { type: 'message_start', message },
      { type: 'content_block_start', index: 0, content_block: blockText('') },
    ];
  }
}

/** /v1/messages and /v1/messages/count_tokens, as Anthropic's */
import { z } from 'zod';
import type { SamplingParams } from '../core/sampling-params.js';
import type { StructuredOutputs } from '../core/structured.js';
import type { Prompt } from '../engine/prompts.js';
import type { ReasoningOptions } from '../tools/types.js';
import { collect, streamFrames } from './answering.js';
import { chatOptions } from './chat-options.js';
import { encodeForms } from './encoding.js';
import type { Exchange } from './exchange.js';
import type { Generation } from './generation.js';
import { messagesOf } from './message-blocks.js';
import { blocksOf, ending, MessageEvents } from './message-events.js';
import type { Model } from './models.js';
import { anthropicError, Problem } from './problem.js';
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
import { tellHosted } from './toolbox.js';
import { messageTools, type ToolWishes } from './tools.js';

interface MessageCall {
  /** Of the answer. */
  readonly id: string;
  readonly body: MessageBody;
  readonly model: Model;
  readonly forms: Iterable<Prompt>;
  readonly params: SamplingParams;
  readonly hasTools: boolean;
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
        const call = read(service, exchange, body);
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
        const forms = formsOf(service, body, messageTools(body));
        const tokenIds = await encodeForms(exchange, llm, forms);
        exchange.json({ input_tokens: tokenIds.length });
      },
    },
  ];
}

function read(service: Service, exchange: Exchange, body: MessageBody): MessageCall {
  const model = service.models.findFor('generate', body.model);
  const tools = messageTools(body);
  tellHosted(exchange, tools.hosted);
  const optional = {
    temperature: body.temperature,
    topP: body.top_p,
    topK: body.top_k === -1 ? 0 : body.top_k,
    stop: body.stop_sequences?.filter((text) => text !== ''),
    structuredOutputs: formatOf(exchange, body),
  };
  const given = Object.entries(optional).filter(([, value]) => value !== undefined);
  const params = { maxTokens: body.max_tokens, ...Object.fromEntries(given) };
  const forms = formsOf(service, body, tools);
  const hasTools = !tools.toolbox.isEmpty;
  return { id: newId('msg_'), body, model, forms, params, hasTools };
}

function formatOf(exchange: Exchange, body: MessageBody): StructuredOutputs | undefined {
  const format = body.output_config?.format ?? body.output_format;
  if (format === undefined) return undefined;
  const isOld = body.output_config?.format === undefined;
  exchange.structuredField = isOld ? 'output_format' : 'output_config.format';
  return { json: format.schema };
}

function formsOf({ config }: Service, body: CountBody, tools: ToolWishes): Iterable<Prompt> {
  refuseUnsupported({ mcp_servers: body.mcp_servers, container: body.container });
  refuseThread(body);
  const messages = messagesOf(body);
  // Clients of Anthropic's begin what the assistant is to go on with.
  const { role, tool_calls } = messages[messages.length - 1];
  const continue_final_message = role === 'assistant' && tool_calls === undefined;
  const template = renderOptions({ messages, continue_final_message }, config);
  return chatForms(messages, template, chatOptions(config, tools, reasoningOf(body)));
}

/**
 * Conversations are not kept here. Clients that are told so in this way send all of it instead.
 * @throws Problem 400
 */
function refuseThread({ thread }: CountBody): void {
  if (thread === undefined || thread === null) return;
  const sentence = 'thread: conversations are not kept; send all messages, without thread';
  const details = { error_code: 'thread_unsupported_request', unsupported: [] };
  throw new Problem(400, sentence, 'thread', {}, details);
}

/** `adaptive` leaves it to the model, as saying nothing does. */
function reasoningOf({ thinking, output_config }: CountBody): ReasoningOptions {
  const { type = 'adaptive', budget_tokens: budget } = thinking ?? {};
  const effort = output_config?.effort;
  return {
    ...(type === 'adaptive' ? {} : { enabled: type === 'enabled' }),
    ...(type !== 'enabled' || budget === undefined ? {} : { budget }),
    ...(effort === undefined ? {} : { effort }),
  };
}

function generationOf({ id, model, forms, params, hasTools }: MessageCall): Generation {
  const generation = { id, model, prompts: [forms], params };
  return hasTools ? { ...generation, toolRoute: 'other' } : generation;
}

async function answer(service: Service, exchange: Exchange, call: MessageCall): Promise<void> {
  const { body, model } = call;
  const mailbox = service.generator.run(exchange, generationOf(call));
  const { samples, usage } = await collect(mailbox, 1);
  const [sample] = samples;
  exchange.json({
    id: call.id,
    type: 'message',
    role: 'assistant',
    model: body.model ?? model.name,
    content: blocksOf(sample.turn),
    ...ending(sample),
    ...(sample.problem === undefined ? {} : { error: anthropicError(sample.problem) }),
    usage: usage.anthropic,
  });
}

async function stream(service: Service, exchange: Exchange, call: MessageCall): Promise<void> {
  const { body, model } = call;
  const { maxBufferedBytes } = service.config;
  const sse = new SseWriter(exchange, { named: true });
  const mailbox = service.generator.run(exchange, generationOf(call), maxBufferedBytes);
  const events = new MessageEvents(call.id, body.model ?? model.name);
  await streamFrames(mailbox, sse, (event) => events.of(event));
  sse.end();
}

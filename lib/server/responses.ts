/** /v1/responses */
import type { SamplingParams } from '../core/sampling-params.js';
import type { StructuredOutputs } from '../core/structured.js';
import type { Prompt } from '../engine/prompts.js';
import { streamFrames } from './answering.js';
import { chatOptions, reasoningOf } from './chat-options.js';
import type { Exchange } from './exchange.js';
import type { Generation } from './generation.js';
import { TokenWriter } from './logprobs.js';
import type { Model } from './models.js';
import { generateParams, restOfContext } from './params.js';
import { badRequest, Problem } from './problem.js';
import { chatForms, renderOptions } from './prompt-input.js';
import { refuseUnsupported } from './refused.js';
import { ResponseEvents } from './response-events.js';
import { messagesOf } from './response-items.js';
import { ResponseStore } from './response-store.js';
import type { Route } from './router.js';
import type { WireMessage } from './schemas/chat.js';
import {
  type ResponseBody,
  responseAnswer,
  responseBody,
  responseDeleted,
} from './schemas/responses.js';
import { newId, type Service, seconds } from './service.js';
import { SseWriter } from './sse.js';
import { formatOf, structuredOf, structuredWish } from './structured.js';
import { type Toolbox, tellHosted } from './toolbox.js';
import { responseTools } from './tools.js';

interface ResponseCall {
  /** Of the answer. */
  readonly id: string;
  readonly body: ResponseBody;
  readonly model: Model;
  readonly messages: readonly WireMessage[];
  readonly forms: Iterable<Prompt>;
  readonly params: SamplingParams;
  readonly withLogprobs: boolean;
  readonly toolbox: Toolbox;
}

export function responseRoutes(service: Service): Route[] {
  const { maxStoredResponses, maxStoredBytes } = service.config;
  const store = new ResponseStore(maxStoredResponses, maxStoredBytes);
  const find = (id: string) => {
    const stored = store.get(id);
    if (stored !== undefined) return stored;
    throw new Problem(404, `the response ${id.slice(0, 100)} is not kept`, 'response_id');
  };
  const summary = "Answers, as OpenAI's responses";
  const path = '/v1/responses';
  return [
    {
      ...{ method: 'POST', path, summary, body: responseBody, response: responseAnswer },
      ...{ streams: true, guarded: true, queued: true },
      async handle(exchange) {
        const call = await read(service, exchange, store);
        await (call.body.stream ? stream : answer)(service, exchange, call, store);
      },
    },
    {
      ...{ method: 'GET', path: `${path}/{id}`, summary: 'A response that is kept' },
      ...{ response: responseAnswer, guarded: true },
      handle: (exchange) => exchange.json(find(exchange.pathId).response),
    },
    {
      ...{ method: 'DELETE', path: `${path}/{id}`, summary: 'Forgets a response' },
      ...{ response: responseDeleted, guarded: true },
      handle(exchange) {
        find(exchange.pathId);
        store.delete(exchange.pathId);
        exchange.json({ id: exchange.pathId, object: 'response', deleted: true });
      },
    },
  ];
}

async function read(
  service: Service,
  exchange: Exchange,
  store: ResponseStore,
): Promise<ResponseCall> {
  const body = await exchange.body(responseBody);
  const model = service.models.findFor('generate', body.model);
  refuseUnsupported(body);
  refuse(body);
  exchange.logprobsField = 'top_logprobs';
  const before = earlier(body, store);
  const messages = [...before, ...messagesOf(body.input)];
  const { instructions } = body;
  const system = instructions === undefined ? [] : [{ role: 'system', content: instructions }];
  const { chat_template_kwargs } = body;
  const template = renderOptions({ messages, chat_template_kwargs }, service.config);
  const withLogprobs =
    body.include?.includes('message.output_text.logprobs') === true || (body.top_logprobs ?? 0) > 0;
  const maxTokens = body.max_output_tokens ?? restOfContext(model.llm, 1);
  const logprobs = withLogprobs ? (body.top_logprobs ?? 0) : undefined;
  const structuredOutputs = outputOf(exchange, body);
  const wishes = { maxTokens, logprobs, structuredOutputs };
  const params = generateParams(model.llm, body, wishes) as SamplingParams;
  const tools = responseTools(body);
  tellHosted(exchange, tools.hosted);
  const reasoning = reasoningOf({ ...body, reasoning_effort: effortOf(body) });
  const chat = chatOptions(service.config, tools, reasoning);
  const forms = chatForms([...system, ...messages], template, chat, model.llm.chatTemplate);
  const { toolbox } = tools;
  return { id: newId('resp_'), body, model, messages, forms, params, withLogprobs, toolbox };
}

const effortOf = ({ reasoning, reasoning_effort }: ResponseBody) =>
  reasoning?.effort ?? reasoning_effort;

function earlier({ previous_response_id: id }: ResponseBody, store: ResponseStore) {
  if (id === undefined) return [];
  const stored = store.get(id);
  if (stored !== undefined) return stored.messages;
  const sentence = `previous_response_id: ${id.slice(0, 100)} is not kept; send all items instead`;
  throw badRequest(sentence, 'previous_response_id');
}

function refuse(body: ResponseBody): void {
  for (const name of ['background', 'conversation', 'prompt'] as const) {
    if (body[name]) throw badRequest(`${name}: is not supported`, name);
  }
}

/** The API's own field, or one of vLLM's. */
function outputOf(exchange: Exchange, body: ResponseBody): StructuredOutputs | undefined {
  const format = body.text?.format;
  const own = format && formatOf(format, 'text.format');
  if (!own) return structuredWish(exchange, body);
  const other = structuredOf(body);
  if (other !== undefined) {
    throw badRequest(`text.format and ${other.field} exclude each other`, other.field);
  }
  exchange.structuredField = 'text.format';
  return own;
}

function generationOf({ id, model, forms, params, body, toolbox }: ResponseCall): Generation {
  const generation = { id, model, prompts: [forms], params, priority: body.priority };
  return toolbox.isEmpty ? generation : { ...generation, toolRoute: 'responses' };
}

function eventsOf(call: ResponseCall): ResponseEvents {
  const { id, body, model, withLogprobs, params, toolbox } = call;
  const writer = withLogprobs ? new TokenWriter(model.llm.tokenizer) : null;
  return new ResponseEvents({
    id,
    created: seconds(),
    model: body.model ?? model.name,
    body,
    temperature: params.temperature ?? 1,
    topP: params.topP ?? 1,
    writer,
    toolbox,
    withEncrypted: body.include?.includes('reasoning.encrypted_content') === true,
  });
}

/** The conversation goes on from here, unless the request says otherwise. */
function keep(call: ResponseCall, events: ResponseEvents, store: ResponseStore): void {
  if (call.body.store === false) return;
  const messages = [...call.messages, events.said];
  store.set(events.id, { response: events.response(), messages });
}

async function answer(
  service: Service,
  exchange: Exchange,
  call: ResponseCall,
  store: ResponseStore,
): Promise<void> {
  const events = eventsOf(call);
  const mailbox = service.generator.run(exchange, generationOf(call));
  for (const event of (await mailbox.takeAll()) ?? []) events.of(event);
  keep(call, events, store);
  exchange.json(events.response());
}

async function stream(
  service: Service,
  exchange: Exchange,
  call: ResponseCall,
  store: ResponseStore,
): Promise<void> {
  const events = eventsOf(call);
  const sse = new SseWriter(exchange, { named: true, asError: (body) => events.error(body) });
  const { maxBufferedBytes } = service.config;
  const mailbox = service.generator.run(exchange, generationOf(call), maxBufferedBytes);
  await streamFrames(mailbox, sse, (event) => {
    // It may be asked for as soon as the client has heard of its end.
    const frames = events.of(event);
    if (event.type === 'done') keep(call, events, store);
    return frames;
  });
  sse.end();
}

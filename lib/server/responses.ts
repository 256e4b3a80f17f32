/** /v1/responses */
import type { SamplingParams } from '../core/sampling-params.js';
import type { Prompt } from '../engine/prompts.js';
import { streamFrames } from './answering.js';
import type { Exchange } from './exchange.js';
import { TokenWriter } from './logprobs.js';
import { SILENT } from './logs.js';
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

interface ResponseCall {
  readonly body: ResponseBody;
  readonly model: Model;
  readonly messages: readonly WireMessage[];
  readonly forms: Iterable<Prompt>;
  readonly params: SamplingParams;
  readonly withLogprobs: boolean;
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
  refuseUnsupported({ ...body, tools: undefined });
  refuse(body, exchange);
  const before = earlier(body, store);
  const messages = [...before, ...messagesOf(body.input)];
  const { instructions } = body;
  const system = instructions === undefined ? [] : [{ role: 'system', content: instructions }];
  const template = renderOptions({ messages }, service.config);
  const withLogprobs =
    body.include?.includes('message.output_text.logprobs') === true || (body.top_logprobs ?? 0) > 0;
  const maxTokens = body.max_output_tokens ?? restOfContext(model.llm, 1);
  const logprobs = withLogprobs ? (body.top_logprobs ?? 0) : undefined;
  const params = generateParams(model.llm, body, { maxTokens, logprobs }) as SamplingParams;
  const forms = chatForms([...system, ...messages], template);
  return { body, model, messages, forms, params, withLogprobs };
}

function earlier({ previous_response_id: id }: ResponseBody, store: ResponseStore) {
  if (id === undefined) return [];
  const stored = store.get(id);
  if (stored !== undefined) return stored.messages;
  const sentence = `previous_response_id: ${id.slice(0, 100)} is not kept; send all items instead`;
  throw badRequest(sentence, 'previous_response_id');
}

/** Tools that run on OpenAI's side have no meaning here; others are not there yet. */
function refuse(body: ResponseBody, { id, config }: Exchange): void {
  const OURS = ['function', 'custom', 'namespace'];
  const typeOf = (tool: unknown) => {
    const type = (tool as { type?: unknown } | null)?.type;
    return typeof type === 'string' ? type.slice(0, 64) : 'of no type';
  };
  const tools = body.tools ?? [];
  if (tools.some((tool) => OURS.includes(typeOf(tool)))) {
    throw badRequest('tools: tools are not supported yet; leave it out', 'tools');
  }
  if (tools.length > 0) {
    const fields = { request_id: id, tools: tools.map(typeOf) };
    (config.logger ?? SILENT).info(fields, 'hosted tools were passed over');
  }
  const format = body.text?.format?.type ?? 'text';
  if (format !== 'text') {
    throw badRequest('text.format: structured output is not supported yet', 'text.format');
  }
  const effort = body.reasoning?.effort ?? 'none';
  if (effort !== 'none') {
    throw badRequest('reasoning.effort: reasoning is not supported yet', 'reasoning.effort');
  }
  for (const name of ['background', 'conversation', 'prompt'] as const) {
    if (body[name]) throw badRequest(`${name}: is not supported`, name);
  }
}

function eventsOf(call: ResponseCall): ResponseEvents {
  const { body, model, withLogprobs, params } = call;
  const writer = withLogprobs ? new TokenWriter(model.llm.tokenizer) : null;
  return new ResponseEvents({
    id: newId('resp_'),
    itemId: newId('msg_'),
    created: seconds(),
    model: body.model ?? model.name,
    body,
    temperature: params.temperature ?? 1,
    topP: params.topP ?? 1,
    writer,
  });
}

/** The conversation goes on from here, unless the request says otherwise. */
function keep(call: ResponseCall, events: ResponseEvents, store: ResponseStore): void {
  if (call.body.store === false) return;
  const said = { role: 'assistant', content: events.text };
  store.set(events.id, { response: events.response(), messages: [...call.messages, said] });
}

async function answer(
  service: Service,
  exchange: Exchange,
  call: ResponseCall,
  store: ResponseStore,
): Promise<void> {
  const generation = { ...call, prompts: [call.forms], priority: call.body.priority };
  const events = eventsOf(call);
  const mailbox = service.generator.run(exchange, generation);
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
  const generation = { ...call, prompts: [call.forms], priority: call.body.priority };
  const { maxBufferedBytes } = service.config;
  const mailbox = service.generator.run(exchange, generation, maxBufferedBytes);
  await streamFrames(mailbox, sse, (event) => {
    // It may be asked for as soon as the client has heard of its end.
    const frames = events.of(event);
    if (event.type === 'done') keep(call, events, store);
    return frames;
  });
  sse.end();
}

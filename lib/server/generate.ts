/** /inference/v1/generate: ids in, ids out, for those who tokenize elsewhere */
import { collect, failureOf, streamFrames } from './answering.js';
import type { GenerationEvent } from './engine-events.js';
import type { Exchange } from './exchange.js';
import { type Generation, requestWishes } from './generation.js';
import { TokenWriter } from './logprobs.js';
import { checkStream, generateParams } from './params.js';
import { badRequest } from './problem.js';
import { refuseReasoning, refuseUnsupported } from './refused.js';
import type { Route } from './router.js';
import { type GenerateBody, generateAnswer, generateBody } from './schemas/generate.js';
import { newId, type Service } from './service.js';
import { SseWriter } from './sse.js';
import { structuredWish } from './structured.js';
import { Usage } from './usage.js';

/** Where nothing is said; vLLM's. */
const DEFAULT_MAX_TOKENS = 16;

export function generateRoute(service: Service): Route {
  return {
    method: 'POST',
    path: '/inference/v1/generate',
    summary: 'Goes on with token ids',
    body: generateBody,
    response: generateAnswer,
    streams: true,
    guarded: true,
    queued: true,
    async handle(exchange) {
      const body = await exchange.body(generateBody);
      const generation = read(service, exchange, body);
      await (body.stream ? stream : answer)(service, exchange, body, generation);
    },
  };
}

type Sampling = NonNullable<GenerateBody['sampling_params']>;

function samplingOf({ sampling_params: given, cache_salt, priority }: GenerateBody): Sampling {
  const own = Object.entries({ cache_salt, priority }).filter(([, value]) => value !== undefined);
  return { ...(given ?? ({} as Sampling)), ...Object.fromEntries(own) };
}

function read(service: Service, exchange: Exchange, body: GenerateBody): Generation {
  const sampling = samplingOf(body);
  const { kv_transfer_params, features, stream, stream_options } = body;
  refuseUnsupported({ kv_transfer_params, features, ...sampling });
  refuseReasoning(sampling);
  checkStream({ stream, stream_options, prompt_logprobs: sampling.prompt_logprobs });
  for (const name of ['truncate_prompt_tokens', 'echo'] as const) {
    if (!sampling[name]) continue;
    throw badRequest(`sampling_params.${name}: ids are taken as they come`, name);
  }
  const model = service.models.findFor('generate', body.model);
  const params = generateParams(model.llm, sampling, {
    maxTokens: sampling.max_tokens ?? sampling.max_completion_tokens ?? DEFAULT_MAX_TOKENS,
    logprobs: sampling.logprobs,
    promptLogprobs: sampling.prompt_logprobs,
    structuredOutputs: structuredWish(exchange, sampling),
  });
  const prompts = [[{ promptTokenIds: body.token_ids }]];
  // A client may ask twice under the name of an exchange.
  const { request_id = sampling.request_id ?? newId(`${exchange.id}-`) } = body;
  return { id: request_id, model, prompts, params, ...requestWishes(sampling) };
}

/** What the answer calls its request. */
function nameOf(body: GenerateBody, exchange: Exchange): string {
  return body.request_id ?? samplingOf(body).request_id ?? exchange.id;
}

async function answer(
  service: Service,
  exchange: Exchange,
  body: GenerateBody,
  generation: Generation,
): Promise<void> {
  const sampling = samplingOf(body);
  const mailbox = service.generator.run(exchange, generation);
  const { samples } = await collect(mailbox, sampling.n ?? 1);
  const writer = new TokenWriter(generation.model.llm.tokenizer);
  const { logprobs } = samples[0].prompt;
  exchange.json({
    request_id: nameOf(body, exchange),
    choices: samples.map((sample, index) => ({
      index,
      logprobs:
        sampling.logprobs === undefined
          ? null
          : { content: sample.logprobs.map((one) => writer.chat(one)) },
      finish_reason: sample.reason,
      token_ids: sample.tokenIds,
      ...failureOf(sample),
    })),
    prompt_logprobs: logprobs === undefined ? null : writer.prompt(logprobs),
    kv_transfer_params: null,
  });
}

async function stream(
  service: Service,
  exchange: Exchange,
  body: GenerateBody,
  generation: Generation,
): Promise<void> {
  const sse = new SseWriter(exchange);
  const writer = new TokenWriter(generation.model.llm.tokenizer);
  const usage = new Usage();
  const isAsked = samplingOf(body).logprobs !== undefined;
  const id = nameOf(body, exchange);
  const { maxBufferedBytes } = service.config;
  const mailbox = service.generator.run(exchange, generation, maxBufferedBytes);
  const chunk = (choice: object) => [{ request_id: id, choices: [choice] }];
  await streamFrames(mailbox, sse, (event: GenerationEvent) => {
    usage.add(event);
    if (event.type === 'start' || event.type === 'done') return [];
    const { sample: index } = event;
    if (event.type === 'end') {
      const last = { index, logprobs: null, finish_reason: event.reason, token_ids: [] };
      return chunk({ ...last, ...failureOf(event) });
    }
    const content = event.logprobs?.map((one) => writer.chat(one)) ?? [];
    const logprobs = isAsked ? { content } : null;
    return chunk({ index, logprobs, finish_reason: null, token_ids: event.tokenIds });
  });
  if (body.stream_options?.include_usage) {
    sse.send({ request_id: id, choices: [], usage: usage.openai });
  }
  sse.end('[DONE]');
}

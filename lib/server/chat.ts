/** /v1/chat/completions */
import type { GenerateParams } from '../engine/gate.js';
import type { Prompt } from '../engine/prompts.js';
import { collect, type Sample, streamFrames } from './answering.js';
import { promptText, withTokenWishes } from './encoding.js';
import type { GenerationEvent, StartEvent } from './engine-events.js';
import type { Exchange } from './exchange.js';
import { TokenWriter } from './logprobs.js';
import type { Model } from './models.js';
import { checkStream, generateParams } from './params.js';
import { badRequest } from './problem.js';
import { chatForms, renderOptions } from './prompt-input.js';
import { refuseUnsupported } from './refused.js';
import type { Route } from './router.js';
import { type ChatBody, chatAnswer, chatBody } from './schemas/chat.js';
import { newId, type Service, seconds, VERSION } from './service.js';
import { SseWriter } from './sse.js';
import { Usage } from './usage.js';

export const FINGERPRINT = `octavo-${VERSION}`;

/** A request that has been understood. */
export interface ChatCall {
  readonly body: ChatBody;
  readonly model: Model;
  readonly forms: Iterable<Prompt>;
  readonly params: GenerateParams;
}

/** @throws Problem 400, 404 */
export async function readChat(service: Service, exchange: Exchange): Promise<ChatCall> {
  const body = await exchange.body(chatBody);
  const model = service.models.findFor('generate', body.model);
  refuseUnsupported(body);
  checkCombinations(body);
  const maxTokens = body.max_completion_tokens ?? body.max_tokens;
  const params = generateParams(model.llm, body, {
    maxTokens,
    logprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
    promptLogprobs: body.prompt_logprobs,
  });
  const forms = chatForms(body.messages, renderOptions(body, service.config));
  const wished = await withTokenWishes(exchange, model.llm, forms, body, maxTokens ?? 1);
  return { body, model, forms: wished, params };
}

function checkCombinations(body: ChatBody): void {
  checkStream(body);
  if (body.top_logprobs !== undefined && body.top_logprobs !== 0 && !body.logprobs) {
    throw badRequest('top_logprobs needs logprobs: true', 'top_logprobs');
  }
}

export function chatRoute(service: Service): Route {
  return {
    method: 'POST',
    path: '/v1/chat/completions',
    summary: "Answers a conversation, as OpenAI's chat completions",
    body: chatBody,
    response: chatAnswer,
    streams: true,
    guarded: true,
    queued: true,
    async handle(exchange) {
      const call = await readChat(service, exchange);
      await (call.body.stream ? stream : answer)(service, exchange, call);
    },
  };
}

/** What of the last message an answer repeats, where `echo` asks for it. */
function echoed({
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

async function answer(service: Service, exchange: Exchange, call: ChatCall): Promise<void> {
  const { body, model, forms, params } = call;
  const generation = { model, prompts: [forms], params, priority: body.priority };
  const mailbox = service.generator.run(exchange, generation);
  const { samples, usage } = await collect(mailbox, body.n ?? 1);
  const writer = new TokenWriter(model.llm.tokenizer, body.return_tokens_as_token_ids);
  const [{ prompt }] = samples;
  exchange.json({
    id: newId('chatcmpl-'),
    object: 'chat.completion',
    created: seconds(),
    model: body.model ?? model.name,
    choices: samples.map((sample, index) => choice(sample, index, body, writer)),
    usage: usage.openai,
    system_fingerprint: FINGERPRINT,
    service_tier: null,
    prompt_logprobs: prompt.logprobs === undefined ? null : writer.prompt(prompt.logprobs),
    ...(await promptParts(call, prompt)),
  });
}

function choice(sample: Sample, index: number, body: ChatBody, writer: TokenWriter) {
  const content = echoed(body) + sample.text;
  return {
    index,
    message: { role: 'assistant', content, refusal: null },
    logprobs: body.logprobs
      ? { content: sample.logprobs.map((one) => writer.chat(one)), refusal: null }
      : null,
    finish_reason: sample.reason,
    stop_reason: sample.stopReason,
    ...(body.return_token_ids ? { token_ids: sample.tokenIds } : {}),
  };
}

/** What a request may ask to see of its prompt. */
async function promptParts({ body, model }: ChatCall, start: StartEvent) {
  return {
    ...(body.return_token_ids ? { prompt_token_ids: start.tokenIds } : {}),
    // What a template writes is control tokens, too.
    ...(body.return_prompt_text ? { prompt_text: await promptText(model.llm, start, false) } : {}),
  };
}

async function stream(service: Service, exchange: Exchange, call: ChatCall): Promise<void> {
  const { body, model, forms, params } = call;
  const { maxBufferedBytes, enableForceIncludeUsage } = service.config;
  const sse = new SseWriter(exchange);
  const generation = { model, prompts: [forms], params, priority: body.priority };
  const mailbox = service.generator.run(exchange, generation, maxBufferedBytes);
  const withUsage = body.stream_options?.include_usage || enableForceIncludeUsage;
  const chunks = new ChatChunks(call, withUsage);
  await streamFrames(mailbox, sse, (event) => chunks.of(event));
  if (withUsage) sse.send(chunks.usageChunk());
  sse.end('[DONE]');
}

/** Events as chunks of OpenAI's: a role, pieces of content, a reason, for each choice. */
class ChatChunks {
  readonly #call: ChatCall;
  readonly #body: ChatBody;
  readonly #writer: TokenWriter;
  readonly #head: object;
  readonly #usage = new Usage();
  readonly #withUsage: boolean;

  constructor(call: ChatCall, withUsage: boolean) {
    const { body, model } = call;
    this.#call = call;
    this.#body = body;
    this.#withUsage = withUsage;
    this.#writer = new TokenWriter(model.llm.tokenizer, body.return_tokens_as_token_ids);
    this.#head = {
      id: newId('chatcmpl-'),
      object: 'chat.completion.chunk',
      created: seconds(),
      model: body.model ?? model.name,
      system_fingerprint: FINGERPRINT,
    };
  }

  of(event: GenerationEvent): object[] | Promise<object[]> {
    this.#usage.add(event);
    if (event.type === 'done') return [];
    if (event.type === 'start') return this.#begin(event);
    const { sample: index } = event;
    if (event.type === 'end') {
      const { reason, stopReason } = event;
      const last = { index, delta: {}, logprobs: null, finish_reason: reason };
      return [this.#chunk({ ...last, stop_reason: stopReason })];
    }
    const { return_token_ids: withIds, logprobs: withLogprobs } = this.#body;
    // Tokens whose text is held back are told only where somebody counts them.
    if (event.text === '' && !withIds && !withLogprobs) return [];
    const logprobs = withLogprobs
      ? { content: event.logprobs?.map((one) => this.#writer.chat(one)) ?? [], refusal: null }
      : null;
    const delta = { index, delta: { content: event.text }, logprobs, finish_reason: null };
    return [this.#chunk({ ...delta, ...(withIds ? { token_ids: event.tokenIds } : {}) })];
  }

  async #begin(start: StartEvent): Promise<object[]> {
    const content = echoed(this.#body);
    const parts = await promptParts(this.#call, start);
    return Array.from({ length: this.#body.n ?? 1 }, (_, index) => {
      const delta = { role: 'assistant', content };
      const first = this.#chunk({ index, delta, logprobs: null, finish_reason: null });
      return index === 0 ? { ...first, ...parts } : first;
    });
  }

  #chunk(choice: object): object {
    const chunk = { ...this.#head, choices: [choice] };
    if (!this.#withUsage) return chunk;
    const isContinuous = this.#body.stream_options?.continuous_usage_stats;
    return { ...chunk, usage: isContinuous ? this.#usage.openai : null };
  }

  usageChunk(): object {
    return { ...this.#head, choices: [], usage: this.#usage.openai };
  }
}

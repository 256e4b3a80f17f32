/** /v1/completions */
import type { GenerateParams } from '../engine/gate.js';
import type { Prompt } from '../engine/prompts.js';
import { collect, failureOf, type Sample, streamFrames } from './answering.js';
import { FINGERPRINT } from './chat-call.js';
import { promptText, withTokenWishes } from './encoding.js';
import type { DeltaEvent, GenerationEvent, StartEvent } from './engine-events.js';
import type { Exchange } from './exchange.js';
import { fillIn } from './fill-in.js';
import { requestWishes } from './generation.js';
import { CompletionLogprobs, TokenWriter } from './logprobs.js';
import type { Model } from './models.js';
import { checkStream, generateParams } from './params.js';
import { textPrompts } from './prompt-input.js';
import { refuseReasoning, refuseUnsupported } from './refused.js';
import type { Route } from './router.js';
import { type CompletionBody, completionAnswer, completionBody } from './schemas/completions.js';
import { answerId, type Service, seconds } from './service.js';
import { SseWriter } from './sse.js';
import { structuredWish } from './structured.js';
import { Usage } from './usage.js';

/** Where nothing is said. */
const DEFAULT_MAX_TOKENS = 16;

export interface CompletionCall {
  /** Of the answer. */
  readonly id: string;
  readonly body: CompletionBody;
  readonly model: Model;
  readonly prompts: readonly Iterable<Prompt>[];
  readonly params: GenerateParams;
  readonly promptOnly: boolean;
  /** What `echo` repeats, where the prompts are made of more than that. */
  readonly written?: readonly string[];
}

/** @throws Problem 400, 404 */
export async function readCompletion(
  service: Service,
  exchange: Exchange,
): Promise<CompletionCall> {
  const given = await exchange.body(completionBody);
  const model = service.models.findFor('generate', given.model);
  refuseUnsupported(given);
  refuseReasoning(given);
  checkStream(given);
  const { body, forms, written } = await withSuffix(exchange, model, given);
  const asked = body.max_completion_tokens ?? body.max_tokens ?? DEFAULT_MAX_TOKENS;
  // No token at all is asked of a request that wants to know its prompt's logprobs.
  const promptOnly = asked === 0 && body.echo === true;
  const params = generateParams(model.llm, body, {
    maxTokens: promptOnly ? 1 : asked,
    logprobs: body.logprobs,
    promptLogprobs: body.prompt_logprobs ?? (body.echo ? body.logprobs : undefined),
    structuredOutputs: structuredWish(exchange, body),
  });
  const prompts = [];
  for (const form of forms) {
    const room = Math.max(1, asked);
    prompts.push(await withTokenWishes(exchange, model.llm, form, body, room));
  }
  const id = answerId('cmpl-', body);
  return { id, body, model, prompts, params, promptOnly, ...(written && { written }) };
}

/** The prompts; those with a suffix as ids, with more that ends an answer. */
async function withSuffix(exchange: Exchange, { llm }: Model, body: CompletionBody) {
  const texts = textPrompts(body.prompt);
  if (!body.suffix) return { body, forms: texts.map((text): Iterable<Prompt> => [text]) };
  const { forms, ends } = await fillIn(exchange, llm, body, texts);
  const stop_token_ids = [...(body.stop_token_ids ?? []), ...ends];
  const ending = body.ignore_eos ? body : { ...body, stop_token_ids };
  return { body: ending, forms, written: texts as string[] };
}

export function completionRoute(service: Service): Route {
  return {
    method: 'POST',
    path: '/v1/completions',
    summary: "Goes on with a text, as OpenAI's completions",
    body: completionBody,
    response: completionAnswer,
    streams: true,
    guarded: true,
    queued: true,
    async handle(exchange) {
      const call = await readCompletion(service, exchange);
      await (call.body.stream ? stream : answer)(service, exchange, call);
    },
  };
}

async function answer(service: Service, exchange: Exchange, call: CompletionCall): Promise<void> {
  const { body, model, prompts } = call;
  const mailbox = service.generator.run(exchange, { ...call, ...requestWishes(body) });
  const { samples, usage } = await collect(mailbox, body.n ?? 1, prompts.length);
  const writer = new TokenWriter(model.llm.tokenizer, body.return_tokens_as_token_ids);
  const choices = [];
  for (let i = 0; i < samples.length; i++) {
    choices.push(await choice(call, samples[i], i, writer));
  }
  exchange.json({
    id: call.id,
    object: 'text_completion',
    created: seconds(),
    model: body.model ?? model.name,
    choices,
    usage: usage.openai,
    system_fingerprint: FINGERPRINT,
    service_tier: null,
  });
}

/** The text of a prompt where a request wants it told; one with a suffix with all its marks. */
async function toldText(call: CompletionCall, start: StartEvent): Promise<string> {
  const { model, body, written } = call;
  if (!body.echo && !body.return_prompt_text) return '';
  const skip = written === undefined && (body.skip_special_tokens ?? true);
  return promptText(model.llm, start, skip);
}

/** What stands in front of an answer. */
function echoOf({ body, written }: CompletionCall, start: StartEvent, told: string): string {
  return body.echo ? (written?.[start.prompt] ?? told) : '';
}

async function choice(
  call: CompletionCall,
  sample: Sample,
  index: number,
  writer: TokenWriter,
): Promise<object> {
  const { body } = call;
  const { prompt } = sample;
  const told = await toldText(call, prompt);
  // The prompt's own were asked for under another name.
  const shown = body.echo && body.logprobs !== undefined ? prompt : null;
  const logprobs = new CompletionLogprobs(writer);
  const columns = () =>
    logprobs.columns(
      [...(shown?.logprobs ?? []), ...sample.logprobs],
      [...(shown?.tokenIds ?? []), ...sample.tokenIds],
    );
  const { logprobs: ofPrompt } = prompt;
  const isAsked = body.prompt_logprobs !== undefined && ofPrompt !== undefined;
  return {
    index,
    text: echoOf(call, prompt, told) + sample.text,
    logprobs: body.logprobs === undefined ? null : columns(),
    finish_reason: call.promptOnly ? 'length' : sample.reason,
    stop_reason: call.promptOnly ? null : sample.stopReason,
    ...failureOf(sample),
    prompt_logprobs: isAsked ? writer.prompt(ofPrompt) : null,
    ...(body.return_token_ids
      ? { token_ids: sample.tokenIds, prompt_token_ids: prompt.tokenIds }
      : {}),
    ...(body.return_prompt_text ? { prompt_text: told } : {}),
  };
}

async function stream(service: Service, exchange: Exchange, call: CompletionCall): Promise<void> {
  const { body } = call;
  const { maxBufferedBytes, enableForceIncludeUsage } = service.config;
  const sse = new SseWriter(exchange);
  const generation = { ...call, ...requestWishes(body) };
  const mailbox = service.generator.run(exchange, generation, maxBufferedBytes);
  const withUsage = body.stream_options?.include_usage || enableForceIncludeUsage;
  const chunks = new CompletionChunks(call, withUsage);
  await streamFrames(mailbox, sse, (event) => chunks.of(event));
  if (withUsage) sse.send(chunks.usageChunk());
  sse.end('[DONE]');
}

class CompletionChunks {
  readonly #call: CompletionCall;
  readonly #writer: TokenWriter;
  readonly #head: object;
  readonly #usage = new Usage();
  readonly #withUsage: boolean;
  readonly #logprobs = new Map<number, CompletionLogprobs>();

  constructor(call: CompletionCall, withUsage: boolean) {
    const { id, body, model } = call;
    this.#call = call;
    this.#withUsage = withUsage;
    this.#writer = new TokenWriter(model.llm.tokenizer, body.return_tokens_as_token_ids);
    this.#head = {
      id,
      object: 'text_completion',
      created: seconds(),
      model: body.model ?? model.name,
    };
  }

  of(event: GenerationEvent): object[] | Promise<object[]> {
    this.#usage.add(event);
    const { body, promptOnly } = this.#call;
    if (event.type === 'done') return [];
    if (event.type === 'start') return this.#begin(event);
    const index = event.prompt * (body.n ?? 1) + event.sample;
    if (event.type === 'delta') return this.#delta(event, index);
    const reason = promptOnly ? 'length' : event.reason;
    const last = { index, text: '', logprobs: null, finish_reason: reason };
    const stop_reason = promptOnly ? null : event.stopReason;
    return [this.#chunk({ ...last, stop_reason, ...failureOf(event) })];
  }

  #delta({ text, tokenIds, logprobs }: DeltaEvent, index: number): object[] {
    const { body } = this.#call;
    const { return_token_ids: withIds } = body;
    if (text === '' && !withIds && body.logprobs === undefined) return [];
    const columns = this.#columnsOf(index)?.columns(logprobs ?? [], tokenIds) ?? null;
    const delta = { index, text, logprobs: columns, finish_reason: null, stop_reason: null };
    return [this.#chunk({ ...delta, ...(withIds ? { token_ids: tokenIds } : {}) })];
  }

  #columnsOf(index: number): CompletionLogprobs | undefined {
    if (this.#call.body.logprobs === undefined) return undefined;
    const columns = this.#logprobs.get(index) ?? new CompletionLogprobs(this.#writer);
    this.#logprobs.set(index, columns);
    return columns;
  }

  /** Prompts are told where the request asks for them. */
  #begin(start: StartEvent): object[] | Promise<object[]> {
    const { echo, return_token_ids: withIds, return_prompt_text: withText } = this.#call.body;
    return echo || withIds || withText ? this.#tellPrompt(start) : [];
  }

  async #tellPrompt(start: StartEvent): Promise<object[]> {
    const { echo, n = 1, return_token_ids: withIds, return_prompt_text } = this.#call.body;
    const told = await toldText(this.#call, start);
    const parts = {
      ...(withIds ? { prompt_token_ids: start.tokenIds } : {}),
      ...(return_prompt_text ? { prompt_text: told } : {}),
    };
    return Array.from({ length: n }, (_, k) => {
      const index = start.prompt * n + k;
      const { logprobs, tokenIds } = start;
      const columns = this.#columnsOf(index);
      const first = {
        index,
        text: echoOf(this.#call, start, told),
        logprobs: (echo && columns?.columns(logprobs ?? [], tokenIds)) || null,
        finish_reason: null,
        stop_reason: null,
      };
      return this.#chunk({ ...first, ...parts });
    });
  }

  #chunk(choice: object): object {
    const chunk = { ...this.#head, choices: [choice] };
    if (!this.#withUsage) return chunk;
    const isContinuous = this.#call.body.stream_options?.continuous_usage_stats;
    return { ...chunk, usage: isContinuous ? this.#usage.openai : null };
  }

  usageChunk(): object {
    return { ...this.#head, choices: [], usage: this.#usage.openai };
  }
}

/** /v1/chat/completions */
import { collect, failureOf, type Sample, streamFrames } from './answering.js';
import { type ChatCall, echoed, FINGERPRINT, promptParts, readChat } from './chat-call.js';
import { ChatChunks } from './chat-chunks.js';
import { finishOf, messageOf } from './chat-message.js';
import type { Exchange } from './exchange.js';
import { type Generation, requestWishes } from './generation.js';
import { TokenWriter } from './logprobs.js';
import type { Route } from './router.js';
import { chatAnswer, chatBody } from './schemas/chat.js';
import { type Service, seconds } from './service.js';
import { SseWriter } from './sse.js';

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

function generationOf({ id, model, forms, params, body, style }: ChatCall): Generation {
  const generation = { id, model, prompts: [forms], params, ...requestWishes(body) };
  return style.toolbox.isEmpty ? generation : { ...generation, toolRoute: 'chat_completions' };
}

async function answer(service: Service, exchange: Exchange, call: ChatCall): Promise<void> {
  const { body, model } = call;
  const mailbox = service.generator.run(exchange, generationOf(call));
  const { samples, usage } = await collect(mailbox, body.n ?? 1);
  const writer = new TokenWriter(model.llm.tokenizer, body.return_tokens_as_token_ids);
  const [{ prompt }] = samples;
  exchange.json({
    id: call.id,
    object: 'chat.completion',
    created: seconds(),
    model: body.model ?? model.name,
    choices: samples.map((sample, index) => choice(sample, index, call, writer)),
    usage: usage.openai,
    system_fingerprint: FINGERPRINT,
    service_tier: null,
    prompt_logprobs: prompt.logprobs === undefined ? null : writer.prompt(prompt.logprobs),
    ...(await promptParts(call, prompt)),
  });
}

function choice(sample: Sample, index: number, { body, style }: ChatCall, writer: TokenWriter) {
  return {
    index,
    message: messageOf(sample.turn, style, echoed(body)),
    logprobs: body.logprobs
      ? { content: sample.logprobs.map((one) => writer.chat(one)), refusal: null }
      : null,
    finish_reason: finishOf(sample.reason, style),
    stop_reason: sample.stopReason,
    ...failureOf(sample),
    ...(body.return_token_ids ? { token_ids: sample.tokenIds } : {}),
  };
}

async function stream(service: Service, exchange: Exchange, call: ChatCall): Promise<void> {
  const { body } = call;
  const { maxBufferedBytes, enableForceIncludeUsage } = service.config;
  const sse = new SseWriter(exchange);
  const mailbox = service.generator.run(exchange, generationOf(call), maxBufferedBytes);
  const withUsage = body.stream_options?.include_usage || enableForceIncludeUsage;
  const chunks = new ChatChunks(call, withUsage);
  await streamFrames(mailbox, sse, (event) => chunks.of(event));
  if (withUsage) sse.send(chunks.usageChunk());
  sse.end('[DONE]');
}

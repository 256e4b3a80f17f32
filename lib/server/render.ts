/** What a request would be computed from: the bodies of /inference/v1/generate. */
import { readChat } from './chat-call.js';
import { readCompletion } from './completions.js';
import { encodeForms } from './encoding.js';
import { engineSeed, restOfContext } from './params.js';
import type { Route } from './router.js';
import { chatBody } from './schemas/chat.js';
import { completionBody } from './schemas/completions.js';
import { samplingFields } from './schemas/fields.js';
import { generateBody } from './schemas/generate.js';
import { newId, type Service } from './service.js';

/** Fields that say something of the request or its prompt, not of how tokens are drawn. */
const OF_REQUEST: readonly string[] = [
  'model',
  'stream',
  'stream_options',
  'cache_salt',
  'priority',
  'echo',
  'truncate_prompt_tokens',
  'truncation_side',
  'request_id',
];

function samplingParams(
  body: Readonly<Record<string, unknown>>,
  maxTokens: number,
  logprobs: unknown,
) {
  const asked = Object.keys(samplingFields).filter(
    (name) => !OF_REQUEST.includes(name) && body[name] !== undefined,
  );
  const own = Object.fromEntries(asked.map((name) => [name, body[name]]));
  // JSON.stringify knows no 64 bits; the engine's own seed draws the same.
  if (own.seed !== undefined) own.seed = engineSeed(own.seed as number | bigint | string);
  const { max_completion_tokens: _, ...rest } = own;
  return { ...rest, max_tokens: maxTokens, ...(logprobs === undefined ? {} : { logprobs }) };
}

interface Rendered {
  readonly model?: string;
  readonly stream?: boolean;
  readonly stream_options?: unknown;
  readonly cache_salt?: string;
  readonly priority?: number;
  readonly request_id?: string;
}

function request(body: Rendered, tokenIds: readonly number[], sampling: object) {
  return {
    request_id: body.request_id ?? newId('render-'),
    token_ids: tokenIds,
    sampling_params: sampling,
    model: body.model ?? null,
    stream: body.stream ?? false,
    stream_options: body.stream_options ?? null,
    cache_salt: body.cache_salt ?? null,
    priority: body.priority ?? 0,
  };
}

export function renderRoutes(service: Service): Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/chat/completions/render',
      summary: 'The ids that a conversation becomes',
      body: chatBody,
      response: generateBody,
      guarded: true,
      queued: true,
      async handle(exchange) {
        const { body, model, forms, params } = await readChat(service, exchange);
        model.llm.checkParams(params);
        const tokenIds = await encodeForms(exchange, model.llm, forms, body.add_special_tokens);
        const most = restOfContext(model.llm, body.n ?? 1) - tokenIds.length;
        const asked = body.max_completion_tokens ?? body.max_tokens ?? Math.max(1, most);
        const logprobs = body.logprobs ? (body.top_logprobs ?? 0) : undefined;
        exchange.json(request(body, tokenIds, samplingParams(body, asked, logprobs)));
      },
    },
    {
      method: 'POST',
      path: '/v1/completions/render',
      summary: 'The ids that prompts become',
      body: completionBody,
      response: generateBody.array(),
      guarded: true,
      queued: true,
      async handle(exchange) {
        const { body, model, prompts, params } = await readCompletion(service, exchange);
        model.llm.checkParams(params);
        const asked = body.max_completion_tokens ?? body.max_tokens ?? 16;
        const sampling = samplingParams(body, asked, body.logprobs);
        const rendered = [];
        for (const [i, forms] of prompts.entries()) {
          const tokenIds = await encodeForms(exchange, model.llm, forms, body.add_special_tokens);
          const { request_id: id } = body;
          const own = prompts.length > 1 && id !== undefined ? { request_id: `${id}-${i}` } : {};
          rendered.push(request({ ...body, ...own }, tokenIds, sampling));
        }
        exchange.json(rendered);
      },
    },
  ];
}

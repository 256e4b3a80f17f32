/** Models, tokens, health: what needs no generation. */
import { z } from 'zod';
import type { LLM } from '../engine/llm.js';
import type { Prompt } from '../engine/prompts.js';
import { isOctavoError } from '../errors.js';
import { Pacer } from '../text/pacer.js';
import { chatOptions, reasoningOf } from './chat-options.js';
import { encodeForms, mostTokens } from './encoding.js';
import type { Model } from './models.js';
import { badRequest, Problem } from './problem.js';
import { chatForms, renderOptions } from './prompt-input.js';
import { refuseUnsupported } from './refused.js';
import type { Route } from './router.js';
import { modelCard, modelList } from './schemas/answers.js';
import { conversationFields } from './schemas/chat.js';
import { flag, ids, opt, text } from './schemas/fields.js';
import { type Service, TAKES_NO_MORE, VERSION } from './service.js';
import { longestOf } from './tasks.js';
import { chatTools } from './tools.js';

function card(service: Service, id: string, { name, llm }: Model) {
  return {
    id,
    object: 'model',
    created: service.started,
    owned_by: 'octavo',
    root: name,
    parent: null,
    max_model_len: longestOf(llm.info),
    permission: [],
  };
}

export function modelRoutes(service: Service): Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/models',
      summary: 'The models of this server',
      response: modelList,
      guarded: true,
      handle(exchange) {
        const names = [...service.models.names];
        exchange.json({
          object: 'list',
          data: names.map(([name, model]) => card(service, name, model)),
        });
      },
    },
    {
      method: 'GET',
      path: '/v1/models/{id}',
      summary: 'A model of this server',
      response: modelCard,
      guarded: true,
      handle(exchange) {
        const id = exchange.pathId;
        exchange.json(card(service, id, service.models.find(id)));
      },
    },
  ];
}

const tokenizeBody = z.object({
  ...conversationFields,
  messages: opt(conversationFields.messages),
  prompt: text,
  return_token_strs: flag,
});

const tokenizeAnswer = z.object({
  count: z.int(),
  max_model_len: z.int(),
  tokens: z.array(z.int()),
  token_strs: z.array(z.string()).nullable(),
});

const detokenizeBody = z.object({
  model: text,
  tokens: ids,
  skip_special_tokens: flag,
});

async function spelled({ tokenizer }: LLM, tokenIds: readonly number[]): Promise<string[]> {
  const pacer = new Pacer();
  const tokens: string[] = [];
  for (const id of tokenIds) {
    tokens.push(tokenizer.idToToken(id) ?? '');
    if (pacer.due()) await pacer.turn();
  }
  return tokens;
}

export function tokenRoutes(service: Service): Route[] {
  return [
    {
      method: 'POST',
      path: '/tokenize',
      summary: 'Ids of a text, or of a conversation',
      body: tokenizeBody,
      response: tokenizeAnswer,
      guarded: true,
      queued: true,
      async handle(exchange) {
        const body = await exchange.body(tokenizeBody);
        const { llm } = service.models.find(body.model);
        refuseUnsupported(body);
        const { prompt, messages } = body;
        if ((prompt === undefined) === (messages === undefined)) {
          throw badRequest('either prompt or messages is needed', 'prompt');
        }
        const chat = chatOptions(service.config, chatTools(body), reasoningOf(body));
        let forms: Iterable<Prompt> = [prompt as string];
        if (messages !== undefined) {
          const template = renderOptions({ ...body, messages }, service.config);
          forms = chatForms(messages, template, chat, llm.chatTemplate);
        }
        const tokenIds = await encodeForms(exchange, llm, forms, body.add_special_tokens);
        exchange.json({
          count: tokenIds.length,
          max_model_len: longestOf(llm.info),
          tokens: tokenIds,
          token_strs: body.return_token_strs ? await spelled(llm, tokenIds) : null,
        });
      },
    },
    {
      method: 'POST',
      path: '/detokenize',
      summary: 'The text of ids',
      body: detokenizeBody,
      response: z.object({ prompt: z.string() }),
      guarded: true,
      async handle(exchange) {
        const body = await exchange.body(detokenizeBody);
        const { llm } = service.models.find(body.model);
        const most = mostTokens(llm);
        if (body.tokens.length > most) {
          throw badRequest(`tokens: at most ${most} are spelled at once`, 'tokens');
        }
        const skipSpecialTokens = body.skip_special_tokens ?? false;
        const prompt = await llm.tokenizer.decode(body.tokens, { skipSpecialTokens });
        exchange.json({ prompt });
      },
    },
  ];
}

/** What each model would say to a request. One that is full for the moment is well. */
function statesOf({ models }: Service) {
  return models.all.map(({ name, llm }) => {
    try {
      llm.checkAdmission();
    } catch (error) {
      const code = isOctavoError(error) ? error.code : 'ERR_INTERNAL';
      if (code === 'ERR_DRAINING') return { name, state: 'draining' };
      if (code !== 'ERR_OVERLOADED') return { name, state: error as Error };
    }
    return { name, state: 'open' };
  });
}

type Get = Required<Pick<Route, 'handle'>> & Pick<Route, 'response'>;

function get(path: string, summary: string, { handle, response }: Get): Route {
  return { method: 'GET', path, summary, response, guarded: false, handle };
}

const status = z.object({ status: z.string() });

export function healthRoutes(service: Service): Route[] {
  const checkAlive = () => {
    for (const { name, state } of statesOf(service)) {
      if (state instanceof Error) throw new Problem(503, `${name} is lost: ${state.message}`);
    }
  };
  const alive = get('/health', 'Do the models of this process answer?', {
    response: status,
    handle(exchange) {
      checkAlive();
      exchange.json({ status: 'ok' });
    },
  });
  const ready = get('/health/ready', 'May requests be sent here?', {
    response: status,
    handle(exchange) {
      checkAlive();
      const isDraining = statesOf(service).some(({ state }) => state === 'draining');
      if (isDraining || service.isDraining) throw new Problem(503, TAKES_NO_MORE);
      exchange.json({ status: 'ready' });
    },
  });
  const ping = get('/ping', 'As /health', alive);
  return [
    ...[alive, ready, ping, { ...ping, method: 'POST' as const }],
    get('/version', 'The version of octavo', {
      response: z.object({ version: z.string() }),
      handle: (exchange) => exchange.json({ version: VERSION }),
    }),
    get('/load', 'Requests that are being answered', {
      response: z.object({ server_load: z.int() }),
      handle: (exchange) => exchange.json({ server_load: service.numWorking }),
    }),
    get('/', 'What this is', {
      response: z.object({ server: z.string(), version: z.string(), openapi: z.string() }),
      handle(exchange) {
        const openapi = `${exchange.root}/openapi.json`;
        exchange.json({ server: 'octavo', version: VERSION, openapi });
      },
    }),
    ...(service.metrics === null ? [] : [metricsRoute(service)]),
  ];
}

function metricsRoute({ metrics }: Service): Route {
  return get('/metrics', 'Figures for Prometheus', {
    async handle(exchange) {
      exchange.send((await metrics?.text()) ?? '', metrics?.contentType ?? 'text/plain');
    },
  });
}

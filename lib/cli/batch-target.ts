/** Who answers `octavo run-batch`: a server somewhere, or a model that is loaded for it. */
import { type Command, Option } from 'commander';
import { inMemory } from '../batch/in-memory.js';
import { type BatchTarget, httpTarget, ownTarget } from '../batch/target.js';
import { octavoError } from '../errors.js';
import { HttpClient } from '../loadgen/http.js';
import { headersOf, pairOf, within } from './bench-flags.js';
import { withDownloads } from './download.js';
import { engineOptionsOf } from './flags.js';
import { type ModelFlags, modelOf, modelOptions } from './model-flags.js';

export interface TargetFlags extends ModelFlags {
  baseUrl?: string;
  apiKey?: string;
  header: Record<string, string>;
  insecure?: boolean;
  maxRetries?: number;
  [name: string]: unknown;
}

export interface OpenTarget {
  readonly target: BatchTarget;
  /** Lines at once where nobody says how many. */
  readonly maxConcurrency: number;
  /** How many of them are worked on. */
  readonly running: number;
  close(): Promise<void>;
}

/** Requests at once, and tries after the first, that a server elsewhere gets. */
const ELSEWHERE = { maxConcurrency: 64, maxRetries: 5 };

/** Those of a server elsewhere. */
export function addServerFlags(command: Command): Command {
  const header = (text: string, before: Record<string, string>) => ({
    ...before,
    ...pairOf('header', text),
  });
  return command
    .option('--base-url <url>', "a server with OpenAI's API answers; no model is loaded")
    .addOption(new Option('--api-key <key>', 'sent as a bearer token').env('OPENAI_API_KEY'))
    .option('--header <KEY=VALUE>', 'a header of every request; may be repeated', header, {})
    .option('--insecure', 'take any certificate')
    .option(
      '--max-retries <number>',
      'more tries of a request with 408, 409, 429, 5xx or no answer (5)',
      within('max-retries', { least: 0 }),
    );
}

/** @throws ERR_INVALID_OPTION; what loading a model throws */
export function openTarget(model: string | undefined, flags: TargetFlags): Promise<OpenTarget> {
  return flags.baseUrl === undefined ? loaded(model, flags) : elsewhere(model, flags);
}

async function elsewhere(model: string | undefined, flags: TargetFlags): Promise<OpenTarget> {
  const given = modelFlag(model, flags);
  if (given !== undefined) {
    throw only(given, 'is of a model that is loaded here; leave it out, or --base-url');
  }
  const { baseUrl = '', insecure, maxRetries = ELSEWHERE.maxRetries } = flags;
  const client = new HttpClient({ baseUrl, headers: headersOf(flags), insecure });
  return {
    target: httpTarget(client, { maxRetries }),
    maxConcurrency: ELSEWHERE.maxConcurrency,
    running: ELSEWHERE.maxConcurrency,
    close: async () => client.close(),
  };
}

async function loaded(model: string | undefined, flags: TargetFlags): Promise<OpenTarget> {
  const given = serverFlag(flags);
  if (given !== undefined) throw only(given, 'is for a server; name it with --base-url');
  const options = await modelOptions(flags);
  // Who asks a server elsewhere need not load what loads models.
  const { LLM } = await import('../engine/llm.js');
  const { createServer } = await import('../server/index.js');
  const engine = { ...engineOptionsOf(flags), model: modelOf(model, flags) };
  const llm = await withDownloads((loading) => LLM.load(engine, loading));
  try {
    const handler = createServer(llm, { ...options, metrics: false });
    const client = new HttpClient({ baseUrl: 'http://localhost', connect: inMemory(handler) });
    return {
      target: ownTarget(client),
      // While some run, the next ones are tokenized.
      maxConcurrency: 2 * llm.info.maxNumSeqs,
      running: llm.info.maxNumSeqs,
      async close() {
        handler.close();
        await llm.close();
      },
    };
  } catch (error) {
    await llm.close();
    throw error;
  }
}

/** The name of a flag that is for a model of this process and was given. */
export function modelFlag(model: string | undefined, flags: TargetFlags): string | undefined {
  const { servedModelName, chatTemplate, trustRequestChatTemplate, maxBodyBytes } = flags;
  const { matryoshka, toolCallParser, reasoningParser, reasoningField } = flags;
  // The one that has a default; to say it is to say nothing.
  const generationConfig = flags.generationConfig === 'auto' ? undefined : flags.generationConfig;
  return firstOf({
    ...{ model: model ?? flags.model, servedModelName, chatTemplate },
    ...{ trustRequestChatTemplate, maxBodyBytes, generationConfig, matryoshka },
    ...{ toolCallParser, reasoningParser, reasoningField },
    ...engineOptionsOf(flags),
  });
}

/** The name of a flag that is for a server and was given. */
export function serverFlag({ header, insecure, maxRetries }: TargetFlags): string | undefined {
  return firstOf({ header: Object.keys(header)[0], insecure, maxRetries });
}

function firstOf(values: object): string | undefined {
  return Object.entries(values).find(([, value]) => value !== undefined)?.[0];
}

export function only(param: string, sentence: string): Error {
  return octavoError('ERR_INVALID_OPTION', `${param} ${sentence}`, { param });
}

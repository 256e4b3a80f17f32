/** Who answers `octavo run-batch`: a server somewhere, or a model that is loaded for it. */
import { inMemory } from '../batch/in-memory.js';
import { type BatchTarget, httpTarget, ownTarget } from '../batch/target.js';
import { octavoError } from '../errors.js';
import { HttpClient } from '../loadgen/http.js';
import { headersOf } from './bench-flags.js';
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
  close(): Promise<void>;
}

/** Requests at once, and tries after the first, that a server elsewhere gets. */
const ELSEWHERE = { maxConcurrency: 64, maxRetries: 5 };

/** @throws ERR_INVALID_OPTION; what loading a model throws */
export function openTarget(model: string | undefined, flags: TargetFlags): Promise<OpenTarget> {
  return flags.baseUrl === undefined ? loaded(model, flags) : elsewhere(model, flags);
}

async function elsewhere(model: string | undefined, flags: TargetFlags): Promise<OpenTarget> {
  const { servedModelName, chatTemplate, trustRequestChatTemplate, maxBodyBytes, matryoshka } =
    flags;
  const { toolCallParser, reasoningParser, reasoningField } = flags;
  // The one that has a default; to say it is to say nothing.
  const generationConfig = flags.generationConfig === 'auto' ? undefined : flags.generationConfig;
  const own = {
    ...{ model: model ?? flags.model, servedModelName, chatTemplate },
    ...{ trustRequestChatTemplate, maxBodyBytes, generationConfig, matryoshka },
    ...{ toolCallParser, reasoningParser, reasoningField },
    ...engineOptionsOf(flags),
  };
  const given = Object.entries(own).find(([, value]) => value !== undefined)?.[0];
  if (given !== undefined) {
    throw only(given, 'is of a model that is loaded here; leave it out, or --base-url');
  }
  const { baseUrl = '', insecure, maxRetries = ELSEWHERE.maxRetries } = flags;
  const client = new HttpClient({ baseUrl, headers: headersOf(flags), insecure });
  return {
    target: httpTarget(client, { maxRetries }),
    maxConcurrency: ELSEWHERE.maxConcurrency,
    close: async () => client.close(),
  };
}

async function loaded(model: string | undefined, flags: TargetFlags): Promise<OpenTarget> {
  const { header, insecure, maxRetries } = flags;
  const http = { header: Object.keys(header)[0], insecure, maxRetries };
  const given = Object.entries(http).find(([, value]) => value !== undefined)?.[0];
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

function only(param: string, sentence: string): Error {
  return octavoError('ERR_INVALID_OPTION', `${param} ${sentence}`, { param });
}

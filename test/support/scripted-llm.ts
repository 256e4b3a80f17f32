/** A model whose answers are scripted, event by event: what a request becomes, what events become. */
import type { CompletionDelta, DeltaOutput, FinishReason } from '../../lib/engine/outputs.js';
import { octavoError } from '../../lib/errors.js';
import type { LLM, OctavoError } from '../../lib/index.js';
import type { ServerOptions } from '../../lib/server/index.js';
import type { ChatEvent, ChatOptions } from '../../lib/tools/types.js';
import { type Json, serveModels, type TestServer } from '../server/support.js';

/** What the server asked of the library. */
export interface AskedOfModel {
  readonly prompt: Json;
  readonly params: Json;
  /** Of the prompt: tools, and how it may think. */
  readonly chat: ChatOptions;
}

export interface ScriptedAnswer {
  /** Of each step; each has one token. `wait`: nothing comes before the caller aborts. */
  readonly steps: readonly (readonly ChatEvent[] | 'wait')[];
  readonly reason?: FinishReason;
  readonly stopReason?: string | null;
  /** Thrown instead; where the reason is `error`, told at the end. */
  readonly error?: Error;
  /** Of the first steps, those that reason. */
  readonly numReasoningTokens?: number;
}

export const content = (text: string): ChatEvent => ({ type: 'content', text });
export const reasoning = (text: string): ChatEvent => ({ type: 'reasoning', text });

/** A call in pieces. */
export function call(index: number, name: string, ...json: string[]): ChatEvent[][] {
  const begun: ChatEvent = { type: 'call', index, id: `call_${index}`, name };
  const pieces = json.map((one): ChatEvent[] => [{ type: 'arguments', index, json: one }]);
  return [[begun], ...pieces, [{ type: 'call-end', index }]];
}

const METRICS = {
  ...{ arrivalTime: 0, queueMs: 0, timeToFirstTokenMs: 1, prefillMs: 1, decodeMs: 1 },
  ...{ interTokenMs: [], numPromptTokens: 3, numCachedTokens: 0, numGeneratedTokens: 1 },
  ...{ numPreemptions: 0, elapsedMs: 2 },
};

const STATS = {
  ...{ numRequestsRunning: 0, numRequestsWaiting: 0, numRequestsSwapped: 0, kvCacheUsage: 0 },
  ...{ numStateHits: 0, numStatesUsed: 0, numStatesCached: 0 },
  numRequestsBy: { stop: 0, length: 0, abort: 0, error: 0, tool_calls: 0 },
};

const INFO = {
  ...{ path: 'octavo-demo', runner: 'generate', maxModelLen: 1024, maxNumBatchedTokens: 256 },
  ...{ blockSize: 16, numBlocks: 65, maxNumSeqs: 8, maxNumWaiting: 100, numHostBlocks: 0 },
  kvGroups: [{ window: 0, blockSize: 16, numLayers: 1 }],
};

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const error = () => reject(octavoError('ERR_ABORTED', 'the request was aborted'));
    if (signal.aborted) error();
    else signal.addEventListener('abort', error);
  });
}

/** @param script the answers of one request after another, the last of them to all that follow */
export function scripted(script: readonly ScriptedAnswer[]): { llm: LLM; asked: AskedOfModel[] } {
  const asked: AskedOfModel[] = [];
  let numAnswers = 0;
  async function* streamDeltas(
    prompt: Json,
    params: Json,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<DeltaOutput> {
    const answer = script[Math.min(numAnswers++, script.length - 1)];
    asked.push({ prompt, params, chat: prompt.chat ?? {} });
    const { steps, reason = 'stop', stopReason = null, numReasoningTokens = 0, error } = answer;
    if (error !== undefined && reason !== 'error') throw error;
    const head = { requestId: 'x', prompt: 'abc', promptTokenIds: [5, 6, 7], numCachedTokens: 0 };
    const output = (outputs: CompletionDelta[], finished = false): DeltaOutput =>
      ({ ...head, seed: 1, outputs, finished, metrics: finished ? METRICS : null }) as DeltaOutput;
    const open = { index: 0, finishReason: null, stopReason: null };
    for (const [i, events] of steps.entries()) {
      if (events === 'wait') {
        await aborted(signal as AbortSignal);
        continue;
      }
      const text = events.map((one) => ('text' in one ? one.text : '')).join('');
      const numReasoning = Math.min(i + 1, numReasoningTokens);
      const news = { newText: text, newTokenIds: [i], events, numReasoningTokens: numReasoning };
      yield output([{ ...open, ...news }]);
      // Each step is read by itself.
      await new Promise((resolve) => setImmediate(resolve));
    }
    const last = { ...open, newText: '', newTokenIds: [], events: [] };
    const end = { finishReason: reason, stopReason, ...(error && { error: error as OctavoError }) };
    yield output([{ ...last, numReasoningTokens, ...end }], true);
  }
  async function encode(prompt: Json): Promise<number[]> {
    asked.push({ prompt, params: {}, chat: prompt.chat ?? {} });
    return [5, 6, 7];
  }
  const llm = {
    ...{ info: INFO, streamDeltas, encode, stats: () => STATS, close: async () => {} },
    ...{ stream() {}, checkAdmission() {}, checkParams() {}, async *events() {} },
    applyChatTemplate: () => '',
  };
  return { llm: llm as unknown as LLM, asked };
}

export interface ScriptedServer extends TestServer {
  readonly asked: AskedOfModel[];
}

export async function serveScript(
  script: readonly ScriptedAnswer[],
  options: ServerOptions = {},
): Promise<ScriptedServer> {
  const { llm: model, asked } = scripted(script);
  return { ...(await serveModels({ 'octavo-demo': model }, options)), asked };
}

/** One run: warm up, send everything at its time, and say what came of each request. */
import { setTimeout as sleep } from 'node:timers/promises';
import { octavoError } from '../errors.js';
import { arrivalTimes, type Traffic } from './arrivals.js';
import type { SampleRequest } from './datasets.js';
import type { HttpClient } from './http.js';
import type { Measured } from './metrics.js';
import { runOpenLoop } from './open-loop.js';
import type { Random } from './random.js';
import { type Outcome, outcomeOf, type Recording } from './recording.js';
import type { TokenCounter } from './tokens.js';

export type Backend = 'openai' | 'openai-chat';

export interface BenchPlan {
  readonly backend: Backend;
  readonly endpoint: string;
  readonly model: string;
  readonly requests: readonly SampleRequest[];
  /** Members that each request's body has besides, each as the JSON text of its value. */
  readonly extraBody: Readonly<Record<string, string>>;
  readonly traffic: Traffic;
  readonly maxConcurrency: number;
  /** Requests before the clock starts; the first has to succeed. */
  readonly numWarmups: number;
  /** With the number of a request after it, its `x-request-id`. */
  readonly requestIdPrefix?: string;
  /** How long to wait for a server that does not answer yet. */
  readonly readyTimeoutMs: number;
}

export interface RequestResult extends Measured {
  readonly error: string;
  readonly text: string;
  /** Seconds from the arrival until it was sent: waiting for a place, and this client's lag. */
  readonly queueTime: number;
}

export interface BenchRun {
  readonly duration: number;
  /** In the order of arrival; fewer than the plan has where it was interrupted. */
  readonly results: readonly RequestResult[];
  /** Answers without usage, whose output tokens were counted on this side. */
  readonly usageMissing: number;
}

export interface BenchHooks {
  readonly random: Random;
  readonly tokens: TokenCounter | null;
  readonly onEnd?: () => void;
  readonly onWarm?: () => void;
  readonly signal?: AbortSignal;
  readonly clock?: () => number;
  /** Bytes of answers that are kept to be looked at after the run. */
  readonly maxKept?: number;
}

/** Beyond, answers are read as they end, which takes time from those that run. */
const MAX_KEPT = 256 * 1024 * 1024;

/** What a chunk takes besides its bytes. */
const CHUNK_OVERHEAD = 256;

const seconds = () => performance.now() / 1000;

export async function runBench(
  client: HttpClient,
  plan: BenchPlan,
  hooks: BenchHooks,
): Promise<BenchRun> {
  const { random, onEnd, onWarm, signal, clock = seconds } = hooks;
  const { requests, endpoint, requestIdPrefix } = plan;
  const payloads = requests.map((request) => payloadOf(plan, request));
  await warmUp(client, plan, payloads[0], signal);
  onWarm?.();
  const log = new OutcomeLog(hooks.maxKept ?? MAX_KEPT);
  const arrivals = arrivalTimes(requests.length, plan.traffic, random);
  const { start, end } = await runOpenLoop({
    arrivals,
    maxConcurrency: plan.maxConcurrency,
    clock,
    signal,
    send: async (index) => {
      const headers = requestIdPrefix
        ? { 'x-request-id': `${requestIdPrefix}${index}` }
        : undefined;
      log.take(index, await client.record(endpoint, payloads[index], clock, signal, headers));
      onEnd?.();
    },
  });
  const outcomes = log.outcomes();
  const results: RequestResult[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    const { success, error, startTime, ttft, itl, latency, text } = outcome;
    results.push({
      ...{ success, error, startTime, ttft, itl, latency, text },
      promptTokens: outcome.promptTokens ?? requests[index].promptTokens,
      outputTokens: success ? await outputTokensOf(outcome, hooks.tokens) : 0,
      queueTime: startTime - start - arrivals[index],
    });
  }
  const usageMissing = outcomes.filter((o) => o.success && o.outputTokens === null).length;
  return { duration: end - start, results, usageMissing };
}

function payloadOf(plan: BenchPlan, { prompt, outputTokens }: SampleRequest): Buffer {
  const { backend, model, extraBody } = plan;
  const asked =
    backend === 'openai'
      ? { prompt, max_tokens: outputTokens }
      : { messages: [{ role: 'user', content: prompt }], max_completion_tokens: outputTokens };
  const stream = { stream: true, stream_options: { include_usage: true } };
  const body = Object.entries({ model, ...asked, ...stream })
    .filter(([name]) => !Object.hasOwn(extraBody, name))
    .map(([name, value]) => [name, JSON.stringify(value)]);
  const members = [...body, ...Object.entries(extraBody)];
  return Buffer.from(`{${members.map(([n, json]) => `${JSON.stringify(n)}:${json}`).join()}}`);
}

/** @throws ERR_INVALID_PARAM with what the server says, before anything is measured */
async function warmUp(
  client: HttpClient,
  plan: BenchPlan,
  payload: Buffer,
  signal?: AbortSignal,
): Promise<void> {
  const send = async () => outcomeOf(await client.record(plan.endpoint, payload, seconds, signal));
  const end = performance.now() + plan.readyTimeoutMs;
  let first = await send();
  while (!first.success && performance.now() < end && !signal?.aborted) {
    await sleep(500, undefined, { signal }).catch(() => {});
    first = await send();
  }
  if (!first.success) {
    if (signal?.aborted) throw octavoError('ERR_ABORTED', 'interrupted before the first request');
    throw octavoError('ERR_INVALID_PARAM', `the first request failed: ${first.error}`);
  }
  const more = Array.from({ length: plan.numWarmups - 1 });
  await Promise.all(more.map(send));
}

/** As the server counted, else the tokens of its text, else the chunks that brought some. */
async function outputTokensOf(outcome: Outcome, tokens: TokenCounter | null): Promise<number> {
  if (outcome.outputTokens !== null) return outcome.outputTokens;
  const chunks = outcome.itl.length + 1;
  if (tokens === null) return chunks;
  return tokens.encode(outcome.text).then(
    ({ length }) => length,
    () => chunks,
  );
}

/** Reads recordings when the run is over, as long as they fit. */
class OutcomeLog {
  readonly #taken: (Recording | Outcome)[] = [];
  #kept = 0;

  constructor(readonly maxKept: number) {}

  take(index: number, recording: Recording): void {
    for (const { length } of recording.chunks) this.#kept += length + CHUNK_OVERHEAD;
    this.#taken[index] = this.#kept > this.maxKept ? outcomeOf(recording) : recording;
  }

  outcomes(): Outcome[] {
    return this.#taken.map((one) => ('chunks' in one ? outcomeOf(one) : one));
  }
}

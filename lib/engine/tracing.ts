/**
 * Spans of requests, by OpenTelemetry, where the program has registered a tracer. Its API is an
 * optional peer, loaded by the first request that finds one; else a request costs one look at the
 * symbol under which that API keeps what was registered. Names are vLLM's; times are in seconds.
 */
import { createRequire } from 'node:module';
import type { Attributes, Context, Span, TracerProvider } from '@opentelemetry/api';
import { isOctavoError } from '../errors.js';
import type { Request, TraceHeaders } from './request.js';

type Api = typeof import('@opentelemetry/api');

/**
 * Where the API of major version 1 keeps what was registered, whichever copy of it did that. Of the
 * copy that this package sees only what needs nothing registered is used: it may be newer, and then
 * finds nothing.
 */
const REGISTERED = Symbol.for('opentelemetry.js.api.1');

interface Registered {
  readonly trace?: TracerProvider;
  readonly context?: { active(): Context };
}

/** What the span of a call is to be a child of. */
export interface TraceParent {
  readonly api: Api;
  readonly provider: TracerProvider;
  readonly context: Context;
}

let loaded: Api | null | undefined;

/** A program that has it where this package cannot see it goes on untraced, and is told so once. */
function load(): Api | null {
  try {
    return createRequire(import.meta.url)('@opentelemetry/api') as Api;
  } catch {
    const sentence = 'octavo: a tracer is registered, but @opentelemetry/api is not installed';
    process.emitWarning(`${sentence} where octavo finds it: its requests are not traced`);
    return null;
  }
}

/**
 * To be asked when a call begins, in its caller's context.
 * @param headers name the parent, unless what is active here belongs to their trace
 * @returns null where nobody traces
 */
export function traceParent(headers?: TraceHeaders): TraceParent | null {
  const registered = (globalThis as { [REGISTERED]?: Registered })[REGISTERED];
  const provider = registered?.trace;
  if (provider === undefined) return null;
  if (loaded === undefined) loaded = load();
  if (loaded === null) return null;
  const api = loaded;
  const active = registered?.context?.active() ?? api.ROOT_CONTEXT;
  const remote = headers && remoteParent(api, headers);
  if (remote == null || api.trace.getSpanContext(active)?.traceId === remote.traceId) {
    return { api, provider, context: active };
  }
  return { api, provider, context: api.trace.setSpanContext(active, remote) };
}

/** Version, trace, parent, flags; later versions may have more behind them. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;

/** What is damaged names no parent, as the standard has it. */
function remoteParent(api: Api, { traceparent = '', tracestate }: TraceHeaders) {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent) ?? [];
  if (traceId === undefined) return null;
  const traceState = tracestate === undefined ? undefined : api.createTraceState(tracestate);
  const traceFlags = Number.parseInt(flags, 16);
  const context = { traceId, spanId, traceFlags, traceState, isRemote: true };
  return api.isSpanContextValid(context) ? context : null;
}

/** A span from the acceptance of a request to its end. */
export function traceRequest(request: Request, { api, provider, context }: TraceParent): void {
  const { group } = request;
  const span = provider.getTracer('octavo').startSpan(
    'llm_request',
    {
      kind: api.SpanKind.SERVER,
      startTime: request.arrivalTime,
      attributes: askedFor(request),
    },
    context,
  );
  if (span.isRecording()) {
    group.onPreemption = (bySwap) => span.addEvent('preemption', { 'octavo.swap': bySwap });
  }
  request.onSettled(() => end(api, span, request));
}

function askedFor({ group: { id, params, beams, sequences } }: Request): Attributes {
  const { temperature, topP, maxTokens, n } = params;
  return {
    'gen_ai.request.id': id,
    'gen_ai.request.max_tokens': maxTokens,
    'gen_ai.request.n': n,
    'gen_ai.usage.num_sequences': sequences.length,
    ...(beams === null
      ? { 'gen_ai.request.temperature': temperature, 'gen_ai.request.top_p': topP }
      : {}),
  };
}

function end(api: Api, span: Span, request: Request): void {
  if (span.isRecording()) {
    const { error } = request;
    span.setAttributes(measured(request));
    span.setAttribute('gen_ai.response.finish_reasons', finishReasons(request));
    if (error !== null) {
      const code = isOctavoError(error) ? error.code : error.name;
      span.setAttribute('error.type', code);
      span.recordException(error);
      span.setStatus({ code: api.SpanStatusCode.ERROR, message: error.message });
    }
  }
  span.end();
}

/** What has not come to an end of its own was given up. */
function finishReasons({ group: { beams, sequences, finished } }: Request): string[] {
  const ends = finished && beams !== null ? beams.finished : sequences;
  return ends.map(({ finishReason }) => finishReason ?? 'abort');
}

/** What did not happen has no attribute. */
function measured(request: Request): Attributes {
  const metrics = request.metrics();
  const { queueMs, timeToFirstTokenMs, prefillMs, decodeMs, elapsedMs } = metrics;
  const times = {
    time_in_queue: queueMs,
    time_to_first_token: timeToFirstTokenMs,
    e2e: elapsedMs,
    time_in_model_prefill: prefillMs,
    time_in_model_decode: decodeMs,
    time_in_model_inference: prefillMs === null ? null : prefillMs + (decodeMs ?? 0),
  };
  const attributes: Attributes = {
    'gen_ai.usage.prompt_tokens': metrics.numPromptTokens,
    'gen_ai.usage.completion_tokens': metrics.numGeneratedTokens,
  };
  for (const [name, ms] of Object.entries(times)) {
    if (ms !== null) attributes[`gen_ai.latency.${name}`] = ms / 1000;
  }
  return attributes;
}

/** Runs the prompts of a request, and tells log and metrics of them. */
import { isBeamSearch } from '../core/beam-params.js';
import type { GenerateParams } from '../engine/gate.js';
import type { RequestMetrics } from '../engine/outputs.js';
import type { Prompt } from '../engine/prompts.js';
import type { RequestOptions } from '../engine/request.js';
import {
  type EngineCall,
  engineEvents,
  type GenerationEvent,
  type StartEvent,
} from './engine-events.js';
import type { Exchange } from './exchange.js';
import { SILENT } from './logs.js';
import { Mailbox } from './mailbox.js';
import type { Metrics, ToolRoute } from './metrics.js';
import type { Model } from './models.js';
import { Problem } from './problem.js';

export interface Generation {
  /** Of the answer: engine, log line and trace know it by this, several prompts with places. */
  readonly id: string;
  readonly model: Model;
  /** Each in one form or several; see {@link EngineCall}. */
  readonly prompts: readonly Iterable<Prompt>[];
  readonly params: GenerateParams;
  readonly priority?: number;
  /** Tokens of each frame; the server's own number where that is more. */
  readonly streamInterval?: number;
  /** Only the prompt counts; what is drawn is dropped. */
  readonly promptOnly?: boolean;
  /** The route of a request that offers tools. */
  readonly toolRoute?: ToolRoute;
}

/** What a body says of its request beside its prompts and how tokens are drawn. */
export function requestWishes(body: {
  readonly priority?: number;
  readonly stream_interval?: number;
}): Pick<Generation, 'priority' | 'streamInterval'> {
  const { priority, stream_interval: streamInterval } = body;
  return { priority, streamInterval };
}

export class Generator {
  readonly #metrics: Metrics | null;

  constructor(metrics: Metrics | null) {
    this.#metrics = metrics;
  }

  /**
   * Events of all prompts, several at once as far as the engine runs them at once. An error ends
   * all of them, and so does the client's leaving.
   * @param maxBytes what may wait for the reader
   */
  run(exchange: Exchange, generation: Generation, maxBytes = Number.POSITIVE_INFINITY): Mailbox {
    const { model, prompts, params } = generation;
    const { config, facts } = exchange;
    const interval = Math.max(config.streamInterval, generation.streamInterval ?? 1);
    const mailbox = new Mailbox(maxBytes, interval);
    facts.model = model.name;
    facts.response_id = generation.id;
    let next = 0;
    const work = async () => {
      while (next < prompts.length && !exchange.signal.aborted) {
        const prompt = next++;
        const options = {
          requestId: prompts.length === 1 ? generation.id : `${generation.id}-${prompt}`,
          signal: exchange.signal,
          useModelDefaults: config.useModelDefaults && !isBeamSearch(params),
          ...exchange.timeLeft,
          ...traceHeaders(exchange),
          ...(generation.priority === undefined ? {} : { priority: generation.priority }),
        };
        const { structuredField } = exchange;
        const forms = prompts[prompt];
        const call: EngineCall = { prompt, forms, params, options, structuredField };
        await this.#runOne(exchange, generation, call, mailbox, maxBytes);
      }
    };
    // Room for others stays in the queue, as with the library's batches.
    const { maxNumSeqs, maxNumWaiting } = model.llm.info;
    const width = Math.min(prompts.length, maxNumSeqs, Math.max(1, Math.floor(maxNumWaiting / 2)));
    void Promise.all(Array.from({ length: width }, work)).then(
      () => (exchange.signal.aborted ? mailbox.fail(exchange.signal.reason) : mailbox.end()),
      (error) => {
        mailbox.fail(error);
        exchange.abort('another prompt of the request failed');
      },
    );
    return mailbox;
  }

  async #runOne(
    exchange: Exchange,
    generation: Generation,
    call: EngineCall,
    mailbox: Mailbox,
    maxBytes: number,
  ): Promise<void> {
    const { model, promptOnly } = generation;
    const record = new Record(exchange, generation, this.#metrics, Number.isFinite(maxBytes));
    for await (const event of engineEvents(model.llm, call)) {
      record.note(event);
      if (promptOnly && event.type === 'delta') continue;
      if (!mailbox.push(event) && (await mailbox.staysFull())) throw slowReader(exchange);
    }
  }
}

/** The caller's span, where it names one. */
function traceHeaders({ req: { headers } }: Exchange): Pick<RequestOptions, 'traceHeaders'> {
  const { traceparent, tracestate } = headers;
  if (typeof traceparent !== 'string') return {};
  return { traceHeaders: { traceparent, tracestate: [tracestate ?? []].flat().join() } };
}

function slowReader(exchange: Exchange): Error {
  exchange.facts.error = 'the client reads too slowly';
  return new Problem(408, `more than ${exchange.config.maxBufferedBytes} bytes wait to be read`);
}

/** What is told of a prompt's way; of its end the engine tells. */
class Record {
  readonly #exchange: Exchange;
  readonly #model: Model;
  readonly #params: GenerateParams;
  readonly #toolRoute: ToolRoute | undefined;
  readonly #metrics: Metrics | null;
  readonly #streams: boolean;
  /** Samples that have called a tool. */
  readonly #called = new Set<number>();

  constructor(
    exchange: Exchange,
    { model, params, toolRoute }: Generation,
    metrics: Metrics | null,
    streams: boolean,
  ) {
    this.#exchange = exchange;
    this.#model = model;
    this.#params = params;
    this.#toolRoute = toolRoute;
    this.#metrics = metrics;
    this.#streams = streams;
  }

  note(event: GenerationEvent): void {
    const { facts, arrived } = this.#exchange;
    if (event.type === 'start') {
      facts.prompt_tokens = Number(facts.prompt_tokens ?? 0) + event.tokenIds.length;
      const ms = performance.now() - arrived;
      facts.ttft_ms ??= Math.round(ms);
      this.#metrics?.observeFirstToken(this.#model, ms / 1000);
      this.#tellWarnings(event);
    } else if (event.type === 'delta') {
      facts.completion_tokens = Number(facts.completion_tokens ?? 0) + event.tokenIds.length;
      if (event.pieces.some(({ type }) => type === 'call')) this.#called.add(event.sample);
    } else if (event.type === 'end') {
      facts.finish_reason ??= event.reason;
      if (event.problem !== undefined) facts.error ??= event.problem.message;
      this.#noteTools(event.sample);
    } else this.#done(event.metrics);
  }

  #tellWarnings({ warnings }: StartEvent): void {
    if (warnings.length === 0) return;
    const { id, config } = this.#exchange;
    const fields = { request_id: id, warnings: warnings.slice(0, 32) };
    (config.logger ?? SILENT).warn(fields, 'a part of the request has no effect');
  }

  #noteTools(sample: number): void {
    if (this.#toolRoute === undefined) return;
    const isCalled = this.#called.has(sample);
    const read = { route: this.#toolRoute, streams: this.#streams, isCalled };
    this.#metrics?.observeTools(this.#model, read);
  }

  #done(times: RequestMetrics): void {
    const { queueMs } = times;
    this.#exchange.facts.queue_ms ??= queueMs === null ? null : Math.round(queueMs);
    const params = this.#params;
    const n = isBeamSearch(params) ? params.beamWidth : (params.n ?? 1);
    this.#metrics?.observeEnd(this.#model, { times, n, maxTokens: params.maxTokens ?? 16 });
  }
}

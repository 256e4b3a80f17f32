/** /metrics: vLLM's names and buckets, and `octavo:` for what only this engine has. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { EngineEvent, EngineStats, RequestMetrics } from '../engine/outputs.js';
import { E2E, ITERATION, ITL, lengths, TTFT } from './metric-buckets.js';
import type { Model } from './models.js';
import { kvCapacity } from './params.js';

const LABELS = ['model_name', 'engine'] as const;
type Labels = Record<(typeof LABELS)[number], string>;

type Row = readonly [name: string, help: string, of: (stats: EngineStats) => number];

/** Counters that the engine keeps by itself; read when they are asked for. */
const COUNTED: readonly Row[] = [
  ['vllm:prefix_cache_queries_total', 'Prompt tokens looked up', (s) => s.prefixCacheQueries],
  ['vllm:prefix_cache_hits_total', 'Prompt tokens found', (s) => s.prefixCacheHits],
  // By their old names, which routers of older stacks still read.
  ['vllm:gpu_prefix_cache_queries_total', 'Prompt tokens looked up', (s) => s.prefixCacheQueries],
  ['vllm:gpu_prefix_cache_hits_total', 'Prompt tokens found', (s) => s.prefixCacheHits],
  // vLLM has them from the start, too: there is no cache of other machines, and none of images.
  ['vllm:external_prefix_cache_queries_total', 'Prompt tokens looked up elsewhere', () => 0],
  ['vllm:external_prefix_cache_hits_total', 'Prompt tokens found elsewhere', () => 0],
  ['vllm:mm_cache_queries_total', 'Images and sounds looked up', () => 0],
  ['vllm:mm_cache_hits_total', 'Images and sounds found', () => 0],
  ['vllm:num_preemptions_total', 'Preemptions', (s) => s.numPreemptions],
  ['vllm:prompt_tokens_total', 'Prompt tokens', (s) => s.promptTokens],
  ['vllm:prompt_tokens_cached_total', 'Those not computed', (s) => s.promptTokensCached],
  ['vllm:generation_tokens_total', 'Generated tokens', (s) => s.generationTokens],
  ['octavo:block_copies_total', 'Blocks copied on write', (s) => s.numBlockCopies],
  ['octavo:blocks_swapped_out_total', 'Blocks swapped out', (s) => s.numBlocksSwappedOut],
  ['octavo:blocks_swapped_in_total', 'Blocks swapped in', (s) => s.numBlocksSwappedIn],
  ['octavo:states_swapped_out_total', 'States swapped out', (s) => s.numStatesSwappedOut],
  ['octavo:states_swapped_in_total', 'States swapped in', (s) => s.numStatesSwappedIn],
  ['octavo:state_hits_total', 'Recurrent states found', (s) => s.numStateHits],
  ['octavo:grammar_masks_total', 'Masks of grammars filled', (s) => s.numMasks],
  [
    'octavo:tokens_forced_total',
    'Tokens that grammars left no choice of',
    (s) => s.numTokensForced,
  ],
  ['octavo:requests_failed_total', 'Requests ended by an error', (s) => s.numRequestsBy.error],
];

const GAUGES: readonly Row[] = [
  ['vllm:num_requests_running', 'Requests in the batch', (s) => s.numRequestsRunning],
  ['vllm:num_requests_waiting', 'Requests that wait', (s) => s.numRequestsWaiting],
  ['vllm:num_requests_swapped', 'Requests in the swap space', (s) => s.numRequestsSwapped],
  ['vllm:kv_cache_usage_perc', 'Share of KV blocks in use; 1 is all', (s) => s.kvCacheUsage],
  ['octavo:num_states_used', 'Recurrent states in use', (s) => s.numStatesUsed],
  ['octavo:num_states_cached', 'Recurrent states that can be hit', (s) => s.numStatesCached],
  ['vllm:gpu_cache_usage_perc', 'The same, by its old name', (s) => s.kvCacheUsage],
];

/** A request that has ended by itself. */
export interface EndedRequest {
  readonly n: number;
  readonly maxTokens: number;
  readonly times: RequestMetrics;
}

/** Routes with tools, as vLLM tells them apart. */
export type ToolRoute = 'chat_completions' | 'responses' | 'other';

/** An answer to a request with tools. */
export interface ReadForTools {
  readonly route: ToolRoute;
  readonly streams: boolean;
  /** Whether a tool was called. */
  readonly isCalled: boolean;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #models: readonly Model[];
  readonly #histograms = new Map<string, Histogram>();
  readonly #forks: Counter;
  readonly #tools: Counter;
  readonly #latest = new Map<string, EngineEvent>();
  readonly #readers: AsyncGenerator<EngineEvent, void, void>[] = [];

  constructor(models: readonly Model[]) {
    this.#models = models;
    for (const row of COUNTED) this.#counted(...row);
    for (const row of GAUGES) this.#gauge(...row);
    this.#countedBy('vllm:request_success_total', 'Requests that ended', {
      label: 'finished_reason',
      of: ({ numRequestsBy }) => numRequestsBy,
    });
    this.#countedBy('vllm:prompt_tokens_by_source_total', 'Prompt tokens', {
      label: 'source',
      of: ({ promptTokens, promptTokensCached }) => ({
        local_cache_hit: promptTokensCached,
        local_compute: promptTokens - promptTokensCached,
        external_kv_transfer: 0,
      }),
    });
    this.#waitingByReason();
    this.#sleepState();
    this.#cacheConfig();
    this.#adapters();
    this.#shared();
    const longest = Math.max(...models.map(({ llm }) => llm.info.maxModelLen));
    this.#makeHistograms(lengths(longest));
    this.#forks = this.#counter('octavo:forks_total', 'Samples and beams that share a prompt');
    const of = 'Answers to requests with tools';
    const labels = ['mode', 'outcome', 'request_type'];
    this.#tools = this.#counter('vllm:tool_call_parser_invocations_total', of, labels);
    for (const model of models) {
      this.#forks.inc(labelsOf(model), 0);
      this.#beginTools(model);
      void this.#follow(model);
    }
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Nothing is followed any more. */
  close(): void {
    for (const reader of this.#readers) void reader.return();
  }

  /** @param seconds since it arrived, its body and its turn to be tokenized included */
  observeFirstToken(model: Model, seconds: number): void {
    this.#observe(model, 'time_to_first_token_seconds', seconds);
  }

  observeEnd(model: Model, { n, maxTokens, times }: EndedRequest): void {
    const { numPromptTokens, numCachedTokens, numGeneratedTokens } = times;
    this.#forks.inc(labelsOf(model), n - 1);
    this.#observe(model, 'request_prompt_tokens', numPromptTokens);
    const computed = numPromptTokens - numCachedTokens;
    this.#observe(model, 'request_prefill_kv_computed_tokens', computed);
    this.#observe(model, 'request_generation_tokens', numGeneratedTokens);
    this.#observe(model, 'request_max_num_generation_tokens', maxTokens);
    this.#observe(model, 'max_num_generation_tokens', maxTokens);
    this.#observe(model, 'request_params_n', n);
    this.#observe(model, 'request_params_max_tokens', maxTokens);
    this.#observe(model, 'e2e_request_latency_seconds', times.elapsedMs / 1000);
    this.#observeTimes(model, times, numGeneratedTokens / n);
  }

  observeTools(model: Model, read: ReadForTools, times = 1): void {
    const { route, streams, isCalled } = read;
    const mode = streams ? 'streaming' : 'non_streaming';
    const outcome = isCalled ? 'tool_call' : 'no_tool_call';
    this.#tools.inc({ ...labelsOf(model), mode, outcome, request_type: route }, times);
  }

  /** What has not happened yet has happened no times. */
  #beginTools(model: Model): void {
    for (const route of ['chat_completions', 'responses', 'other'] as const) {
      for (const streams of [false, true]) {
        for (const isCalled of [false, true]) {
          this.observeTools(model, { route, streams, isCalled }, 0);
        }
      }
    }
  }

  /** @param seconds from the request's arrival until all its texts were computed */
  observePooled(model: Model, numTokens: readonly number[], seconds: number): void {
    for (const n of numTokens) this.#observe(model, 'request_prompt_tokens', n);
    this.#observe(model, 'e2e_request_latency_seconds', seconds);
  }

  /** As the engine measured them, whatever of it a slow reader saw. */
  #observeTimes(model: Model, times: RequestMetrics, numTokens: number): void {
    const { queueMs, prefillMs, decodeMs, interTokenMs } = times;
    if (queueMs === null || prefillMs === null || decodeMs === null) return;
    this.#observe(model, 'request_queue_time_seconds', queueMs / 1000);
    this.#observe(model, 'request_prefill_time_seconds', prefillMs / 1000);
    this.#observe(model, 'request_decode_time_seconds', decodeMs / 1000);
    this.#observe(model, 'request_inference_time_seconds', (prefillMs + decodeMs) / 1000);
    for (const ms of interTokenMs) {
      this.#observe(model, 'inter_token_latency_seconds', ms / 1000);
      this.#observe(model, 'time_per_output_token_seconds', ms / 1000);
    }
    if (numTokens <= 1) return;
    const perToken = decodeMs / 1000 / (numTokens - 1);
    this.#observe(model, 'request_time_per_output_token_seconds', perToken);
  }

  #observe(model: Model, name: string, value: number): void {
    this.#histograms.get(name)?.observe(labelsOf(model), Math.max(0, value));
  }

  /** Figures of every step. */
  async #follow(model: Model): Promise<void> {
    const reader = model.llm.events();
    this.#readers.push(reader);
    for await (const event of reader) {
      this.#latest.set(model.name, event);
      this.#observe(model, 'iteration_tokens_total', event.step.numTokens);
    }
  }

  #makeHistograms(tokens: number[]): void {
    const seconds = { ttft: TTFT, itl: ITL, e2e: E2E };
    const rows: [name: string, help: string, buckets: number[]][] = [
      ['time_to_first_token_seconds', 'Time to the first token', seconds.ttft],
      ['inter_token_latency_seconds', 'Time between tokens', seconds.itl],
      ['time_per_output_token_seconds', 'The same, by its older name', seconds.itl],
      ['request_time_per_output_token_seconds', 'Time per output token of a request', seconds.itl],
      ['e2e_request_latency_seconds', 'Time from arrival to end', seconds.e2e],
      ['request_queue_time_seconds', 'Time in the queue', seconds.e2e],
      ['request_inference_time_seconds', 'Time from the queue to the end', seconds.e2e],
      ['request_prefill_time_seconds', 'Time from the queue to the first token', seconds.e2e],
      ['request_decode_time_seconds', 'Time from the first token to the end', seconds.e2e],
      ['request_prompt_tokens', 'Tokens of a prompt', tokens],
      ['request_generation_tokens', 'Tokens generated for a request', tokens],
      ['request_max_num_generation_tokens', 'Most tokens a request asked for', tokens],
      ['max_num_generation_tokens', 'The same, by its older name', tokens],
      ['request_params_max_tokens', 'max_tokens of a request', tokens],
      ['request_prefill_kv_computed_tokens', 'Prompt tokens that were computed', tokens],
      ['request_params_n', 'n of a request', [1, 2, 5, 10, 20]],
      ['iteration_tokens_total', 'Tokens of a step', ITERATION],
    ];
    for (const [name, help, buckets] of rows) {
      const histogram = new Histogram({
        ...this.#common(`vllm:${name}`, help),
        labelNames: [...LABELS],
        buckets,
      });
      for (const model of this.#models) histogram.zero(labelsOf(model));
      this.#histograms.set(name, histogram);
    }
  }

  #common(name: string, help: string) {
    return { name, help, registers: [this.#registry] };
  }

  #counter(name: string, help: string, labels: readonly string[] = []): Counter {
    return new Counter({ ...this.#common(name, help), labelNames: [...LABELS, ...labels] });
  }

  #counted(...[name, help, of]: Row): void {
    const models = this.#models;
    new Counter({
      ...this.#common(name, help),
      labelNames: [...LABELS],
      collect() {
        this.reset();
        for (const model of models) this.inc(labelsOf(model), of(model.llm.stats()));
      },
    });
  }

  #countedBy(
    name: string,
    help: string,
    { label, of }: { label: string; of: (stats: EngineStats) => Readonly<Record<string, number>> },
  ): void {
    const models = this.#models;
    new Counter({
      ...this.#common(name, help),
      labelNames: [...LABELS, label],
      collect() {
        this.reset();
        for (const model of models) {
          for (const [value, count] of Object.entries(of(model.llm.stats()))) {
            this.inc({ ...labelsOf(model), [label]: value }, count);
          }
        }
      },
    });
  }

  #gauge(...[name, help, of]: Row): void {
    const models = this.#models;
    new Gauge({
      ...this.#common(name, help),
      labelNames: [...LABELS],
      collect() {
        for (const model of models) this.set(labelsOf(model), of(model.llm.stats()));
      },
    });
  }

  #waitingByReason(): void {
    const models = this.#models;
    new Gauge({
      ...this.#common('vllm:num_requests_waiting_by_reason', 'Requests that wait, and why'),
      labelNames: [...LABELS, 'reason'],
      collect() {
        for (const model of models) {
          const { numRequestsWaiting } = model.llm.stats();
          this.set({ ...labelsOf(model), reason: 'capacity' }, numRequestsWaiting);
          this.set({ ...labelsOf(model), reason: 'deferred' }, 0);
        }
      },
    });
  }

  /** It never sleeps. */
  #sleepState(): void {
    const gauge = new Gauge({
      ...this.#common('vllm:engine_sleep_state', 'What the engine has given up; awake: nothing'),
      labelNames: [...LABELS, 'sleep_state'],
    });
    for (const model of this.#models) {
      for (const state of ['awake', 'weights_offloaded', 'discard_all']) {
        gauge.set({ ...labelsOf(model), sleep_state: state }, state === 'awake' ? 1 : 0);
      }
    }
  }

  /** Routers multiply: `block_size` × `num_gpu_blocks` are the tokens that it can hold. */
  #cacheConfig(): void {
    const labels = ['block_size', 'num_gpu_blocks', 'cache_dtype', 'gpu_memory_utilization'];
    const gauge = new Gauge({
      ...this.#common('vllm:cache_config_info', 'The KV cache; the value is 1'),
      labelNames: [...LABELS, ...labels, 'num_cpu_blocks'],
    });
    for (const model of this.#models) {
      const { blockSize, numHostBlocks, kvCacheDtype, gpuMemoryUtilization } = model.llm.info;
      gauge.set(
        {
          ...labelsOf(model),
          block_size: blockSize,
          num_gpu_blocks: Math.floor(kvCapacity(model.llm.info) / blockSize),
          cache_dtype: kvCacheDtype,
          gpu_memory_utilization: gpuMemoryUtilization,
          num_cpu_blocks: numHostBlocks,
        },
        1,
      );
    }
  }

  /** Routers ask for it; there are no adapters. */
  #adapters(): void {
    const labels = ['max_lora', 'waiting_lora_adapters', 'running_lora_adapters'];
    const help = 'LoRA adapters of running and waiting requests';
    const gauge = new Gauge({
      ...this.#common('vllm:lora_requests_info', help),
      labelNames: labels,
    });
    gauge.set({ max_lora: '0', waiting_lora_adapters: '', running_lora_adapters: '' }, 0);
  }

  #shared(): void {
    const latest = this.#latest;
    const models = this.#models;
    new Gauge({
      ...this.#common('octavo:blocks_shared', 'Blocks saved by sharing, as of the last step'),
      labelNames: [...LABELS],
      collect() {
        for (const model of models) {
          const event = latest.get(model.name);
          const saved = event === undefined ? 0 : event.numTableEntries - event.numBlocksUsed;
          this.set(labelsOf(model), Math.max(0, saved));
        }
      },
    });
  }
}

function labelsOf({ name }: Model): Labels {
  return { model_name: name, engine: '0' };
}

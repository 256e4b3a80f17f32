/** /metrics: the names, labels and buckets that dashboards and gateways read. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createServer } from '../../lib/server/index.js';
import { until } from '../support/until.js';
import { listen, portOf, serveDemo, type TestServer } from './support.js';

let server: TestServer;
beforeAll(async () => {
  server = await serveDemo();
});
afterAll(() => server.close());

const scrape = async () => (await fetch(`${server.url}/metrics`)).text();

const LABELS = '{model_name="octavo-demo",engine="0"}';

/** What stands after a name and its labels. */
function sampleOf(text: string, sample: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${sample} `));
  if (line === undefined) throw new Error(`there is no ${sample}`);
  return Number(line.slice(sample.length + 1));
}

/** As its name stands in queries, with its type. */
const NAMES = `
counter vllm:prefix_cache_queries_total vllm:prefix_cache_hits_total vllm:num_preemptions_total
counter vllm:prompt_tokens_total vllm:generation_tokens_total vllm:request_success_total
counter vllm:prompt_tokens_cached_total vllm:prompt_tokens_by_source_total
counter vllm:external_prefix_cache_queries_total vllm:external_prefix_cache_hits_total
counter vllm:mm_cache_queries_total vllm:mm_cache_hits_total
counter vllm:tool_call_parser_invocations_total
counter octavo:block_copies_total octavo:blocks_swapped_out_total octavo:blocks_swapped_in_total
counter octavo:forks_total octavo:requests_failed_total
gauge vllm:num_requests_running vllm:num_requests_waiting vllm:num_requests_waiting_by_reason
gauge vllm:kv_cache_usage_perc vllm:cache_config_info octavo:blocks_shared
gauge vllm:engine_sleep_state vllm:lora_requests_info
histogram vllm:time_to_first_token_seconds vllm:inter_token_latency_seconds
histogram vllm:request_time_per_output_token_seconds vllm:e2e_request_latency_seconds
histogram vllm:request_queue_time_seconds vllm:request_inference_time_seconds
histogram vllm:request_prefill_time_seconds vllm:request_decode_time_seconds
histogram vllm:request_prompt_tokens vllm:request_generation_tokens vllm:iteration_tokens_total
histogram vllm:request_max_num_generation_tokens vllm:request_params_n
histogram vllm:request_params_max_tokens vllm:request_prefill_kv_computed_tokens`;

/** vLLM has these with a flag, a connector or a draft model only. */
const NOT_HERE = /vllm:(corrupted_requests|spec_decode_|estimated_|kv_block_|kv_offload_|nixl_)/;

/** Of times between tokens, of whole times, and of lengths up to the 1,024 of the model. */
const ITL = '0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 7.5 10 20 40 80';
const E2E = '0.3 0.5 0.8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680';
const LENGTHS = '1 2 5 10 20 50 100 200 500 1000';

/** Of every histogram there is. */
const BUCKETS: Readonly<Record<string, string>> = {
  'vllm:time_to_first_token_seconds':
    '0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 160 640 2560',
  'vllm:inter_token_latency_seconds': ITL,
  'vllm:time_per_output_token_seconds': ITL,
  'vllm:request_time_per_output_token_seconds': ITL,
  'vllm:e2e_request_latency_seconds': E2E,
  'vllm:request_queue_time_seconds': E2E,
  'vllm:request_inference_time_seconds': E2E,
  'vllm:request_prefill_time_seconds': E2E,
  'vllm:request_decode_time_seconds': E2E,
  'vllm:iteration_tokens_total': '1 8 16 32 64 128 256 512 1024 2048 4096 8192 16384',
  'vllm:request_params_n': '1 2 5 10 20',
  'vllm:request_prompt_tokens': LENGTHS,
  'vllm:request_generation_tokens': LENGTHS,
  'vllm:request_max_num_generation_tokens': LENGTHS,
  'vllm:max_num_generation_tokens': LENGTHS,
  'vllm:request_params_max_tokens': LENGTHS,
  'vllm:request_prefill_kv_computed_tokens': LENGTHS,
};

describe('/metrics', () => {
  it('has every name with its type from the start, before any request', async () => {
    const text = await scrape();
    for (const line of NAMES.trim().split('\n')) {
      const [type, ...names] = line.split(' ');
      for (const name of names) {
        expect(text).toContain(`# TYPE ${name} ${type}\n`);
        if (type === 'gauge' || name === 'vllm:prompt_tokens_by_source_total') continue;
        const labels = `model_name="octavo-demo",engine="0"`;
        expect([name, text.includes(labels, text.indexOf(`# TYPE ${name}`))]).toEqual([name, true]);
      }
    }
    for (const [name, buckets] of Object.entries(BUCKETS)) {
      const found = [...text.matchAll(new RegExp(`^${name}_bucket\\{le="([^"]+)"`, 'gm'))];
      expect([name, found.map(([, le]) => le).join(' ')]).toEqual([name, `${buckets} +Inf`]);
    }
    expect(text).not.toMatch(NOT_HERE);
    const typed = [...text.matchAll(/^# TYPE (vllm:\S+) histogram$/gm)].map(([, name]) => name);
    expect(typed.sort()).toEqual(Object.keys(BUCKETS).sort());
    const { numBlocks } = server.llm.info;
    expect(text).toContain(`block_size="16",num_gpu_blocks="${numBlocks - 1}"`);
    expect(text).toMatch(
      /^vllm:cache_config_info\{.*block_size="16",num_gpu_blocks="\d+",cache_dtype=".*\} 1$/m,
    );
  });

  it('says what the cache is stored as, and that the engine is awake', async () => {
    const labels = 'model_name="octavo-demo",engine="0"';
    for (const [options, stored] of [
      [{}, 'cache_dtype="bfloat16",gpu_memory_utilization="0.9"'],
      [
        { kvCacheDtype: 'int8', gpuMemoryUtilization: 0.5 },
        'cache_dtype="int8",gpu_memory_utilization="0.5"',
      ],
    ] as const) {
      const own = await serveDemo({}, options);
      const text = await (await fetch(`${own.url}/metrics`)).text();
      expect(text).toContain(stored);
      const states = { awake: 1, weights_offloaded: 0, discard_all: 0 };
      for (const [state, value] of Object.entries(states)) {
        const sample = `vllm:engine_sleep_state{${labels},sleep_state="${state}"}`;
        expect([state, sampleOf(text, sample)]).toEqual([state, value]);
      }
      await own.close();
    }
  });

  it('counts what was asked and answered, as the answers say', async () => {
    const before = await scrape();
    const body = { prompt: 'The sea, the', n: 3, max_tokens: 8, ignore_eos: true };
    const { usage } = await server.json('/v1/completions', body);
    await server.json('/v1/completions', { ...body, n: 1, top_p: 7 }, 400);
    const text = await scrape();
    const rise = (sample: string) => sampleOf(text, sample) - sampleOf(before, sample);
    expect(rise(`vllm:prompt_tokens_total${LABELS}`)).toBe(usage.prompt_tokens);
    expect(rise(`vllm:generation_tokens_total${LABELS}`)).toBe(24);
    expect(rise(`octavo:forks_total${LABELS}`)).toBe(2);
    expect(rise(`octavo:requests_failed_total${LABELS}`)).toBe(0);
    expect(
      rise(
        `vllm:request_success_total{model_name="octavo-demo",engine="0",finished_reason="length"}`,
      ),
    ).toBe(1);
    for (const [name, count] of Object.entries({
      time_to_first_token_seconds: 1,
      inter_token_latency_seconds: 7,
      request_time_per_output_token_seconds: 1,
      e2e_request_latency_seconds: 1,
      request_queue_time_seconds: 1,
      request_params_n: 1,
    })) {
      expect([name, rise(`vllm:${name}_count${LABELS}`)]).toEqual([name, count]);
    }
    expect(rise(`vllm:request_params_n_sum${LABELS}`)).toBe(3);
    expect(rise(`vllm:request_generation_tokens_sum${LABELS}`)).toBe(24);
    expect(rise(`vllm:request_params_max_tokens_sum${LABELS}`)).toBe(8);
    expect(rise(`vllm:iteration_tokens_total_count${LABELS}`)).toBeGreaterThan(0);
  });

  it('counts ends as the engine does: each request once, those who left and those that failed too', async () => {
    const ends = (reason: string) =>
      `vllm:request_success_total{model_name="octavo-demo",engine="0",finished_reason="${reason}"}`;
    const before = await scrape();
    const body = { prompt: 'The sea', max_tokens: 900, ignore_eos: true };
    const leaver = new AbortController();
    const init = { method: 'POST', body: JSON.stringify(body), signal: leaver.signal };
    const left = fetch(`${server.url}/v1/completions`, init).catch(() => 'left');
    await until(() => server.llm.stats().numRequestsRunning === 1);
    leaver.abort();
    expect(await left).toBe('left');
    await server.idle();
    const cached = { prompt: 'sea '.repeat(60), max_tokens: 2, ignore_eos: true };
    for (let i = 0; i < 2; i++) await server.json('/v1/completions', cached);
    const { numRequestsBy, promptTokensCached, promptTokens } = server.llm.stats();
    const text = await scrape();
    expect(sampleOf(text, ends('abort')) - sampleOf(before, ends('abort'))).toBe(1);
    expect(promptTokensCached).toBeGreaterThan(0);
    for (const [reason, count] of Object.entries(numRequestsBy)) {
      expect([reason, sampleOf(text, ends(reason))]).toEqual([reason, count]);
    }
    expect(sampleOf(text, `vllm:prompt_tokens_cached_total${LABELS}`)).toBe(promptTokensCached);
    const from = (source: string) =>
      `vllm:prompt_tokens_by_source_total{model_name="octavo-demo",engine="0",source="${source}"}`;
    expect(sampleOf(text, from('local_cache_hit'))).toBe(promptTokensCached);
    expect(sampleOf(text, from('local_compute'))).toBe(promptTokens - promptTokensCached);
    expect(sampleOf(text, from('external_kv_transfer'))).toBe(0);
  });

  it('is read by a parser: a type for each name, no sample twice', async () => {
    const text = await scrape();
    const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const names = samples.map((line) => {
      const [, sample] = /^([a-zA-Z_:][\w:]*(?:\{(?:\w+="[^"]*",?)*\})?) (\S+)$/.exec(line) ?? [];
      expect([line, sample === undefined]).toEqual([line, false]);
      return sample;
    });
    expect(new Set(names).size).toBe(names.length);
  });

  it('is not there where it is not wanted', async () => {
    const handler = createServer(server.llm, { metrics: false });
    const http = await listen(handler);
    expect((await fetch(`http://127.0.0.1:${portOf(http)}/metrics`)).status).toBe(404);
    http.closeAllConnections();
    http.close();
  });
});

/** What reads /metrics: dashboards, routers, Prometheus' own parser of PyPI. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pythonWith } from '../support/python.js';
import { serveDemo, type TestServer } from './support.js';

const python = pythonWith('prometheus_client', '0.26.0');

let server: TestServer;
let text: string;
beforeAll(async () => {
  server = await serveDemo();
  await server.json('/v1/completions', { prompt: 'The sea', n: 2, max_tokens: 3 });
  text = await (await fetch(`${server.url}/metrics`)).text();
});
afterAll(() => server.close());

/** Each series by its name, with the labels that all of its samples have. */
function seriesOf(exposition: string): Map<string, Set<string>> {
  const all = new Map<string, Set<string>>();
  for (const line of exposition.split('\n')) {
    const [, name, labels = ''] = /^([\w:]+)(?:\{(.*)\})? /.exec(line) ?? [];
    if (name === undefined || line.startsWith('#')) continue;
    const names = new Set(Array.from(labels.matchAll(/(\w+)="/g), ([, label]) => label));
    const before = all.get(name);
    all.set(name, before ? new Set([...before].filter((label) => names.has(label))) : names);
  }
  return all;
}

/** As the boards ask that people run beside vLLM: its own, production-stack's, llm-d's. */
const QUERIES = `
histogram_quantile(0.99, sum by(le) (rate(vllm:e2e_request_latency_seconds_bucket{engine="0"}[5m])))
rate(vllm:e2e_request_latency_seconds_sum[5m]) / rate(vllm:e2e_request_latency_seconds_count[5m])
rate(vllm:prompt_tokens_total{model_name="$m"}[5m])
rate(vllm:generation_tokens_total{model_name="$m"}[5m])
histogram_quantile(0.9, sum by(le) (rate(vllm:inter_token_latency_seconds_bucket{model_name="$m"}[5m])))
histogram_quantile(0.9, sum by(le) (rate(vllm:time_per_output_token_seconds_bucket{model_name="$m"}[5m])))
rate(vllm:time_per_output_token_seconds_sum[5m]) / rate(vllm:time_per_output_token_seconds_count[5m])
histogram_quantile(0.95, sum by(le) (rate(vllm:time_to_first_token_seconds_bucket{model_name="$m"}[5m])))
sum by(model_name) (vllm:num_requests_running{model_name="$m", engine="0"})
sum by(model_name) (vllm:num_requests_waiting{model_name="$m"})
vllm:num_requests_swapped{model_name="$m"}
vllm:num_requests_waiting_by_reason{reason="capacity"}
vllm:kv_cache_usage_perc{model_name="$m"}
vllm:gpu_cache_usage_perc{model_name="$m"}
sum by(le) (increase(vllm:request_prompt_tokens_bucket{model_name="$m"}[5m]))
sum by(le) (increase(vllm:request_generation_tokens_bucket{model_name="$m"}[5m]))
sum by(finished_reason) (increase(vllm:request_success_total{model_name="$m"}[5m]))
rate(vllm:request_queue_time_seconds_sum{model_name="$m"}[5m])
rate(vllm:request_prefill_time_seconds_sum{model_name="$m"}[5m])
rate(vllm:request_decode_time_seconds_sum{model_name="$m"}[5m])
rate(vllm:request_inference_time_seconds_sum[5m]) / rate(vllm:request_inference_time_seconds_count[5m])
rate(vllm:request_max_num_generation_tokens_sum{model_name="$m"}[5m])
sum(rate(vllm:prefix_cache_hits_total[5m])) / sum(rate(vllm:prefix_cache_queries_total[5m]))
sum(rate(vllm:gpu_prefix_cache_hits_total[5m])) / sum(rate(vllm:gpu_prefix_cache_queries_total[5m]))
rate(vllm:num_preemptions_total{model_name="$m"}[5m])
sum by(le) (rate(vllm:iteration_tokens_total_bucket[5m]))
vllm:cache_config_info{block_size="16"} * on(model_name) group_left(num_gpu_blocks) vllm:kv_cache_usage_perc
sum by(source) (rate(vllm:prompt_tokens_by_source_total[5m]))
count(vllm:lora_requests_info{max_lora="0"})
histogram_quantile(0.5, sum by(le) (rate(vllm:request_params_n_bucket[5m])))`;

it('has every series and label that boards ask for', () => {
  const series = seriesOf(text);
  for (const query of QUERIES.trim().split('\n')) {
    const found = [...query.matchAll(/(vllm:\w+)(?:\{([^}]*)\})?/g)];
    expect(found.length).toBeGreaterThan(0);
    const by = /by\((\w+)\)/.exec(query)?.[1];
    for (const [, name, selector = ''] of found) {
      const labels = Array.from(selector.matchAll(/(\w+)=/g), ([, label]) => label);
      if (by !== undefined) labels.push(by);
      expect([query, [...(series.get(name) ?? [])]]).toEqual([
        query,
        expect.arrayContaining(labels),
      ]);
    }
  }
});

/** What llm-d's simulator of vLLM shows, and its router may read. */
const SIMULATED = `
cache_config_info e2e_request_latency_seconds generation_tokens_total inter_token_latency_seconds
kv_cache_usage_perc lora_requests_info max_num_generation_tokens num_requests_running
num_requests_waiting prefix_cache_hits_total prefix_cache_queries_total prompt_tokens_total
request_decode_time_seconds request_prefill_time_seconds request_queue_time_seconds
request_inference_time_seconds request_prompt_tokens request_generation_tokens
request_params_max_tokens request_success_total request_time_per_output_token_seconds
time_per_output_token_seconds time_to_first_token_seconds`;

it("has all that llm-d's simulator has", () => {
  for (const name of SIMULATED.trim().split(/\s+/)) {
    expect([name, text.includes(`\n# TYPE vllm:${name} `)]).toEqual([name, true]);
  }
});

const PARSE = `
import json, sys
from prometheus_client.parser import text_string_to_metric_families as families
print(json.dumps([[f.type, s.name, s.labels, s.value] for f in families(sys.stdin.read())
                  for s in f.samples if s.value == s.value]))`;

it.skipIf(python === undefined)("is read by Prometheus' parser, sample by sample", () => {
  const out = execFileSync(python!.path, ['-c', PARSE], { input: text, encoding: 'utf8' });
  const samples: [string, string, Record<string, string>, number][] = JSON.parse(out);
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  expect(samples).toHaveLength(lines.length);
  for (const [type, name, labels] of samples) {
    expect([name, type]).not.toEqual([name, 'unknown']);
    if (/_total$|_info$/.test(name) || labels.le !== undefined) continue;
    expect([name, labels]).toEqual([name, expect.objectContaining({ model_name: 'octavo-demo' })]);
  }
  // What a quantile is made of: buckets that only grow, up to the count.
  const key = (labels: Record<string, string>) => JSON.stringify({ ...labels, le: '' });
  const last = new Map<string, number>();
  for (const [, name, labels, value] of samples) {
    if (!name.endsWith('_bucket')) continue;
    const id = name + key(labels);
    expect(value).toBeGreaterThanOrEqual(last.get(id) ?? 0);
    last.set(id, value);
  }
  expect(last.size).toBeGreaterThan(15);
});

/** Spans of requests, as OpenTelemetry's own SDK keeps them in memory. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { spawnSync } from 'node:child_process';
import { type Context, context, ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { traceParent } from '../../lib/engine/tracing.js';
import { LLM } from '../../lib/index.js';
import { serveModels } from '../server/support.js';
import { ROOT } from '../support/addon.js';

const exporter = new InMemorySpanExporter();
const storage = new AsyncLocalStorage<Context>();
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';
const traceparent = `00-${TRACE}-${SPAN}-01`;

let llm: LLM;
beforeAll(async () => {
  // Two sequences of 100 tokens do not fit together.
  llm = await LLM.load({ maxModelLen: 128, numGpuBlocksOverride: 10, numThreads: 1 });
});
afterAll(async () => {
  trace.disable();
  context.disable();
  await llm.close();
});

/** The spans that end while `work` runs, in the order of their ids. */
async function spansOf(work: () => Promise<unknown>): Promise<ReadableSpan[]> {
  exporter.reset();
  await work();
  const idOf = (span: ReadableSpan) => String(span.attributes['gen_ai.request.id']);
  return exporter.getFinishedSpans().toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
}

const greedy = { temperature: 0, maxTokens: 8, ignoreEos: true };

describe('a request', () => {
  it('is not traced where nobody has registered a tracer', async () => {
    expect(traceParent({ traceparent })).toBe(null);
    expect(
      await spansOf(() => llm.generate('The sea', greedy, { traceHeaders: { traceparent } })),
    ).toEqual([]);
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
    );
    context.setGlobalContextManager({
      active: () => storage.getStore() ?? ROOT_CONTEXT,
      with: (active, f, self, ...args) => storage.run(active, () => f.apply(self, args)),
      bind: (_, target) => target,
      enable() {
        return this;
      },
      disable() {
        return this;
      },
    });
    expect(traceParent()).not.toBe(null);
  });

  it('is a span with the names of vLLM, under the active one', async () => {
    const tracer = trace.getTracer('test');
    const options = { requestId: 'r1' };
    const [span, outer] = await spansOf(() =>
      tracer.startActiveSpan('outer', async (active) => {
        await llm.generate('The sea', { ...greedy, topP: 0.5, n: 2 }, options);
        active.end();
      }),
    );
    expect(span.name).toBe('llm_request');
    expect(span.parentSpanContext?.spanId).toBe(outer.spanContext().spanId);
    expect(span.status.code).toBe(SpanStatusCode.UNSET);
    const { attributes } = span;
    expect(attributes).toMatchObject({
      'gen_ai.request.id': 'r1',
      'gen_ai.request.max_tokens': 8,
      'gen_ai.request.temperature': 0,
      'gen_ai.request.n': 2,
      'gen_ai.usage.num_sequences': 2,
      'gen_ai.response.finish_reasons': ['length', 'length'],
      'gen_ai.usage.completion_tokens': 16,
      'gen_ai.usage.prompt_tokens': (await llm.encode('The sea')).length,
    });
    expect(attributes['gen_ai.request.top_p']).toBeTypeOf('number');
    const time = (name: string) => attributes[`gen_ai.latency.${name}`] as number;
    const model = time('time_in_model_prefill') + time('time_in_model_decode');
    expect(time('time_in_model_inference')).toBeCloseTo(model, 9);
    expect(time('time_in_queue') + model).toBeLessThanOrEqual(time('e2e') + 1e-6);
    expect(time('time_to_first_token')).toBeGreaterThan(0);
  });

  it('has the parent that its headers name; damaged ones name none', async () => {
    const parentOf = async (headers: Record<string, string>) => {
      const [span] = await spansOf(() =>
        llm.generate('The sea', greedy, { traceHeaders: headers }),
      );
      return span.parentSpanContext;
    };
    expect(await parentOf({ traceparent, tracestate: 'a=1' })).toMatchObject({
      ...{ traceId: TRACE, spanId: SPAN, isRemote: true },
    });
    for (const damaged of [
      '',
      'x',
      `00-${'0'.repeat(32)}-${SPAN}-01`,
      `ff${traceparent.slice(2)}`,
    ]) {
      expect(await parentOf({ traceparent: damaged })).toBe(undefined);
    }
    // Of what is no such object nothing would be seen.
    const odd = [{ traceparent: 7 }, { Traceparent: traceparent }, new Headers({ traceparent })];
    for (const traceHeaders of [...odd, [traceparent], traceparent]) {
      const wrong = { traceHeaders } as never;
      await expect(llm.generate('a', greedy, wrong)).rejects.toMatchObject({
        ...{ code: 'ERR_INVALID_PARAM', message: expect.stringContaining('traceHeaders') },
      });
    }
    expect(await parentOf({ traceparent, tracestate: undefined as never })).toBeDefined();
  });

  it('has its preemptions as events; each prompt of a batch is a span', async () => {
    const params = { ...greedy, maxTokens: 100 };
    const spans = await spansOf(() =>
      llm.generate(['The sea', 'A whale', 'Ahab'], params, { requestId: 'b' }),
    );
    const ids = spans.map(({ attributes }) => attributes['gen_ai.request.id']);
    expect(ids).toEqual(['b-0', 'b-1', 'b-2']);
    const events = spans.flatMap((span) => span.events);
    expect(events.length).toBeGreaterThan(0);
    expect(events).toHaveLength(llm.stats().numPreemptions);
    for (const { name, attributes } of events) {
      expect({ name, attributes }).toEqual({
        name: 'preemption',
        attributes: { 'octavo.swap': false },
      });
    }
  });

  it('that fails has the code of its error', async () => {
    const [span] = await spansOf(async () => {
      const stop = new AbortController();
      const running = llm.stream('The sea', { ...greedy, maxTokens: 100 }, { signal: stop.signal });
      await running.next();
      stop.abort();
      while (!(await running.next().catch(() => ({ done: true }))).done);
    });
    expect(span.attributes['error.type']).toBe('ERR_ABORTED');
    expect(span.attributes['gen_ai.response.finish_reasons']).toEqual(['abort']);
    expect(span.status.code).toBe(SpanStatusCode.ERROR);
    expect(span.events[0]).toMatchObject({
      ...{ name: 'exception', attributes: { 'exception.type': 'ERR_ABORTED' } },
    });
  });

  it('whose reader leaves was given up', async () => {
    const [span] = await spansOf(async () => {
      const long = { ...greedy, maxTokens: 100 };
      for await (const _ of llm.streamDeltas('The sea', long, { requestId: 'a' })) break;
      await llm.generate('A whale', { ...greedy, maxTokens: 1 }, { requestId: 'b' });
    });
    expect(span.attributes).toMatchObject({
      ...{ 'gen_ai.request.id': 'a', 'gen_ai.response.finish_reasons': ['abort'] },
    });
  });

  it('of HTTP has its caller for a parent', async () => {
    const server = await serveModels({ demo: llm });
    const [span] = await spansOf(async () => {
      const response = await fetch(`${server.url}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', traceparent },
        body: JSON.stringify({ prompt: 'The sea', max_tokens: 4 }),
      });
      await response.json();
    });
    expect(span.parentSpanContext).toMatchObject({ traceId: TRACE, spanId: SPAN, isRemote: true });
    await server.close();
  });
});

it('a tracer whose API octavo cannot find is told of once, and harms nothing', () => {
  const program = `
    import Module from 'node:module';
    const find = Module._resolveFilename;
    Module._resolveFilename = function (name, ...rest) {
      if (name === '@opentelemetry/api') throw new Error('there is none');
      return find.call(this, name, ...rest);
    };
    globalThis[Symbol.for('opentelemetry.js.api.1')] = { trace: { getTracer: () => null } };
    const { LLM } = await import('./dist/index.js');
    const llm = await LLM.load();
    for (const text of ['The sea', 'A whale']) await llm.generate(text, { maxTokens: 2 });
    await llm.close();`;
  const args = ['--input-type=module', '-e', program];
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
  expect(status).toBe(0);
  expect(stderr.match(/@opentelemetry\/api is not installed where octavo finds it/g)).toHaveLength(
    1,
  );
});

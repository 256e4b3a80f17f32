import { describe, expect, it } from 'vitest';
import type { BatchTarget } from '../../lib/batch/target.js';
import { octavoError } from '../../lib/errors.js';
import type { Outcome } from '../../lib/queue/queue.js';
import { type WorkOptions, work } from '../../lib/queue/work.js';
import { MemoryBroker } from '../support/memory-broker.js';
import { until } from '../support/until.js';

const text = JSON.stringify({ custom_id: 'a', method: 'POST', url: '/v1/completions', body: {} });
const reply = (status: number) => async () => ({ status, requestId: null, body: {} });

async function setUp(target: BatchTarget, more: Partial<WorkOptions> = {}) {
  const broker = new MemoryBroker();
  const stop = new AbortController();
  const kill = new AbortController();
  const told: string[] = [];
  const states: string[] = [];
  const working = work({
    ...{ broker, target, concurrency: 2, maxAttempts: 3, ackWaitMs: 1000, pauseMs: 1 },
    ...{ stop: stop.signal, kill: kill.signal },
    onJob: (level, { attempt }, message) => told.push(`${level} ${attempt} ${message}`),
    onTrouble: () => {},
    onServer: (state) => states.push(state),
    ...more,
  });
  working.catch(() => {});
  await until(() => broker.isTaken);
  const deliver = (attempt = 1, job = text) => broker.deliver({ id: 'j', text: job, attempt });
  return { broker, stop, kill, told, states, working, deliver };
}

const lineOf = (outcome: Outcome) => JSON.parse((outcome as { line: string }).line);

describe('a worker', () => {
  it('answers with a line, and says when it was tried before', async () => {
    const { deliver, told, stop, working } = await setUp(reply(200));
    const line = lineOf(await deliver());
    expect(Object.keys(line)).toEqual(['id', 'custom_id', 'response', 'error']);
    expect(line).toMatchObject({ custom_id: 'a', response: { status_code: 200 }, error: null });
    expect(lineOf(await deliver(2))).toMatchObject({ metadata: { attempts: 2 } });
    expect(told).toEqual(['info 1 answered', 'warn 2 tried again', 'info 2 answered']);
    stop.abort();
    expect(await working).toEqual({ answered: 2, failed: 0, returned: 0, repeated: 0 });
  });

  it.each([
    ['no JSON', '{oops', /not JSON/],
    ['another method', JSON.stringify({ custom_id: 'a', method: 'GET' }), /method must be/],
    ['a stream', text.replace('{}', '{"stream":true}'), /not streamed/],
  ])('a line with %s is an error line at once', async (_, job, message) => {
    const { deliver, working, stop } = await setUp(() => Promise.reject(new Error('not asked')));
    const { error } = lineOf(await deliver(1, job));
    expect(error).toEqual({ code: 'invalid_request', message: expect.stringMatching(message) });
    stop.abort();
    expect(await working).toMatchObject({ failed: 1, returned: 0 });
  });

  it('what the caller can mend is an answer; a fault is tried again until it is one', async () => {
    expect(lineOf(await (await setUp(reply(404))).deliver())).toMatchObject({
      response: { status_code: 404 },
    });
    const { deliver } = await setUp(reply(500));
    expect(await deliver(1)).toEqual({ againInMs: 1 });
    expect(await deliver(2)).toEqual({ againInMs: 2 });
    expect(lineOf(await deliver(3))).toMatchObject({
      response: { status_code: 500 },
      metadata: { attempts: 3 },
    });
    const cut = await setUp(() => Promise.reject(new Error('socket hang up')));
    expect(await cut.deliver(2)).toEqual({ againInMs: 2 });
    expect(lineOf(await cut.deliver(3)).error).toEqual({
      code: 'request_failed',
      message: 'socket hang up',
    });
  });

  it('a line whose workers were all lost is not tried for ever', async () => {
    const { deliver } = await setUp(() => Promise.reject(new Error('not asked')));
    expect(lineOf(await deliver(4))).toMatchObject({
      error: { code: 'attempts_exhausted', message: expect.stringMatching(/after 3 tries/) },
      metadata: { attempts: 4 },
    });
  });

  it('an answer that no broker takes is an error line', async () => {
    const { broker, deliver } = await setUp(async () => ({
      ...{ status: 200, requestId: null, body: 'x'.repeat(500) },
    }));
    broker.maxBytes = 400;
    expect(lineOf(await deliver()).error).toMatchObject({ code: 'answer_too_long' });
  });

  it('a job that comes twice is asked once', async () => {
    let asked = 0;
    const { deliver } = await setUp(async () => ({ status: 200, requestId: null, body: asked++ }));
    const [one, two] = await Promise.all([deliver(1), deliver(2)]);
    expect(one).toBe(two);
    expect(asked).toBe(1);
  });

  it('waits for a server that is not there', async () => {
    let numAsked = 0;
    const { deliver, states } = await setUp(async () => {
      if (numAsked++ < 3) throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
      return { status: 200, requestId: null, body: {} };
    });
    expect(lineOf(await deliver())).toMatchObject({ response: { status_code: 200 } });
    expect(states).toEqual(['gone', 'back']);
  });

  it('a model that is lost ends it; its lines go back, but for the last try', async () => {
    const lost = octavoError('ERR_DEVICE_LOST', 'a model is lost');
    const { deliver, working } = await setUp(() => Promise.reject(lost));
    expect(await deliver(1)).toEqual({ againInMs: 0 });
    await expect(working).rejects.toBe(lost);
    expect(await deliver(1)).toEqual({ againInMs: 0 });
    const last = await setUp(() => Promise.reject(lost));
    expect(lineOf(await last.deliver(3)).error).toMatchObject({ message: 'a model is lost' });
  });

  it('stopped, it takes nothing and finishes what runs; killed, it gives that back', async () => {
    const hang: BatchTarget = (_url, _body, signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      });
    const { deliver, stop, kill, broker, working } = await setUp(hang);
    const running = deliver(3);
    stop.abort();
    expect(await broker.deliver({ id: 'k', text, attempt: 1 })).toEqual({ againInMs: 0 });
    kill.abort();
    expect(await running).toEqual({ againInMs: 0 });
    expect(await working).toMatchObject({ answered: 0, failed: 0, returned: 2 });
  });
});

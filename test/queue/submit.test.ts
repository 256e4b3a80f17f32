import { setMaxListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Submitter } from '../../lib/queue/submit.js';
import { MemoryBroker } from '../support/memory-broker.js';
import { until } from '../support/until.js';
import { refusal } from '../support/write-model.js';

const signal = new AbortController().signal;
setMaxListeners(0, signal); // of every submitter here
const request = (customId: string, body = '{"prompt": "x", "seed": 12345678901234567890}') => ({
  customId,
  url: '/v1/completions',
  body,
});
const answered = (id: string, more: object = {}) =>
  JSON.stringify({
    id: 'batch_req_1',
    custom_id: id,
    response: { status_code: 200 },
    error: null,
    ...more,
  });

async function setUp(broker = new MemoryBroker(), run = 'run') {
  const lost: number[] = [];
  const submitter = new Submitter({ broker, run, lookMs: 5, onLost: (count) => lost.push(count) });
  await submitter.start();
  return { broker, submitter, lost };
}

const only = (broker: MemoryBroker) => [...broker.jobs.keys()][0];

describe('a submitter', () => {
  it('puts in what was written, with every digit, in one line; forgets what is on the disk', async () => {
    const { broker, submitter } = await setUp();
    const answer = submitter.answer(request('a', '{"n":12345678901234567890,\n"m":1}'), signal);
    await until(() => broker.jobs.size === 1);
    expect(broker.puts).toEqual([
      '{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"n":12345678901234567890, "m":1}}',
    ]);
    broker.answer(only(broker), answered('a'));
    expect(await answer).toMatchObject({ custom_id: 'a', response: { status_code: 200 } });
    expect(broker.results.size).toBe(1);
    await submitter.written('a');
    expect(broker.results.size).toBe(0);
    await submitter.close();
  });

  it('another run, body or custom_id is another job; the same is the same', async () => {
    const { broker, submitter } = await setUp();
    const other = await setUp(broker, 'other');
    const again = await setUp(broker);
    void submitter.answer(request('a'), signal);
    void submitter.answer(request('b'), signal);
    void other.submitter.answer(request('a'), signal);
    void again.submitter.answer(request('a'), signal);
    void again.submitter.answer(request('a', '{"prompt": "y"}'), signal);
    await until(() => broker.puts.length === 4);
    await Promise.all([submitter, other.submitter, again.submitter].map((one) => one.close()));
    expect(broker.puts).toHaveLength(4);
  });

  it('finds what it is not told of, and what was there before', async () => {
    const { broker, submitter } = await setUp();
    broker.isSilent = true;
    const answer = submitter.answer(request('a'), signal);
    await until(() => broker.jobs.size === 1);
    broker.answer(only(broker), answered('a', { metadata: { attempts: 2 } }));
    expect(await answer).toMatchObject({ metadata: { attempts: 2 } });
    expect(submitter.totals).toEqual({ repeated: 1, late: 0 });
    await submitter.close();
    // It did not live to write it.
    const { submitter: next } = await setUp(broker);
    expect(await next.answer(request('a'), signal)).toMatchObject({ custom_id: 'a' });
    await next.written('a');
    await next.close();
    expect(broker.puts).toHaveLength(1);
    expect(broker.results.size).toBe(0);
  });

  it('a line that was written before is removed; an answer that comes later is dropped and counted', async () => {
    const { broker, submitter } = await setUp();
    void submitter.answer(request('a'), signal);
    await until(() => broker.jobs.size === 1);
    const id = only(broker);
    broker.answer(id, answered('a'));
    await submitter.close();
    const { submitter: next } = await setUp(broker);
    next.had(request('a'));
    await until(() => broker.results.size === 0);
    broker.answer(id, answered('a'));
    await until(() => next.totals.late === 1);
    await until(() => broker.results.size === 0);
    await next.close();
  });

  it('what a broker lost is put in again, and said', async () => {
    const { broker, submitter, lost } = await setUp();
    const answer = submitter.answer(request('a'), signal);
    await until(() => broker.jobs.size === 1);
    broker.jobs.clear();
    await until(() => broker.jobs.size === 1 && lost.length === 1);
    expect(lost).toEqual([1]);
    broker.answer(only(broker), answered('a'));
    await answer;
    await submitter.close();
  });

  it.each([
    ['no JSON', 'oops'],
    ['another line', answered('b')],
    [
      'a line without an answer',
      JSON.stringify({ id: 'x', custom_id: 'a', response: null, error: null }),
    ],
  ])('%s is an error line', async (_, line) => {
    const { broker, submitter } = await setUp();
    const answer = submitter.answer(request('a'), signal);
    await until(() => broker.jobs.size === 1);
    broker.answer(only(broker), line);
    expect(await answer).toMatchObject({ custom_id: 'a', error: { code: 'invalid_result' } });
    await submitter.close();
  });

  it('a line that no broker takes is an error line', async () => {
    const { broker, submitter } = await setUp();
    broker.maxBytes = 20;
    expect(await submitter.answer(request('a'), signal)).toMatchObject({
      error: { code: 'line_too_long', message: expect.stringMatching(/20 bytes/) },
    });
    expect(broker.puts).toEqual([]);
    await submitter.close();
  });

  it('who gives up does not wait for a broker that is gone', async () => {
    const { broker, submitter } = await setUp();
    broker.forget = () => new Promise(() => {});
    const kill = new AbortController();
    const answer = submitter.answer(request('a'), kill.signal);
    await until(() => broker.jobs.size === 1);
    broker.answer(only(broker), answered('a'));
    await answer;
    const written = submitter.written('a');
    kill.abort();
    await written;
    await submitter.close();
  });

  it('a broker that refuses ends the batch, and so does its caller', async () => {
    const { broker, submitter } = await setUp();
    broker.refusal = new Error('OOM command not allowed');
    const refused = { code: 'ERR_QUEUE', message: expect.stringMatching(/OOM.*goes on from here/) };
    expect(await refusal(submitter.answer(request('a'), signal))).toEqual(refused);
    expect(await refusal(submitter.answer(request('b'), signal))).toEqual(refused);
    await submitter.close();
    const { submitter: next } = await setUp();
    const kill = new AbortController();
    const answer = next.answer(request('a'), kill.signal);
    kill.abort();
    await expect(answer).rejects.toThrow(/given up/);
    await next.close();
  });
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/addon.js';
import { callAndLeave, expected, runState, STATES } from '../support/lifecycle.mjs';

const SCRIPT = join(ROOT, 'test', 'support', 'lifecycle.mjs');

const unhandled: unknown[] = [];
const note = (error: unknown) => unhandled.push(error);
process.on('unhandledRejection', note);
afterAll(() => {
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
});

const runningOf = (state: string) => (state === 'idle' ? 'none' : 'ERR_CLOSED');

describe('every method', () => {
  it.each(STATES)('on the main thread, %s', async (state) => {
    const { outcomes, running, left } = await runState(state);
    expect(outcomes).toEqual(expected(state));
    expect(running).toBe(runningOf(state));
    expect(left).toEqual([0, 0, 0]);
  });

  it('in a worker, in all states', async () => {
    const worker = new Worker(SCRIPT, { workerData: { octavoLifecycle: 'run' } });
    const [results] = await once(worker, 'message');
    for (const state of STATES) {
      const { outcomes, running, left } = results[state];
      expect([state, outcomes]).toEqual([state, expected(state)]);
      expect([state, running, left]).toEqual([state, runningOf(state), [0, 0, 0]]);
    }
    await once(worker, 'exit');
  });

  it.each(STATES)('in a worker that is terminated, %s', async (state) => {
    const worker = new Worker(SCRIPT, { workerData: { octavoLifecycle: 'leave', state } });
    await once(worker, 'message');
    await worker.terminate();
  });

  it.each(['loading', ...STATES])('in a process that exits, or just ends: %s', async (state) => {
    const run = async (how: string) => {
      const child = spawn(process.execPath, [SCRIPT, how, state]);
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text;
        });
      }
      const [status, signal] = await once(child, 'close');
      return { status, signal, output };
    };
    const [exits, ends] = await Promise.all([run('exit'), run('end')]);
    expect(exits).toEqual({ status: 7, signal: null, output: '' });
    expect(ends).toEqual({ status: 0, signal: null, output: '' });
  });
});

it('everything at once, on an engine that nobody closes, disturbs no other', async () => {
  for (const state of STATES) await callAndLeave(state);
  const { outcomes } = await runState('idle');
  expect(outcomes).toEqual(expected('idle'));
});

/** Batches over real brokers, which are processes, as are the workers and submitters to be killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { OutputLine } from '../../lib/batch/output.js';
import { runBatch } from '../../lib/batch/run.js';
import type { BatchTarget } from '../../lib/batch/target.js';
import { queueAddress } from '../../lib/queue/address.js';
import { openBroker } from '../../lib/queue/open.js';
import { Submitter } from '../../lib/queue/submit.js';
import { type Told, work } from '../../lib/queue/work.js';
import { ROOT } from '../support/addon.js';
import { type BrokerKind, brokerProgram, startBroker } from '../support/brokers.js';
import { json, scriptedServer } from '../support/openai-server.js';
import { until } from '../support/until.js';
import { temporaryFolder, write } from '../support/write-model.js';

const BIN = join(ROOT, 'bin', 'octavo.js');
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const folder = temporaryFolder();
let count = 0;

const line = (id: string, body: object = { prompt: id }) =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/completions', body });
const names = (n: number) => Array.from({ length: n }, (_, i) => `id-${i}`);
const inputOf = (ids: readonly string[]) => ids.map((id) => line(id)).join('\n');
const said = ({ response }: OutputLine) =>
  (response as { body: { choices: { text: string }[] } }).body.choices[0].text;

interface Running {
  readonly child: ChildProcess;
  readonly said: () => string;
  readonly logged: () => string;
  readonly ended: Promise<number | null>;
}

function start(args: readonly string[]): Running {
  const child = spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  let stdout = '';
  child.stdout.on('data', (data) => {
    stdout += data;
  });
  child.stderr.on('data', (data) => {
    stderr += data;
  });
  const ended = once(child, 'close').then(([code]) => code as number | null);
  closers.push(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, said: () => stderr, logged: () => stdout, ended };
}

/** Answers with the prompt, at once or when it is let. */
function answering(isHeld: boolean) {
  const held: (() => void)[] = [];
  const prompts: string[] = [];
  const target: BatchTarget = async (_url, body, signal) => {
    const { prompt } = JSON.parse(body);
    prompts.push(prompt);
    if (isHeld) {
      await new Promise<void>((resolve, reject) => {
        held.push(resolve);
        signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      });
    }
    return { status: 200, requestId: null, body: { choices: [{ text: prompt }] } };
  };
  const release = () => {
    isHeld = false;
    for (const one of held.splice(0)) one();
  };
  return { target, prompts, release, numHeld: () => held.length };
}

type Answering = ReturnType<typeof answering>;

async function setUp(kind: BrokerKind) {
  const process = await startBroker(kind);
  closers.push(() => process.stop());
  const open = async () => {
    const states: string[] = [];
    const onState = (state: string) => states.push(state);
    const address = queueAddress(process.url);
    const broker = await openBroker({ address, name: 'octavo', onState });
    let isClosed = false;
    const close = async () => {
      if (!isClosed) await broker.close();
      isClosed = true;
    };
    closers.push(close);
    return { broker, states, close };
  };

  /** A worker of this process. */
  const worker = async ({ target }: Answering, concurrency = 3) => {
    const { broker, states, close } = await open();
    const stop = new AbortController();
    const kill = new AbortController();
    const told: Told[] = [];
    const trouble: string[] = [];
    const working = work({
      ...{ broker, target, concurrency, maxAttempts: 5, ackWaitMs: 1000 },
      ...{ stop: stop.signal, kill: kill.signal },
      onJob: (_level, one, message) => told.push({ ...one, error: message }),
      onTrouble: (message) => trouble.push(message),
      onServer: () => {},
    });
    const end = async () => {
      stop.abort();
      const totals = await working;
      await close();
      return totals;
    };
    closers.push(() => {
      kill.abort();
      return end();
    });
    return { states, told, trouble, kill, end };
  };

  const batch = (text: string) => {
    count++;
    const output = join(folder, `${count}-out.jsonl`);
    const input = write(folder, `${count}-in.jsonl`, text);
    const args = ['run-batch', '-i', input, '-o', output, '--queue', process.url];
    const lines = () =>
      existsSync(output)
        ? readFileSync(output, 'utf8')
            .split('\n')
            .slice(0, -1)
            .map((one) => JSON.parse(one) as OutputLine)
        : [];
    const ids = () => lines().map(({ custom_id: id }) => id);
    /** A submitter of this process. */
    const submit = async (kill = new AbortController().signal) => {
      const { broker, states, close } = await open();
      const submitter = new Submitter({ broker, run: output, lookMs: 300, onLost: () => {} });
      await submitter.start();
      const done = runBatch({ input, output, target: submitter, maxConcurrency: 100, kill });
      const ended = done.finally(() => submitter.close()).finally(close);
      // Who waits for something else first must not be told of it too late.
      ended.catch(() => {});
      return { states, ended, totals: submitter.totals };
    };
    return { args: [...args, '--run-name', output], lines, ids, submit };
  };
  return { process, worker, batch };
}

/** A server, and workers that are processes and ask it. */
async function setUpServer(url: string) {
  const held: [string, () => void][] = [];
  const asked: string[] = [];
  const holding = new Set<string>();
  const server = await scriptedServer(({ headers, body }, response) => {
    const name = String(headers.worker);
    asked.push(`${name} ${body.prompt}`);
    const answer = () => json(response, 200, { choices: [{ text: body.prompt }] });
    if (holding.has(name)) held.push([name, answer]);
    else answer();
  });
  closers.push(server.close);
  const begin = (name: string, more: readonly string[] = []) =>
    start([
      ...['worker', '--queue', url, '--base-url', server.url, '--header', `worker=${name}`],
      ...['--ack-wait', '1', '--concurrency', '3', ...more],
    ]);
  const release = (name: string) => {
    holding.delete(name);
    for (const [of, answer] of held) if (of === name) answer();
  };
  const numHeld = (name: string) => held.filter(([of]) => of === name).length;
  return { asked, begin, hold: (name: string) => holding.add(name), release, numHeld };
}

for (const kind of ['redis', 'nats'] as const) {
  const there = brokerProgram(kind) !== undefined;

  describe.skipIf(!there)(`a batch over ${kind}`, () => {
    it('of three workers one is killed: every line is answered, once', async () => {
      const { process, batch } = await setUp(kind);
      const { begin, hold, numHeld, asked } = await setUpServer(process.url);
      hold('a');
      const [a] = ['a', 'b', 'c'].map((name) => begin(name));
      const { lines, ids, submit } = batch(inputOf(names(40)));
      await until(() => a.said().includes('working on'));
      const { ended, totals } = await submit();
      await until(() => numHeld('a') === 3 && ids().length >= 10);
      a.child.kill('SIGKILL');
      expect(await ended).toMatchObject({ answered: 40, failed: 0 });
      expect(totals).toEqual({ repeated: 3, late: 0 });
      expect(ids().sort()).toEqual(names(40).sort());
      for (const one of lines()) expect(said(one)).toBe(one.custom_id);
      const again = lines().filter(({ metadata }) => metadata);
      expect(again.map(({ metadata }) => metadata)).toEqual(Array(3).fill({ attempts: 2 }));
      const ofA = asked.flatMap((one) => (one.startsWith('a ') ? [one.slice(2)] : []));
      expect(again.map(({ custom_id: id }) => id).sort()).toEqual(ofA.sort());
      expect(asked).toHaveLength(43);
    });

    it('a worker that was taken for dead and was not: one answer counts, the other is told of', async () => {
      const { process, worker, batch } = await setUp(kind);
      const { begin, hold, release, numHeld } = await setUpServer(process.url);
      hold('a');
      const a = begin('a', ['--concurrency', '1']);
      const { ids, submit } = batch(inputOf(names(3)));
      const { ended, totals } = await submit();
      await until(() => numHeld('a') === 1);
      a.child.kill('SIGSTOP');
      await worker(answering(false));
      await ended;
      expect(totals).toMatchObject({ repeated: 1 });
      expect(ids().sort()).toEqual(names(3));
      release('a');
      a.child.kill('SIGCONT');
      await until(() => a.logged().includes('it was taken from here'));
      a.child.kill('SIGTERM');
      expect(await a.ended).toBe(0);
      expect(a.said()).toContain('1 answered elsewhere as well');
    });

    it('the broker goes away in the middle and comes back: it is waited for', async () => {
      const { process, worker, batch } = await setUp(kind);
      const held = answering(true);
      const w = await worker(held);
      const { ids, submit } = batch(inputOf(names(20)));
      const { ended, states } = await submit();
      await until(() => held.numHeld() === 3);
      await process.stop();
      await until(() => w.states.length === 1 && states.length === 1);
      // What was asked is answered while there is nobody to tell.
      held.release();
      await process.start();
      expect(await ended).toMatchObject({ answered: 20, failed: 0 });
      expect(ids().sort()).toEqual(names(20).sort());
      for (const one of [states, w.states]) expect(one).toEqual(['gone', 'back']);
      await w.end();
      expect(w.trouble).toEqual([]);
    });

    it('a broker that is gone holds nobody who is stopped', async () => {
      const { process, worker, batch } = await setUp(kind);
      const held = answering(true);
      await worker(held);
      const { submit, ids } = batch(inputOf(names(5)));
      const kill = new AbortController();
      const { ended, states } = await submit(kill.signal);
      await until(() => held.numHeld() === 3);
      await process.stop();
      await until(() => states.length === 1);
      kill.abort();
      await ended;
      expect(ids()).toEqual([]);
      await process.start();
      held.release();
    });

    it('a submitter that is killed goes on: nothing is put in or asked twice', async () => {
      const { worker, batch } = await setUp(kind);
      const held = answering(true);
      const w = await worker(held);
      const { args, ids, submit } = batch(inputOf(names(30)));
      const first = start(args);
      await until(() => held.numHeld() === 3);
      first.child.kill('SIGKILL');
      await first.ended;
      held.release();
      // Some are answered while nobody waits; perhaps not all were put in.
      await until(() => w.told.length >= 3);
      expect(ids()).toEqual([]);
      expect(await (await submit()).ended).toMatchObject({ answered: 30, failed: 0 });
      expect(ids().sort()).toEqual(names(30).sort());
      expect(held.prompts).toHaveLength(30);
      // Nothing is left of them.
      expect(await (await batch(inputOf(names(2))).submit()).ended).toMatchObject({ answered: 2 });
      expect(await (await submit()).ended).toMatchObject({ answered: 0, skipped: 30 });
      expect(held.prompts).toHaveLength(32);
    });

    it('a worker that ends finishes what runs, or gives back what takes too long', async () => {
      const { process, worker, batch } = await setUp(kind);
      const { begin, hold, release, numHeld } = await setUpServer(process.url);
      for (const name of ['a', 'b']) hold(name);
      const a = begin('a', ['--shutdown-timeout', '0']);
      const { ids, submit } = batch(inputOf(names(8)));
      const { ended, totals } = await submit();
      await until(() => numHeld('a') === 3);
      const b = begin('b');
      a.child.kill('SIGTERM');
      expect(await a.ended).toBe(0);
      expect(a.said()).toContain('octavo: 0 answered, 0 failed, 3 given back\n');
      await until(() => numHeld('b') === 3);
      b.child.kill('SIGTERM');
      await until(() => b.said().includes('finishing what runs'));
      release('b');
      expect(await b.ended).toBe(0);
      expect(b.said()).toContain('octavo: 3 answered, 0 failed\n');
      await worker(answering(false));
      expect(await ended).toMatchObject({ answered: 8, failed: 0 });
      expect(ids().sort()).toEqual(names(8));
      expect(totals).toEqual({ repeated: 3, late: 0 });
    });

    it('two submitters on one queue with the same ids, one of them stopped', async () => {
      const { worker, batch } = await setUp(kind);
      const prompts = ['one', 'two'];
      const batches = prompts.map((prompt) =>
        batch(
          names(5)
            .map((id) => line(id, { prompt }))
            .join('\n'),
        ),
      );
      const held = answering(true);
      await worker(held);
      const kill = new AbortController();
      const first = await batches[0].submit(kill.signal);
      const second = await batches[1].submit();
      await until(() => held.numHeld() === 3);
      kill.abort();
      await first.ended;
      expect(batches[0].ids()).toEqual([]);
      held.release();
      expect(await (await batches[0].submit()).ended).toMatchObject({ answered: 5, failed: 0 });
      expect(await second.ended).toMatchObject({ answered: 5, failed: 0 });
      for (const [i, { lines, ids }] of batches.entries()) {
        expect(ids().sort()).toEqual(names(5));
        expect(new Set(lines().map(said))).toEqual(new Set([prompts[i]]));
      }
      expect(held.prompts).toHaveLength(10);
    });
  });
}

/** Batches over real brokers: workers, submitters and brokers are processes, and some are killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { OutputLine } from '../../lib/batch/output.js';
import { ROOT } from '../support/addon.js';
import { type BrokerKind, brokerProgram, startBroker } from '../support/brokers.js';
import { type Asked, json, scriptedServer } from '../support/openai-server.js';
import { runCli } from '../support/run-cli.js';
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

/** A server that answers at once, but for workers whose name is held. */
async function answering() {
  const held = new Map<string, [Asked, ServerResponse][]>();
  const answer = ({ body }: Asked, response: ServerResponse) => {
    json(response, 200, { choices: [{ text: body.prompt }] });
  };
  const { url, asked, close } = await scriptedServer((one, response) => {
    const waiting = held.get(String(one.headers.worker));
    if (waiting) waiting.push([one, response]);
    else answer(one, response);
  });
  closers.push(close);
  return {
    url,
    asked,
    hold: (worker: string) => held.set(worker, []),
    numHeld: (worker: string) => held.get(worker)?.length ?? 0,
    release(worker: string) {
      for (const [one, response] of held.get(worker) ?? []) answer(one, response);
      held.delete(worker);
    },
  };
}

async function setUp(kind: BrokerKind, settings = {}) {
  const broker = await startBroker(kind, settings);
  closers.push(() => broker.stop());
  const server = await answering();
  const worker = async (name: string, more: readonly string[] = []) => {
    const running = start([
      ...['worker', '--queue', broker.url, '--base-url', server.url, '--header', `worker=${name}`],
      ...['--ack-wait', '1', '--concurrency', '3', ...more],
    ]);
    await until(() => running.said().includes('working on'));
    return running;
  };
  const batch = (text: string, more: readonly string[] = []) => {
    count++;
    const output = join(folder, `${count}-out.jsonl`);
    const input = write(folder, `${count}-in.jsonl`, text);
    const args = ['run-batch', '-i', input, '-o', output, '--queue', broker.url, ...more];
    const lines = () =>
      existsSync(output)
        ? readFileSync(output, 'utf8')
            .split('\n')
            .slice(0, -1)
            .map((one) => JSON.parse(one) as OutputLine)
        : [];
    const ids = () => lines().map(({ custom_id: id }) => id);
    return { args, output, lines, ids };
  };
  return { broker, server, worker, batch };
}

const said = ({ response }: OutputLine) =>
  (response as { body: { choices: { text: string }[] } }).body.choices[0].text;

for (const kind of ['redis', 'nats'] as const) {
  const there = brokerProgram(kind) !== undefined;

  describe.skipIf(!there)(`a batch over ${kind}`, () => {
    it('of three workers one is killed: every line is answered, once', async () => {
      const { server, worker, batch } = await setUp(kind);
      server.hold('a');
      const a = await worker('a');
      const { args, lines, ids } = batch(inputOf(names(40)));
      const submitter = start(args);
      await until(() => server.numHeld('a') === 3);
      await Promise.all([worker('b'), worker('c')]);
      await until(() => ids().length >= 10);
      a.child.kill('SIGKILL');
      expect(await submitter.ended).toBe(0);
      expect(submitter.said()).toBe(
        'octavo: 40 answered, 0 failed\noctavo: 3 lines were tried more than once\n',
      );
      expect(ids().sort()).toEqual(names(40).sort());
      for (const one of lines()) expect(said(one)).toBe(one.custom_id);
      const again = lines().filter(({ metadata }) => metadata);
      expect(again.map(({ metadata }) => metadata)).toEqual(Array(3).fill({ attempts: 2 }));
      const ofA = server.asked.filter(({ headers }) => headers.worker === 'a');
      expect(again.map(({ custom_id: id }) => id).sort()).toEqual(
        ofA.map(({ body }) => body.prompt).sort(),
      );
    });

    it('a worker that was taken for dead and was not: one answer counts, the other is told of', async () => {
      const { server, worker, batch } = await setUp(kind);
      server.hold('a');
      const a = await worker('a', ['--concurrency', '1']);
      const { args, ids } = batch(inputOf(names(3)));
      const submitter = start(args);
      await until(() => server.numHeld('a') === 1);
      a.child.kill('SIGSTOP');
      await worker('b');
      expect(await submitter.ended).toBe(0);
      expect(ids().sort()).toEqual(names(3));
      server.release('a');
      a.child.kill('SIGCONT');
      await until(() => a.logged().includes('it was taken from here'));
      a.child.kill('SIGTERM');
      expect(await a.ended).toBe(0);
      expect(a.said()).toContain('1 answered elsewhere as well');
    });

    it('the broker goes away in the middle and comes back: it is waited for', async () => {
      const { broker, server, worker, batch } = await setUp(kind);
      for (const name of ['a', 'b']) server.hold(name);
      const workers = [await worker('a'), await worker('b')];
      const { args, ids } = batch(inputOf(names(20)));
      const submitter = start(args);
      await until(() => server.numHeld('a') + server.numHeld('b') === 6);
      await broker.stop();
      const all = [...workers, submitter];
      await until(() => all.every((one) => one.said().includes('is gone; waiting for it')));
      // What was asked is answered while there is nobody to tell.
      for (const name of ['a', 'b']) server.release(name);
      await broker.start();
      expect(await submitter.ended).toBe(0);
      expect(ids().sort()).toEqual(names(20).sort());
      for (const one of all) {
        expect(one.said().match(/is gone/g)).toHaveLength(1);
        expect(one.said().match(/is back/g)).toHaveLength(1);
        expect(one.said()).not.toMatch(/Error|the queue:/);
      }
    });

    it('a submitter that is killed goes on: nothing is put in or asked twice', async () => {
      const { server, worker, batch } = await setUp(kind);
      server.hold('a');
      const a = await worker('a');
      const { args, ids } = batch(inputOf(names(30)));
      const first = start(args);
      await until(() => server.numHeld('a') === 3);
      first.child.kill('SIGKILL');
      await first.ended;
      server.release('a');
      // All are answered while nobody waits.
      await until(() => a.logged().split('"answered"').length === 31);
      expect(ids()).toEqual([]);
      const again = await runCli(args);
      expect(again).toMatchObject({ status: 0, stderr: 'octavo: 30 answered, 0 failed\n' });
      expect(ids().sort()).toEqual(names(30).sort());
      expect(server.asked).toHaveLength(30);
      // They were removed: the same lines of another run are asked anew.
      const other = await runCli(batch(inputOf(names(30))).args);
      expect(other.status).toBe(0);
      expect(server.asked).toHaveLength(60);
    });

    it('a worker that ends finishes what runs and gives back what takes too long', async () => {
      const { server, worker, batch } = await setUp(kind);
      server.hold('a');
      const a = await worker('a', ['--shutdown-timeout', '0']);
      const { args, ids } = batch(inputOf(names(8)));
      const submitter = start(args);
      await until(() => server.numHeld('a') === 3);
      a.child.kill('SIGTERM');
      expect(await a.ended).toBe(0);
      expect(a.said()).toContain('octavo: 0 answered, 0 failed, 3 given back\n');
      server.hold('b');
      const b = await worker('b');
      await until(() => server.numHeld('b') === 3);
      b.child.kill('SIGTERM');
      await until(() => b.said().includes('finishing what runs'));
      server.release('b');
      expect(await b.ended).toBe(0);
      expect(b.said()).toContain('octavo: 3 answered, 0 failed\n');
      server.hold('c');
      const c = await worker('c');
      await until(() => server.numHeld('c') === 3);
      c.child.kill('SIGTERM');
      await until(() => c.said().includes('finishing what runs'));
      c.child.kill('SIGTERM');
      expect(await c.ended).toBe(143);
      await worker('d');
      expect(await submitter.ended).toBe(0);
      expect(ids().sort()).toEqual(names(8));
    });

    it('two submitters on one queue, the same ids in both; bad lines and stopped ones', async () => {
      const { server, worker, batch } = await setUp(kind);
      const bodies = ['one', 'two'];
      const batches = bodies.map((prompt) =>
        batch(`${names(5).map((id) => line(id, { prompt })).join('\n')}\n{oops\n`),
      );
      server.hold('a');
      await worker('a');
      const submitters = batches.map(({ args }) => start(args));
      await until(() => server.numHeld('a') === 3);
      // Ctrl-C leaves the lines where they are.
      submitters[0].child.kill('SIGINT');
      expect(await submitters[0].ended).toBe(130);
      expect(submitters[0].said()).toMatch(/stopped: the same command goes on from here/);
      server.release('a');
      const again = await runCli(batches[0].args);
      expect(again.status).toBe(1);
      expect(await submitters[1].ended).toBe(1);
      for (const [i, { lines }] of batches.entries()) {
        const good = lines().filter(({ error }) => error === null);
        expect(good.map(({ custom_id: id }) => id).sort()).toEqual(names(5));
        expect(new Set(good.map(said))).toEqual(new Set([bodies[i]]));
        expect(lines().filter(({ error }) => error)).toMatchObject([{ error: { line: 6 } }]);
      }
      expect(server.asked).toHaveLength(10);
    });
  });
}

/** What is refused, with which words; what is too long; and a model of the worker's own. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { OutputLine } from '../../lib/batch/output.js';
import { queueAddress } from '../../lib/queue/address.js';
import { openBroker } from '../../lib/queue/open.js';
import { type BrokerKind, brokerProgram, startBroker } from '../support/brokers.js';
import { runCli } from '../support/run-cli.js';
import { refusal, temporaryFolder, write } from '../support/write-model.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const folder = temporaryFolder();
const line = (id: string, body: object) =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/completions', body });
const input = write(folder, 'in.jsonl', line('a', { prompt: 'x' }));
const batch = ['run-batch', '-i', input, '-o', join(folder, 'out.jsonl')];

const open = (url: string, name = 'octavo') =>
  openBroker({ address: queueAddress(url), name, onState: () => {} });

async function running(kind: BrokerKind, settings = {}) {
  const broker = await startBroker(kind, settings);
  closers.push(() => broker.stop());
  return broker;
}

describe('the command line', () => {
  it.each<[string[], number, RegExp]>([
    [['worker'], 2, /--queue must say where/],
    [['worker', '--queue', 'http://u:s3cret@h'], 2, /--queue must be redis:\/\//],
    [['worker', '--queue', 'redis://h', '--concurrency', '100000'], 2, /at most 10000/],
    [['worker', '--queue', 'redis://127.0.0.1:1', '--queue-name', 'a:b'], 2, /--queue-name must/],
    [
      ['worker', '--queue', 'redis://u:s3cret@127.0.0.1:1'],
      1,
      /redis:\/\/127.0.0.1:1: .*ECONNREFUSED/,
    ],
    [['worker', '--queue', 'nats://s3cret@127.0.0.1:1'], 1, /nats:\/\/127.0.0.1:1: .*refused/],
    [
      [...batch, '--queue', 'redis://127.0.0.1:1', '--max-num-seqs', '3'],
      2,
      /give it to octavo worker/,
    ],
    [[...batch, '--queue', 'nats://h', '--base-url', 'http://h'], 2, /baseUrl is for who answers/],
  ])('%s is one sentence', async (args, expected, message) => {
    const { status, stdout, stderr } = await runCli(args);
    expect({ status, stdout }).toEqual({ status: expected, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^octavo: .+ \(ERR_\w+\)\n$/);
    expect(stderr).not.toContain('s3cret');
  });

  it.each([
    ['redis://127.0.0.1:1', /npm install bullmq ioredis \(ERR_INVALID_OPTION\)/],
    ['nats://127.0.0.1:1', /npm install @nats-io\/transport-node@3\.3 @nats-io\/jetstream@3\.3 \(/],
  ])('%s without its packages says what installs them', async (url, message) => {
    const hook = write(
      folder,
      'absent.mjs',
      `import { register } from 'node:module';
       const hooks = \`export async function resolve(name, context, next) {
         if (!/^(bullmq|ioredis|@nats-io)/.test(name)) return next(name, context);
         throw Object.assign(new Error('no ' + name), { code: 'ERR_MODULE_NOT_FOUND' });
       }\`;
       register('data:text/javascript,' + encodeURIComponent(hooks));`,
    );
    const { status, stderr } = await runCli(['worker', '--queue', url], undefined, {
      NODE_OPTIONS: `--import=${hook}`,
    });
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });
});

for (const kind of ['redis', 'nats'] as const) {
  describe.skipIf(brokerProgram(kind) === undefined)(kind, () => {
    it('refuses a wrong password and none, and takes the right one', async () => {
      const { url } = await running(kind, { password: 's3cret' });
      const withUser = (password: string) =>
        url.replace('//', kind === 'redis' ? `//:${password}@` : `//someone:${password}@`);
      for (const wrong of [url, withUser('wr0ng')]) {
        const { code, message } = await refusal(open(wrong));
        expect(code).toBe('ERR_QUEUE');
        expect(message).toMatch(/^cannot use \w+:\/\/127\.0\.0\.1:\d+: /);
        expect(message).toMatch(/:\/\/user:password@host/);
        expect(message).not.toMatch(/s3cret|wr0ng/);
      }
      await (await open(withUser('s3cret'))).close();
    });

    it('answers with a model that the worker loaded, and with errors for another', async () => {
      const { url } = await running(kind);
      const ask = { prompt: 'The sea', max_tokens: 8, temperature: 0 };
      const lines = [line('a', ask), line('b', { ...ask, model: 'gpt-5' }), line('c', ask)];
      const output = join(folder, `${kind}.jsonl`);
      const working = runCli(['worker', '--queue', url, '--num-threads', '1'], (child) => {
        closers.push(() => child.kill('SIGKILL'));
        child.stdout?.on('data', (data: Buffer) => {
          if (data.includes('"custom_id":"last"')) child.kill('SIGTERM');
        });
      });
      const texts = [...lines, line('last', ask)].join('\n');
      const args = ['run-batch', '-i', write(folder, `${kind}-in.jsonl`, texts), '-o', output];
      const [batched, worked] = await Promise.all([
        runCli([...args, '--queue', url, '--max-concurrency', '1']),
        working,
      ]);
      expect(batched).toMatchObject({ status: 1, stderr: 'octavo: 3 answered, 1 failed\n' });
      expect(worked.status).toBe(0);
      const answers = readFileSync(output, 'utf8').trimEnd().split('\n');
      const bodies = answers.map((one) => (JSON.parse(one) as OutputLine).response);
      expect(bodies.map((one) => one?.status_code)).toEqual([200, 404, 200, 200]);
      const choices = [0, 2, 3].map(
        (i) => (bodies[i] as { body: { choices: object } }).body.choices,
      );
      expect(new Set(choices.map((one) => JSON.stringify(one))).size).toBe(1);
    });
  });
}

describe.skipIf(brokerProgram('nats') === undefined)('nats', () => {
  it('says that JetStream is off, and that a stream is somebody else’s', async () => {
    const off = await running('nats', { jetstream: false });
    expect(await refusal(open(off.url))).toEqual({
      code: 'ERR_QUEUE',
      message: `${off.url} runs without JetStream: nats-server --jetstream`,
    });
    const { url } = await running('nats');
    const { connect } = await import('@nats-io/transport-node');
    const { jetstreamManager } = await import('@nats-io/jetstream');
    const connection = await connect({ servers: url.replace('nats://', '') });
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: 'theirs-jobs', subjects: ['theirs.>'] });
    await connection.close();
    const { code, message } = await refusal(open(url, 'theirs'));
    expect(code).toBe('ERR_QUEUE');
    expect(message).toMatch(/theirs-jobs is there and is none of octavo's/);
  });

  it('tells how long a line may be', async () => {
    const { url } = await running('nats', { maxPayload: 4096 });
    const long = write(folder, 'long.jsonl', line('a', { prompt: 'x'.repeat(4000) }));
    const output = join(folder, 'long-out.jsonl');
    const args = ['run-batch', '-i', long, '-o', output, '--queue', url];
    expect(await runCli(args)).toMatchObject({ status: 1 });
    expect(JSON.parse(readFileSync(output, 'utf8'))).toMatchObject({
      custom_id: 'a',
      error: { code: 'line_too_long', message: expect.stringMatching(/3072 bytes/) },
    });
  });
});

/** `octavo serve` as a process. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { request as requestTls } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT } from '../support/addon.js';
import type { Json } from './support.js';

const BIN = join(ROOT, 'bin', 'octavo.js');

/** A key and certificate of 127.0.0.1, made by openssl; false where there is none. */
function makeCertificate(folder: string): boolean {
  const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')];
  const names = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const args = ['req', '-x509', '-days', '2', ...kind, ...files, ...names];
  return spawnSync('openssl', args, { stdio: 'ignore' }).status === 0;
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'octavo-serve-'));
  writeFileSync(join(folder, 'plain.jinja'), '{% for m in messages %}{{ m.content }}{% endfor %}');
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Served {
  readonly child: ChildProcess;
  readonly url: string;
  /** Status and what was written, when it has ended. */
  readonly ended: Promise<{ status: number | null; stdout: string; stderr: string }>;
}

function run(args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [BIN, 'serve', ...args], {
    env: { ...process.env, ...env },
  });
  const said = { stdout: '', stderr: '' };
  const heard = new Promise<string>((resolve) => {
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        said[name] += text;
        const [, url] = /at ((?:http|unix)\S+)\n/.exec(said.stderr) ?? [];
        if (url !== undefined) resolve(url);
      });
    }
  });
  const ended = new Promise<Awaited<Served['ended']>>((resolve) => {
    child.on('close', (status) => resolve({ status, ...said }));
  });
  return { child, heard, ended };
}

async function start(args: readonly string[], env?: Record<string, string>): Promise<Served> {
  const { child, heard, ended } = run(args, env);
  const failed = ended.then(({ stderr }) => Promise.reject(new Error(stderr)));
  failed.catch(() => {});
  return { child, url: await Promise.race([heard, failed]), ended };
}

const CHAT = '/v1/chat/completions';
const body = JSON.stringify({ messages: [{ role: 'user', content: 'The sea' }], max_tokens: 3 });

it('serves, asks for keys, logs, and ends what runs before it ends itself', async () => {
  const keys = ['--api-key', 'one', '--api-key', 'two', '--served-model-name', 'a'];
  const more = ['--swap-space', '0', '--preemption-mode', 'recompute', '--max-logprobs', '3'];
  const { child, url, ended } = await start(['--port', '0', ...keys, ...more], {
    OCTAVO_API_KEY: 'env',
  });
  const ask = (key: string, wish = body) =>
    fetch(url + CHAT, { method: 'POST', body: wish, headers: { authorization: `Bearer ${key}` } });
  expect((await ask('none')).status).toBe(401);
  for (const key of ['one', 'two', 'env']) expect((await ask(key)).status).toBe(200);
  const long = JSON.stringify({
    ...JSON.parse(body),
    stream: true,
    max_tokens: 300,
    ignore_eos: true,
  });
  const answer = await ask('one', long);
  child.kill('SIGTERM');
  expect((await answer.text()).endsWith('data: [DONE]\n\n')).toBe(true);
  const { status, stdout } = await ended;
  expect(status).toBe(0);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line): Json => JSON.parse(line));
  expect(lines.map(({ status: code }) => code)).toEqual([401, 200, 200, 200, 200]);
  expect(lines[4]).toMatchObject({
    msg: 'request',
    model: 'a',
    completion_tokens: 300,
    status: 200,
  });
});

it.each([
  ['', /OCTAVO_API_KEY is empty/],
  ['key\n', /apiKey.*without line ends/],
])('a key that is %j opens nothing', async (key, sentence) => {
  const { ended } = run(['--port', '0'], { OCTAVO_API_KEY: key });
  const { status, stderr } = await ended;
  expect(status).toBe(2);
  expect(stderr).toMatch(sentence);
});

it('ends at once when it is told twice', async () => {
  const { child, url, ended } = await start([
    '--port',
    '0',
    '--disable-log-requests',
    '--disable-log-stats',
  ]);
  expect((await fetch(`${url}/metrics`)).status).toBe(404);
  const long = JSON.stringify({
    ...JSON.parse(body),
    stream: true,
    max_tokens: 1000,
    n: 8,
    ignore_eos: true,
  });
  const answer = await fetch(url + CHAT, { method: 'POST', body: long });
  const cut = expect(answer.text()).rejects.toThrow();
  child.kill('SIGTERM');
  child.kill('SIGINT');
  expect((await ended).status).toBe(0);
  await cut;
});

it('listens on a socket, with a template of its own', async () => {
  const path = join(folder, 'socket');
  const template = ['--chat-template', join(folder, 'plain.jinja')];
  const { child, url, ended } = await start(['--uds', path, ...template]);
  expect(url).toBe(`unix:${path}`);
  const text = await new Promise<string>((resolve, reject) => {
    const wish = { ...JSON.parse(body), return_prompt_text: true };
    const req = request({ socketPath: path, path: CHAT, method: 'POST' }, (res) => {
      let said = '';
      res.on('data', (part) => {
        said += part;
      });
      res.on('end', () => resolve(said));
    });
    req.on('error', reject);
    req.end(JSON.stringify(wish));
  });
  expect(JSON.parse(text).prompt_text).toBe('The sea');
  child.kill('SIGTERM');
  expect((await ended).status).toBe(0);
});

it('speaks TLS', async ({ skip }) => {
  if (!makeCertificate(folder)) skip('there is no openssl to make a certificate with');
  const files = [
    '--ssl-keyfile',
    join(folder, 'key.pem'),
    '--ssl-certfile',
    join(folder, 'cert.pem'),
  ];
  const { child, url, ended } = await start(['--port', '0', ...files]);
  expect(url).toMatch(/^https:/);
  const status = await new Promise((resolve, reject) => {
    const ca = readFileSync(join(folder, 'cert.pem'));
    const req = requestTls(`${url}/health`, { ca }, (res) => {
      res.resume();
      resolve(res.statusCode);
    });
    req.on('error', reject);
    req.end();
  });
  expect(status).toBe(200);
  child.kill('SIGTERM');
  expect((await ended).status).toBe(0);
});

it('says in a sentence what is wrong with its flags', async () => {
  const wrong: [string[], RegExp][] = [
    [['--no-such-flag'], /unknown option '--no-such-flag'/],
    [['a', 'b'], /too many arguments/],
    [['--port', 'x'], /server option port/],
    [['--ssl-keyfile', 'x'], /go together/],
    [['a', '--model', 'b'], /named twice/],
    [['--chat-template', join(folder, 'none')], /cannot read/],
    [['--generation-config', 'x'], /must be auto or vllm/],
  ];
  for (const [args, sentence] of wrong) {
    const { status, stderr } = await run(args).ended;
    expect([args, status, stderr]).toEqual([args, 2, expect.stringMatching(sentence)]);
  }
});

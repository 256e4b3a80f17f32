/** `octavo serve` with the arguments of deploy/, asked as Kubernetes and Docker ask it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT } from '../support/addon.js';
import { DEPLOY, documentsIn, type Manifest, objectIn } from '../support/manifests.js';

const pod = objectIn('base/deployment.yaml', 'Deployment').spec.template;
const [container] = pod.spec.containers;
const KEY = 'of the test';

let child: ChildProcess;
let url: string;
let ended: Promise<number | null>;
let said = '';

beforeAll(async () => {
  // Here, as on every machine where tests run side by side, the port is a free one.
  const args = container.args.map((one: string) => (one.startsWith('--port=') ? '--port=0' : one));
  child = spawn(process.execPath, [join(ROOT, 'bin', 'octavo.js'), ...args], {
    env: { PATH: process.env.PATH, OCTAVO_API_KEY: KEY, HOME: '/nonexistent' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  ended = new Promise((resolve) => child.on('close', resolve));
  url = await new Promise<string>((resolve, reject) => {
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const [, port] = /at http:\/\/0\.0\.0\.0:(\d+)\n/.exec(said) ?? [];
      if (port !== undefined) resolve(`http://127.0.0.1:${port}`);
    });
    child.on('close', () => reject(new Error(said)));
  });
});
afterAll(() => {
  child.kill('SIGKILL');
});

const statusOf = async (path: string, headers: Record<string, string> = {}) =>
  (await fetch(url + path, { headers })).status;

const WITH_KEY = { authorization: `Bearer ${KEY}` };

/** The HEALTHCHECK of a Dockerfile, at another port. */
function healthOf(file: string): number | null {
  const text = readFileSync(join(DEPLOY, file), 'utf8');
  const [, command] = /^HEALTHCHECK .*\\\n +CMD (\[.*\])$/m.exec(text) ?? [];
  const [program, ...args]: string[] = JSON.parse(command ?? 'null');
  expect(program).toBe('node');
  const own = args.map((one) => one.replace('http://127.0.0.1:8000', url));
  expect(own).not.toEqual(args);
  return spawnSync(process.execPath, own).status;
}

it('answers probes without the key, requests only with it', async () => {
  for (const name of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
    const { path } = container[name].httpGet;
    expect([name, await statusOf(path)]).toEqual([name, 200]);
  }
  expect(await statusOf('/v1/models')).toBe(401);
  expect(await statusOf('/v1/models', WITH_KEY)).toBe(200);
  expect(healthOf('Dockerfile')).toBe(0);
  expect(healthOf('Dockerfile.cuda')).toBe(0);
});

it('has the metrics that are scraped, scaled and routed by', async () => {
  const [endpoint] = objectIn('components/monitoring/servicemonitor.yaml', 'ServiceMonitor').spec
    .endpoints;
  const answer = await fetch(url + endpoint.path);
  expect(answer.status).toBe(200);
  const text = await answer.text();
  const [{ rules }] = documentsIn('components/autoscale/prometheus-adapter.yaml');
  const [rule] = rules.custom;
  const [, series] = /^([\w:]+)\{/.exec(rule.seriesQuery) ?? [];
  expect(text).toContain(`\n# TYPE ${series} gauge\n`);
  const [{ pods }] = objectIn('components/autoscale/hpa.yaml', 'HorizontalPodAutoscaler').spec
    .metrics;
  expect(pods.metric.name).toBe(rule.name.as);
  // What the endpoint picker's plugins read by the label llm-d.ai/engine-type: vllm.
  for (const name of ['num_requests_waiting', 'num_requests_running', 'kv_cache_usage_perc']) {
    expect(text).toMatch(new RegExp(`^vllm:${name}\\{[^}]*\\} \\d`, 'm'));
  }
  expect(text).toMatch(/^vllm:cache_config_info\{.*block_size="\d+",num_gpu_blocks="\d+"/m);
});

it('has the routes that the gateway sends here', async () => {
  const document = await (await fetch(`${url}/openapi.json`, { headers: WITH_KEY })).json();
  const paths = Object.keys((document as Manifest).paths);
  const [{ matches }] = objectIn('overlays/gateway/route.yaml', 'HTTPRoute').spec.rules;
  for (const { path } of matches) {
    expect(path.type).toBe('PathPrefix');
    const led = paths.filter((one) => one.startsWith(path.value));
    expect([path.value, led.length > 0]).toEqual([path.value, true]);
  }
});

// It ends the server: what comes after it asks none.
it('ends as a pod does: not ready, alive, and nobody is cut off', async () => {
  const answer = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { ...WITH_KEY, 'content-type': 'application/json' },
    body: JSON.stringify({
      prompt: 'The sea',
      max_tokens: 1000,
      n: 8,
      stream: true,
      ignore_eos: true,
    }),
  });
  child.kill('SIGTERM');
  // A signal is a moment under way.
  let ready = 200;
  while (ready === 200) ready = await statusOf(container.readinessProbe.httpGet.path);
  expect(ready).toBe(503);
  expect(await statusOf(container.livenessProbe.httpGet.path)).toBe(200);
  const refused = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { ...WITH_KEY, 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'The sea' }),
  });
  expect(refused.status).toBe(503);
  expect(refused.headers.get('retry-after')).not.toBeNull();
  expect((await answer.text()).endsWith('data: [DONE]\n\n')).toBe(true);
  expect(await ended).toBe(0);
  expect(healthOf('Dockerfile')).toBe(1);
});

it('has all that an image is built of in what Docker is given', () => {
  const given = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  expect(given.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  const { files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const built = ['dist', 'prebuilds'];
  const needed = files.filter((path: string) => !built.includes(path));
  expect(needed.filter((path: string) => !given.includes(path))).toEqual([]);
  for (const file of ['Dockerfile', 'Dockerfile.cuda']) {
    const text = readFileSync(join(DEPLOY, file), 'utf8');
    for (const [, sources] of text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)) {
      const absent = sources.split(' ').filter((path) => path !== '.' && !given.includes(path));
      expect([file, absent]).toEqual([file, []]);
    }
    const [, script] = /^RUN OCTAVO_CUDA=\w+ (\S+) /m.exec(text) ?? [];
    expect(given).toContain(script);
    // The user has no name, no home, and is not root.
    expect(text).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m);
    // `docker stop` kills after 10 s: time for those that are cut off to hear of it.
    const [, command] = /^CMD (\[.*\])$/m.exec(text) ?? [];
    const args: string[] = JSON.parse(command ?? '[]');
    expect(args.slice(0, 3)).toEqual(['serve', '--host', '0.0.0.0']);
    const timeout = Number(args[args.indexOf('--shutdown-timeout') + 1]);
    expect(timeout).toBeGreaterThan(0);
    expect(timeout).toBeLessThanOrEqual(8);
  }
});

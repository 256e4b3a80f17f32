/** Models by name in whole processes: pulled, generated from, stopped, killed, two at once. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { LLM } from '../../lib/index.js';
import { ROOT } from '../support/addon.js';
import { contentsOf, HubServer, repoOf } from '../support/hub-server.js';
import { runCli } from '../support/run-cli.js';
import { temporaryFolder } from '../support/write-model.js';

const FIXTURES = join(ROOT, 'test', 'fixtures');
const LOCAL = join(FIXTURES, 'models', 'llama-sharded');
const GGUF = join(FIXTURES, 'gguf', 'llama-q8_0.gguf');
const MIB = 2 ** 20;
const LARGE = randomBytes(24 * MIB);
const PROMPT = ['--prompt-token-ids', '5,6,7', '--max-tokens', '4', '--temperature', '0', '--json'];

let hub: HubServer;
let cache: string;
let env: Record<string, string>;
beforeAll(async () => {
  hub = await HubServer.start();
  const { 'golden.json': _, 'logits.safetensors': __, ...model } = contentsOf(LOCAL);
  hub.repos.set('org/tiny', repoOf(model));
  const gguf = readFileSync(GGUF);
  hub.repos.set('org/tiny-GGUF', repoOf({ 'tiny-Q8_0.gguf': gguf, 'tiny-F16.gguf': 'not read' }));
  hub.repos.set('org/big', repoOf({ 'm-Q8_0.gguf': LARGE }));
  const config = '{"model_type": "no-such", "architectures": ["NoSuch"]}';
  hub.repos.set('org/strange', repoOf({ ...model, 'config.json': config }));
});
afterAll(() => hub.close());
beforeEach(() => {
  cache = temporaryFolder();
  env = {
    HF_HOME: cache,
    HF_ENDPOINT: hub.url,
    HF_HUB_CACHE: '',
    HF_TOKEN: '',
    HF_HUB_OFFLINE: '',
  };
  env.HF_HUB_DOWNLOAD_TIMEOUT = '3600';
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  hub.seen.length = 0;
  hub.fault = () => undefined;
});
afterEach(() => vi.unstubAllEnvs());

const octavo = (args: string[], watch?: Parameters<typeof runCli>[1], more = {}) =>
  runCli(args, watch, { ...env, ...more });
/** After 17 MiB of 24 nothing comes any more. */
const stuck: typeof hub.fault = (_, { range }) =>
  range?.startsWith(`bytes=${16 * MIB}-`) ? { stallAfter: MIB } : undefined;
const blobs = () => join(cache, 'hub', 'models--org--big', 'blobs');

describe('octavo pull', () => {
  it('prints where the model lies, and says what it took', async () => {
    const { status, stdout, stderr } = await octavo(['pull', 'org/tiny-GGUF']);
    expect(status).toBe(0);
    expect(readFileSync(stdout.trim())).toEqual(readFileSync(GGUF));
    expect(stderr).toMatch(/^octavo: downloading org\/tiny-GGUF tiny-Q8_0\.gguf .*1 file, .* to /);
    expect(stderr).toMatch(/^octavo: org\/tiny-GGUF: tiny-Q8_0\.gguf \(.*\); there are also F16$/m);
    const again = await octavo(['pull', 'hf:org/tiny-GGUF:q8_0', '--json'], undefined, {
      HF_HUB_OFFLINE: '1',
    });
    expect(JSON.parse(again.stdout)).toMatchObject({ path: stdout.trim(), repo: 'org/tiny-GGUF' });
  });

  it('refuses in a sentence', async () => {
    for (const [name, said] of [
      ['org/nothing', /^octavo: .*no model org\/nothing.*\(ERR_MODEL_NOT_FOUND\)$/m],
      ['./org/nothing', /^octavo: \.\/org\/nothing is a path.*\(ERR_MODEL_NOT_FOUND\)$/m],
      ['org/strange', /no-such.*\(ERR_MODEL_UNSUPPORTED\)$/m],
    ] as const) {
      const { status, stdout, stderr } = await octavo(['pull', name]);
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
      expect(stderr).toMatch(said);
    }
    // Of a model that is not known here, no weights were asked for.
    expect(hub.reads.map(({ path }) => path).filter((path) => /blobs/.test(path))).toEqual([]);
  });

  it('is stopped by Ctrl-C, and goes on', async () => {
    hub.fault = stuck;
    const stopped = await octavo(['pull', 'org/big'], (child) => {
      child.stderr!.on('data', (data) => {
        if (/\b70%/.test(data)) child.kill('SIGINT');
      });
    });
    expect(stopped).toMatchObject({ status: 130, stdout: '' });
    expect(stopped.stderr).toMatch(/stopped; the same command goes on/);
    const [left] = readdirSync(blobs());
    const { size } = statSync(join(blobs(), left));
    expect(size).toBeGreaterThan(16 * MIB);
    hub.fault = () => undefined;
    hub.seen.length = 0;
    const { stdout } = await octavo(['pull', 'org/big']);
    expect(readFileSync(stdout.trim()).equals(LARGE)).toBe(true);
    const cdn = hub.reads.filter(({ server }) => server === 'cdn');
    expect(cdn[0].range).toMatch(new RegExp(`^bytes=${size}-`));
  });

  it('in two processes reads a file once; where one is killed, the other goes on', async () => {
    const both = await Promise.all([octavo(['pull', 'org/big']), octavo(['pull', 'org/big'])]);
    for (const { status, stdout } of both) {
      expect(status).toBe(0);
      expect(readFileSync(stdout.trim()).equals(LARGE)).toBe(true);
    }
    expect(hub.reads.filter(({ server }) => server === 'cdn')).toHaveLength(3);

    env.HF_HOME = cache = temporaryFolder();
    hub.fault = stuck;
    let other: ReturnType<typeof octavo> | undefined;
    const killed = await octavo(['pull', 'org/big'], (child) => {
      child.stderr!.on('data', (data) => {
        if (!/\b70%/.test(data)) return;
        other = octavo(['pull', 'org/big'], (second) => {
          second.stderr!.on('data', (text) => {
            if (!/another process/.test(text)) return;
            hub.fault = () => undefined;
            child.kill('SIGKILL');
          });
        });
      });
    });
    const { stdout } = await other!;
    expect(readFileSync(stdout.trim()).equals(LARGE)).toBe(true);
    expect(readdirSync(blobs())).toHaveLength(1);
    expect(killed.status).toBeNull();
  });
});

describe('a name in place of a path', () => {
  const idsOf = (stdout: string) => JSON.parse(stdout).outputs[0].tokenIds;

  it('generates what the folder does', async () => {
    const generate = (model: string, more = {}) =>
      octavo(['generate', '--model', model, ...PROMPT], undefined, more);
    const expected = idsOf((await generate(LOCAL)).stdout);
    expect(expected).toHaveLength(4);
    const first = await generate('org/tiny');
    expect(first.stderr).toMatch(/^octavo: downloading org\/tiny: 5 files, /);
    expect(idsOf(first.stdout)).toEqual(expected);
    const offline = await generate('org/tiny', { HF_HUB_OFFLINE: '1', HF_ENDPOINT: '' });
    expect(idsOf(offline.stdout)).toEqual(expected);
    expect(offline.stderr).toBe('');
  });

  it('is chatted with, and told of as by every command', async () => {
    const args = ['chat', 'org/tiny', '--chat-template', 'default'];
    const { status, stderr } = await octavo(args);
    expect(stderr).toMatch(/^octavo: downloading org\/tiny: \d+ files/);
    expect(stderr).not.toContain('Warning');
    expect(status).toBe(0);
  });

  it('tokenizes without weights', async () => {
    const { stdout } = await octavo(['tokenize', '--model', 'org/tiny', 'baca']);
    expect(stdout).toBe((await octavo(['tokenize', '--model', LOCAL, 'baca'])).stdout);
    expect(hub.reads.filter(({ server }) => server === 'cdn')).toEqual([]);
  });

  it('is loaded by the library, which tells what it does', async () => {
    const notices: string[] = [];
    const told: number[] = [];
    const llm = await LLM.load(
      { model: `${hub.url}/org/tiny-GGUF/blob/main/tiny-Q8_0.gguf` },
      { onNotice: (one) => notices.push(one), onDownload: ({ bytes }) => told.push(bytes) },
    );
    const here = await LLM.load({ model: GGUF });
    try {
      expect(llm.info.hub).toEqual({
        repo: 'org/tiny-GGUF',
        revision: expect.stringMatching(/^\w{40}$/),
      });
      expect(here.info.hub).toBeUndefined();
      expect(existsSync(llm.info.path)).toBe(true);
      expect(notices).toHaveLength(1);
      expect(told.at(-1)).toBe(statSync(GGUF).size);
      const params = { temperature: 0, maxTokens: 4 };
      const texts = [llm, here].map((one) => one.generate({ promptTokenIds: [5, 6, 7] }, params));
      const [a, b] = await Promise.all(texts);
      expect(a.outputs[0].tokenIds).toEqual(b.outputs[0].tokenIds);
    } finally {
      await Promise.all([llm.close(), here.close()]);
    }
  });

  it('is given up by a signal; options are checked', async () => {
    const signal = AbortSignal.abort();
    await expect(LLM.load({ model: 'org/tiny' }, { signal })).rejects.toMatchObject({
      code: 'ERR_ABORTED',
    });
    for (const loading of [{ signal: 5 }, { onDownload: 'x' }, { onProgress: () => {} }, null]) {
      const call = LLM.load({ model: 'org/tiny' }, loading as never);
      await expect(call).rejects.toMatchObject({ code: 'ERR_INVALID_PARAM' });
    }
    expect(hub.reads).toEqual([]);
  });
});

/** What is fetched, from where, and what is in the cache then. */
import { lstatSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { ofDisk } from '../../lib/hub/cache.js';
import { ROOT } from '../support/addon.js';
import { commitId, contentsOf, HubServer, repoOf } from '../support/hub-server.js';
import { fetcher } from './support.js';

const MODEL = contentsOf(join(ROOT, 'test', 'fixtures', 'models', 'llama-sharded'));
const NEEDED = Object.keys(MODEL).filter(
  (path) => /\.(json|safetensors)$/.test(path) && !/golden|logits/.test(path),
);
const READ = Object.fromEntries(NEEDED.map((path) => [path, MODEL[path]]));
const EXTRA = {
  'README.md': 'Read me',
  'pytorch_model.bin': 'pickled',
  'onnx/model.onnx': 'graph',
};
const GGUF = { 'README.md': '', 'm-Q8_0.gguf': 'eight bits', 'm-Q4_K_M.gguf': 'four bits' };

let hub: HubServer;
beforeAll(async () => {
  hub = await HubServer.start();
});
afterAll(() => hub.close());
beforeEach(() => {
  hub.repos.clear();
  hub.repos.set('org/name', repoOf({ ...READ, ...EXTRA }));
  hub.repos.set('org/name-GGUF', repoOf(GGUF));
  hub.seen.length = 0;
  hub.fault = () => undefined;
  hub.listedSize = () => undefined;
  hub.pageSize = 1000;
  hub.apiStatus = undefined;
  hub.apiText = undefined;
});

const code = (value: string) => expect.objectContaining({ code: value });

it('makes the cache that Python has, and asks for nothing twice', async () => {
  const { fetch, notices, told, cacheDir } = fetcher(hub, { token: 'hf_secret' });
  hub.pageSize = 2;
  const { path, revision } = await fetch('org/name');
  const folder = join(cacheDir, 'models--org--name');
  expect(revision).toBe(hub.repos.get('org/name')!.refs.main);
  expect(path).toBe(join(folder, 'snapshots', revision));
  expect(readFileSync(join(folder, 'refs', 'main'), 'utf8')).toBe(revision);
  expect(readdirSync(path).sort()).toEqual([...NEEDED].sort());
  for (const name of NEEDED) {
    expect(readFileSync(join(path, name))).toEqual(MODEL[name]);
    const link = readlinkSync(join(path, name));
    expect(link).toMatch(/^\.\.\/\.\.\/blobs\/([0-9a-f]{40}|[0-9a-f]{64})$/);
    expect(link.length === '../../blobs/'.length + 64).toBe(name.endsWith('.safetensors'));
    expect(lstatSync(join(path, link)).isFile()).toBe(true);
  }
  expect(readdirSync(join(folder, 'blobs')).some((name) => name.includes('incomplete'))).toBe(
    false,
  );
  expect(readdirSync(join(cacheDir, '.locks', 'models--org--name'))).toEqual([]);
  expect(notices).toEqual([expect.stringMatching(/^downloading org\/name: \d+ files, .* to /)]);
  expect(told.at(-1)).toMatchObject({ repo: 'org/name', numDone: told.at(-1)!.numFiles });
  expect(told.at(-1)!.bytes).toBe(told.at(-1)!.totalBytes);
  // The token is the hub's: where that sends us, nobody sees it.
  const tokens = (server: string) =>
    new Set(hub.seen.filter((one) => one.server === server).map((one) => one.authorization));
  expect([...tokens('hub')]).toEqual(['Bearer hf_secret']);
  expect([...tokens('cdn')]).toEqual([undefined]);

  hub.seen.length = 0;
  expect((await fetch('org/name')).path).toBe(path);
  expect(hub.seen.map((one) => one.path)).toEqual([expect.stringMatching(/\/revision\/main\?/)]);
  hub.seen.length = 0;
  expect((await fetch(`org/name@${revision}`)).path).toBe(path);
  expect(hub.seen).toEqual([]);
});

it('downloads of a new commit what is new, and keeps the old one', async () => {
  const { fetch } = fetcher(hub);
  const old = await fetch('org/name');
  const id = commitId('next');
  const commits = {
    ...hub.repos.get('org/name')!.commits,
    [id]: { ...READ, 'config.json': '{"a": 1}' },
  };
  hub.repos.set('org/name', { commits, refs: { main: id, v1: old.revision, 'refs/pr/1': id } });
  hub.seen.length = 0;
  const next = await fetch('org/name');
  expect(next.revision).toBe(id);
  expect(hub.reads.map((one) => one.path)).toEqual([`/org/name/resolve/${id}/config.json`]);
  expect(readFileSync(join(next.path, 'config.json'), 'utf8')).toBe('{"a": 1}');
  expect((await fetch('org/name@v1')).path).toBe(old.path);
  expect((await fetch('org/name@refs/pr/1')).path).toBe(next.path);
  expect(readFileSync(join(old.path, 'config.json'))).toEqual(MODEL['config.json']);
});

it('takes one GGUF file of several, and says so', async () => {
  const { fetch, notices, cacheDir } = fetcher(hub);
  const { path, took, others } = await fetch('org/name-GGUF');
  expect(readFileSync(path, 'utf8')).toBe('four bits');
  expect({ took, others }).toEqual({ took: 'm-Q4_K_M.gguf (9 B)', others: ['Q8_0'] });
  expect(notices[0]).toMatch(
    /downloading org\/name-GGUF m-Q4_K_M\.gguf \(9 B\) \(there are also Q8_0\)/,
  );
  expect(readdirSync(join(cacheDir, 'models--org--name-GGUF', 'blobs'))).toHaveLength(1);
  expect(readFileSync((await fetch('org/name-GGUF:Q8_0')).path, 'utf8')).toBe('eight bits');
  await expect(fetch('org/name-GGUF:Q2_K')).rejects.toThrow(/no Q2_K; it has .*Q8_0/);
});

it('says what is wrong with a name, and what to do', async () => {
  hub.repos.set('org/private', repoOf(READ, 'private'));
  hub.repos.set('org/gated', repoOf(READ, 'gated'));
  const { fetch } = fetcher(hub);
  const refusal = (name: string, token?: string) =>
    fetch(name, { token }).then(
      () => null,
      (error: Error & { code: string }) => [error.code, error.message],
    );
  const found = 'ERR_MODEL_NOT_FOUND';
  expect(await refusal('org/nothing')).toEqual([
    found,
    expect.stringMatching(/no model org\/nothing.*HF_TOKEN/),
  ]);
  expect(await refusal('org/nothing', 'hf_x')).toEqual([
    found,
    expect.stringMatching(/HF_TOKEN may not/),
  ]);
  expect(await refusal('org/private')).toEqual([
    found,
    expect.stringMatching(/private, set HF_TOKEN/),
  ]);
  expect(await refusal('org/private', 'hf_x')).toBeNull();
  expect(await refusal('org/name@v9')).toEqual([found, expect.stringMatching(/no such revision/)]);
  const gated = (next: RegExp) => ['ERR_MODEL_ACCESS', expect.stringMatching(next)];
  expect(await refusal('org/gated')).toEqual(
    gated(/accept its licence at .*\/org\/gated.*set HF_TOKEN/),
  );
  expect(await refusal('org/gated', 'hf_x')).toEqual(gated(/give HF_TOKEN of the account/));
  expect(await refusal('org/gated', 'hf_in')).toBeNull();
  hub.apiStatus = 403;
  expect(await refusal('org/name')).toEqual(gated(/does not give org\/name: The hub is down/));
});

it('uses the cache where the hub cannot be asked, and says so', async () => {
  const { fetch, notices } = fetcher(hub);
  hub.apiStatus = 503;
  await expect(fetch('org/name')).rejects.toThrow(code('ERR_HUB'));
  // It was asked more than once.
  expect(hub.seen.length).toBeGreaterThan(1);
  hub.apiStatus = undefined;
  const { path } = await fetch('org/name');
  const gone = { endpoint: 'http://127.0.0.1:9' };
  expect((await fetch('org/name', gone)).path).toBe(path);
  expect(notices.at(-1)).toMatch(/^cannot reach http:\/\/127\.0\.0\.1:9: .*taken from the cache/);
  await expect(fetch('org/other', gone)).rejects.toThrow(/cannot reach .*HF_HUB_OFFLINE/);
  // A part of a model is none.
  rmSync(join(path, NEEDED.find((name) => name.endsWith('.safetensors'))!));
  await expect(fetch('org/name', gone)).rejects.toThrow(code('ERR_HUB'));
});

it('asks nobody when offline', async () => {
  const { fetch } = fetcher(hub);
  const offline = { offline: true };
  await expect(fetch('org/name', offline)).rejects.toThrow(
    /HF_HUB_OFFLINE is set, and org\/name \(main\)/,
  );
  const { path, revision } = await fetch('org/name');
  await fetch('org/name-GGUF:Q8_0');
  hub.seen.length = 0;
  expect((await fetch('org/name', offline)).path).toBe(path);
  expect((await fetch(`org/name@${revision}`, offline)).path).toBe(path);
  // Of what there is, not of what there might be.
  expect(readFileSync((await fetch('org/name-GGUF', offline)).path, 'utf8')).toBe('eight bits');
  await expect(fetch('org/name-GGUF:Q4_K_M', offline)).rejects.toThrow(/no Q4_K_M; it has Q8_0/);
  await expect(fetch('org/name@v1', offline)).rejects.toThrow(code('ERR_MODEL_NOT_FOUND'));
  expect(hub.seen).toEqual([]);
});

it('writes nothing where there is no room', async () => {
  hub.listedSize = (path) => (path.endsWith('Q8_0.gguf') ? 2 ** 52 : undefined);
  const { fetch, cacheDir } = fetcher(hub);
  const call = fetch('org/name-GGUF:Q8_0');
  await expect(call).rejects.toThrow(code('ERR_DISK_FULL'));
  await expect(call).rejects.toThrow(/needs 4096 TiB, and .* left; make room, or set HF_HUB_CACHE/);
  expect(hub.reads).toEqual([]);
  expect(readdirSync(join(cacheDir, 'models--org--name-GGUF', 'blobs'))).toEqual([]);
});

it('names the folder that it cannot write to', async () => {
  const { fetch, cacheDir } = fetcher(hub);
  writeFileSync(join(cacheDir, 'file'), '');
  const call = fetch('org/name', { cacheDir: join(cacheDir, 'file') });
  await expect(call).rejects.toThrow(
    expect.objectContaining({ code: 'ERR_FILE', param: 'HF_HUB_CACHE' }),
  );
});

it.each(['ENOENT', 'EROFS', 'EIO', 'EMFILE'])('a disk that says %s is ERR_FILE', (errno) => {
  const error = Object.assign(new Error(`${errno}: no`), { code: errno, syscall: 'mkdir' });
  expect(ofDisk(error, '/cache')).toMatchObject({
    ...{ code: 'ERR_FILE', param: 'HF_HUB_CACHE', message: expect.stringContaining(errno) },
  });
});

it('says of what answers, and is no hub, that it is none', async () => {
  for (const text of ['<html>Sign in</html>', '{}', 'null']) {
    hub.apiText = text;
    const refused = fetcher(hub).fetch('org/name');
    await expect(refused).rejects.toThrow(code('ERR_HUB'));
    await expect(refused).rejects.toThrow(/hub/);
    await expect(refused).rejects.not.toThrow(/cannot reach/);
  }
});

it('takes no file that would lie elsewhere', async () => {
  hub.repos.set('org/evil', repoOf({ '../../../evil.json': '{}', 'a\\b.json': '{}', ...READ }));
  const { path } = await fetcher(hub).fetch('org/evil');
  expect(readdirSync(path).sort()).toEqual([...NEEDED].sort());
});

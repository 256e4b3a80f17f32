/** Downloads over lines that break, stall, lie, and are stopped. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Fault, HubServer, repoOf } from '../support/hub-server.js';
import { fetcher } from './support.js';

const MIB = 2 ** 20;
const LARGE = randomBytes(20 * MIB + 12_345);
const ETAG = createHash('sha256').update(LARGE).digest('hex');

let hub: HubServer;
beforeAll(async () => {
  hub = await HubServer.start();
  hub.repos.set('org/big', repoOf({ 'm-Q8_0.gguf': LARGE }));
  hub.repos.set(
    'org/small',
    repoOf({ 'm-Q8_0.gguf': 'small', 'n-Q8_0.gguf': 'small', 'o-Q4_0.gguf': '' }),
  );
});
afterAll(() => hub.close());
beforeEach(() => {
  hub.seen.length = 0;
  hub.fault = () => undefined;
});

const ranges = () => hub.reads.filter(({ server }) => server === 'cdn').map(({ range }) => range!);
const starts = () => ranges().map((range) => Number(/\d+/.exec(range)![0]));
const incompleteOf = (cacheDir: string) =>
  join(cacheDir, 'models--org--big', 'blobs', `${ETAG}.incomplete`);

/** A fault for the first so many requests. */
function first(count: number, fault: Fault): typeof hub.fault {
  return (_, { server }) => (server === 'cdn' && count-- > 0 ? fault : undefined);
}

async function arrives(given: Parameters<typeof fetcher>[1] = {}) {
  const { fetch, told, cacheDir } = fetcher(hub, given);
  const { path } = await fetch('org/big');
  expect(readFileSync(path).equals(LARGE)).toBe(true);
  expect(existsSync(incompleteOf(cacheDir))).toBe(false);
  // Nothing was counted twice.
  expect(told.at(-1)).toMatchObject({ bytes: LARGE.length, totalBytes: LARGE.length, numDone: 1 });
  expect(told.every(({ bytes }, i) => i === 0 || bytes >= told[i - 1].bytes)).toBe(true);
}

describe('a large file', () => {
  it('comes in parts, each asked for once', async () => {
    await arrives();
    expect(ranges().sort()).toEqual(
      ['bytes=0-8388607', 'bytes=8388608-16777215', `bytes=16777216-${LARGE.length - 1}`].sort(),
    );
    // The hub is asked once where it lies.
    expect(hub.reads.filter(({ server }) => server === 'hub')).toHaveLength(1);
  });

  it('goes on where a connection broke', async () => {
    hub.fault = first(3, { dieAfter: 3 * MIB });
    await arrives();
    expect(ranges().length).toBe(6);
    // What had come is not asked for again.
    const again = starts().filter((at) => at % (8 * MIB) !== 0);
    expect(again).toHaveLength(3);
    for (const at of again) expect(at % (8 * MIB)).toBeLessThanOrEqual(3 * MIB);
  });

  it.each<[string, Fault, number]>([
    ['ends too early', { truncateTo: MIB }, 3_600_000],
    ['stops to speak', { stallAfter: MIB }, 3000],
    ['answers 500', { status: 500 }, 3_600_000],
    ['knows the link no more', { status: 403 }, 3_600_000],
  ])('goes on where the other side %s', async (_, fault, timeoutMs) => {
    let numAsked = 0;
    hub.fault = (_, { server }) => (server === 'cdn' && ++numAsked === 2 ? fault : undefined);
    await arrives({ timeoutMs });
    expect(ranges().length).toBeGreaterThan(3);
  });

  it('comes whole where ranges are not known', async () => {
    hub.fault = () => ({ ignoreRange: true });
    await arrives();
    expect(ranges()).toHaveLength(1);
    let numAsked = 0;
    hub.fault = () => ({ ignoreRange: true, ...(numAsked++ === 0 ? { dieAfter: 5 * MIB } : {}) });
    await arrives();
    expect(ranges()).toHaveLength(3);
  });

  it('is given up where nothing comes any more, and the next call goes on', async () => {
    const { fetch, cacheDir } = fetcher(hub);
    let numAsked = 0;
    hub.fault = () => (numAsked++ === 0 ? { dieAfter: 5 * MIB } : { status: 503 });
    const call = fetch('org/big');
    await expect(call).rejects.toThrow(expect.objectContaining({ code: 'ERR_HUB' }));
    await expect(call).rejects.toThrow(/m-Q8_0\.gguf broke off at byte \d+ of \d+: .*goes on/);
    const { size } = statSync(incompleteOf(cacheDir));
    expect(readFileSync(incompleteOf(cacheDir)).equals(LARGE.subarray(0, size))).toBe(true);
    hub.fault = () => undefined;
    hub.seen.length = 0;
    expect(readFileSync((await fetch('org/big')).path).equals(LARGE)).toBe(true);
    expect(starts()[0]).toBe(size);
  });
});

describe('what is there already', () => {
  it('is gone on with after a stop', async () => {
    const { fetch, cacheDir } = fetcher(hub);
    const stop = new AbortController();
    hub.fault = () => ({ slow: { bytes: MIB, ms: 1 } });
    const call = fetch('org/big', {}, stop.signal, ({ bytes }) => {
      if (bytes > 9 * MIB) stop.abort();
    });
    await expect(call).rejects.toThrow(expect.objectContaining({ code: 'ERR_ABORTED' }));
    const { size } = statSync(incompleteOf(cacheDir));
    expect(size).toBeGreaterThan(9 * MIB);
    expect(readdirSync(join(cacheDir, '.locks', 'models--org--big'))).toEqual([]);
    hub.seen.length = 0;
    expect(readFileSync((await fetch('org/big')).path).equals(LARGE)).toBe(true);
    expect(Math.min(...starts())).toBe(size);
  });

  it.each([
    ['the beginning', LARGE.subarray(0, 18 * MIB), 18 * MIB],
    ['all of it', LARGE, undefined],
    ['more than there is', randomBytes(LARGE.length + 1), 0],
  ])('of another client is used: %s', async (_, left, start) => {
    const { fetch, cacheDir } = fetcher(hub);
    mkdirSync(join(cacheDir, 'models--org--big', 'blobs'), { recursive: true });
    writeFileSync(incompleteOf(cacheDir), left);
    expect(readFileSync((await fetch('org/big')).path).equals(LARGE)).toBe(true);
    expect(starts().sort((a, b) => a - b)[0]).toBe(start);
  });
});

describe('what is not what the hub lists', () => {
  it('is deleted, and said', async () => {
    const { fetch, cacheDir } = fetcher(hub);
    const wrong = Buffer.from(LARGE);
    wrong[17 * MIB] ^= 1;
    hub.fault = () => ({ content: wrong });
    const call = fetch('org/big');
    await expect(call).rejects.toThrow(expect.objectContaining({ code: 'ERR_CHECKSUM' }));
    await expect(call).rejects.toThrow(/SHA-256 .*was deleted/);
    expect(readdirSync(join(cacheDir, 'models--org--big', 'blobs'))).toEqual([]);
    hub.fault = () => undefined;
    expect(readFileSync((await fetch('org/big')).path).equals(LARGE)).toBe(true);
  });

  it('is found in small files, too', async () => {
    const files = { 'config.json': '{"a": 1}', 'tokenizer.json': '{}', 'model.safetensors': 'x' };
    hub.repos.set('org/folder', repoOf(files));
    const { fetch } = fetcher(hub);
    hub.fault = (path) =>
      path === 'config.json' ? { content: Buffer.from('{"a": 2}') } : undefined;
    await expect(fetch('org/folder')).rejects.toThrow(/config\.json does not have the hash/);
    hub.fault = () => undefined;
    const { path } = await fetch('org/folder');
    expect(readFileSync(join(path, 'config.json'), 'utf8')).toBe('{"a": 1}');
  });
});

describe('calls at once', () => {
  it('wait for who was first, and read nothing twice', async () => {
    const { fetch, notices } = fetcher(hub);
    hub.fault = () => ({ slow: { bytes: 4 * MIB, ms: 20 } });
    const calls = await Promise.all([fetch('org/big'), fetch('org/big'), fetch('org/big')]);
    for (const { path } of calls) expect(readFileSync(path).equals(LARGE)).toBe(true);
    expect(ranges()).toHaveLength(3);
    expect(notices.join()).toContain('another process');
  });

  it('do not wait for a process that has died', async () => {
    const { fetch, cacheDir } = fetcher(hub);
    const folder = join(cacheDir, '.locks', 'models--org--big');
    mkdirSync(folder, { recursive: true });
    const dead = { pid: 2 ** 30, host: hostname() };
    writeFileSync(join(folder, 'octavo.lock'), JSON.stringify(dead));
    expect(readFileSync((await fetch('org/big')).path).equals(LARGE)).toBe(true);
  });

  it('with the same content under two names read it once', async () => {
    const { fetch } = fetcher(hub);
    expect(readFileSync((await fetch('org/small:n-Q8_0.gguf')).path, 'utf8')).toBe('small');
    expect(readFileSync((await fetch('org/small:m-Q8_0.gguf')).path, 'utf8')).toBe('small');
    expect(hub.reads.filter(({ server }) => server === 'cdn')).toHaveLength(1);
    expect(readFileSync((await fetch('org/small:Q4_0')).path, 'utf8')).toBe('');
  });
});

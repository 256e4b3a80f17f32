/** Where a server listens, and what stands in its way. */
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { serve } from '../../lib/server/index.js';
import { listenConfig } from '../../lib/server/serve.js';
import { until } from '../support/until.js';
import { portOf } from './support.js';

let llm: LLM;
let folder: string;
beforeAll(async () => {
  llm = await LLM.load({ seed: 1 });
  folder = mkdtempSync(join(tmpdir(), 'octavo-listening-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await llm.close();
});

it('takes the Unix socket of a process that was killed', async () => {
  const uds = join(folder, 'left.sock');
  const program = `require('net').createServer().listen(${JSON.stringify(uds)}, () => console.log())`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'close');
  const server = await serve(llm, {}, { uds });
  expect(server.url).toBe(`unix:${uds}`);
  // One that is listened at is left to whom it belongs.
  await expect(serve(llm, {}, { uds })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await server.shutdown();
  const other = createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => other.listen(uds, resolve));
  await expect(serve(llm, {}, { uds })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  expect(other.listening).toBe(true);
  other.close();
});

it('takes no file that is no socket', async () => {
  const uds = join(folder, 'notes.txt');
  writeFileSync(uds, 'a word');
  await expect(serve(llm, {}, { uds })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  expect(readFileSync(uds, 'utf8')).toBe('a word');
});

it('says what is wrong with a key or a certificate before it listens', () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  const locked = privateKey.export({
    ...{ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
  }) as string;
  for (const tls of [
    { key: 'none', cert: 'none' },
    { key, cert: key },
    { key: locked, cert: 'none' },
    { key: Buffer.alloc(0), cert: Buffer.from('-----BEGIN CERTIFICATE-----') },
  ]) {
    expect(() => listenConfig({ tls })).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_OPTION',
        param: 'tls',
        message: expect.stringMatching(/^server option tls: key and cert must be the PEM texts of/),
      }),
    );
  }
});

it('holds no more connections at once than it may', async () => {
  const server = await serve(llm, {}, { port: 0, maxConnections: 2 });
  const port = portOf(server.http);
  /** A connection on which answers are awaited from its beginning: '' is that it was closed. */
  const open = () => {
    const socket = connect(port, '127.0.0.1');
    let tell: (told: string) => void = () => {};
    let isGone = false;
    socket.on('data', (data) => tell(data.toString('latin1', 0, 12)));
    socket.on('error', () => {});
    socket.on('close', () => {
      isGone = true;
      tell('');
    });
    const ask = () =>
      new Promise<string>((resolve) => {
        tell = resolve;
        if (isGone) resolve('');
        else socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n');
      });
    return { ask, leave: () => socket.destroy() };
  };
  const OK = 'HTTP/1.1 200';
  try {
    const [first, second] = [open(), open()];
    expect([await first.ask(), await second.ask()]).toEqual([OK, OK]);
    const third = open();
    expect(await third.ask()).toBe('');
    // Those that were there still are, and one that leaves makes room.
    expect(await first.ask()).toBe(OK);
    second.leave();
    await until(async () => {
      const next = open();
      const told = await next.ask();
      next.leave();
      return told === OK;
    });
    first.leave();
  } finally {
    await server.shutdown();
  }
});

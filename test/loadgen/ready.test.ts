import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpClient } from '../../lib/loadgen/http.js';
import { untilReady } from '../../lib/loadgen/ready.js';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

const never = new AbortController().signal;
const soon = () => performance.now() + 120_000;

const clients: HttpClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

/** A client whose server says these one after the other: a status, or a code of the network. */
function saying(...replies: (number | string)[]) {
  const client = new HttpClient({ baseUrl: 'http://localhost' });
  clients.push(client);
  const asked: string[] = [];
  client.json = async (method, path) => {
    asked.push(`${method} ${path}`);
    const reply = replies.shift() as number | string;
    if (typeof reply === 'string') throw Object.assign(new Error('no'), { code: reply });
    return { status: reply, headers: {}, body: null };
  };
  return { client, asked, replies };
}

describe('a server that is not ready', () => {
  it.each([200, 401, 404, 500])('is asked until it answers, here %i', async (status) => {
    const { client, asked, replies } = saying('ECONNREFUSED', 503, status, 200);
    await untilReady(client, soon(), never);
    expect(asked).toEqual(Array(3).fill('GET /v1/models'));
    expect(replies).toEqual([200]);
  });

  it('is not waited for where waiting does not help', async () => {
    for (const code of ['EPROTO', 'CERT_HAS_EXPIRED']) {
      const { client, asked } = saying(code);
      await untilReady(client, Infinity, never);
      expect(asked).toHaveLength(1);
    }
  });

  it('is not asked when there is no time, nor any more when it is over', async () => {
    const { client, asked } = saying(200);
    await untilReady(client, performance.now(), never);
    expect(asked).toEqual([]);
    const silent = new HttpClient({ baseUrl: 'http://localhost' });
    clients.push(silent);
    silent.json = (_method, _path, _body, signal) =>
      new Promise((_, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
    const limited = untilReady(silent, performance.now() + 50, never);
    for (let i = 0; i < 2; i++) {
      collectGarbage();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await limited;
    const abort = new AbortController();
    const waiting = untilReady(silent, Infinity, abort.signal);
    abort.abort();
    await waiting;
  });
});

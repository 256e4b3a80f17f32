import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { inMemory } from '../../lib/batch/in-memory.js';
import { HttpClient } from '../../lib/loadgen/http.js';
import { until } from '../support/until.js';

type Handler = Parameters<typeof inMemory>[0];

const clientOf = (handler: Handler) =>
  new HttpClient({ baseUrl: 'http://localhost', connect: inMemory(handler) });

const echo: Handler = async (req, res) => {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  res.setHeader('x-path', req.url ?? '');
  res.end(Buffer.concat(chunks));
};

describe('a handler over pipes in memory', () => {
  it('is asked and answers whole, also what no buffer takes', async () => {
    const client = clientOf(echo);
    for (const length of [0, 1, 3_000_000]) {
      const body = { text: 'ü'.repeat(length) };
      const reply = await client.json('POST', `/v1/x?${length}`, body);
      expect(reply).toMatchObject({ status: 200, headers: { 'x-path': `/v1/x?${length}` } });
      // Not toEqual: a text of megabytes is no message.
      expect(JSON.stringify(reply.body) === JSON.stringify(body)).toBe(true);
    }
  });

  it('answers many at once, each its own, and keeps nothing', async () => {
    let open = 0;
    const client = clientOf(async (req, res) => {
      open++;
      req.socket.once('close', () => open--);
      await sleep(Math.random() * 4);
      await echo(req, res);
    });
    const bodies = Array.from({ length: 300 }, (_, i) => ({ i }));
    const replies = await Promise.all(bodies.map((body) => client.json('POST', '/', body)));
    expect(replies.map(({ body }) => body)).toEqual(bodies);
    await until(() => open === 0);
  });

  it('learns that its client has left, and a client that it was cut off', async () => {
    const left = new AbortController();
    let closed = false;
    const waiting = clientOf((req) => {
      req.socket.once('close', () => {
        closed = true;
      });
      left.abort();
    });
    await expect(waiting.json('POST', '/', {}, left.signal)).rejects.toThrow(/abort/);
    await until(() => closed);
    const cutting = clientOf((req) => void req.socket.destroy());
    await expect(cutting.json('POST', '/', {})).rejects.toThrow(/hang up/);
  });
});

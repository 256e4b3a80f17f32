/** Waiting for a server that is not up yet. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type HttpClient, tlsAdvice } from './http.js';

/** Statuses of servers, and of proxies before them, that are only starting. */
const STARTING = new Set([502, 503, 504]);

const INTERVAL_MS = 500;

/** Longest time that a timer takes. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Resolves when the server answers, whatever it says, or time is up (milliseconds, by
 * `performance.now()`): what is wrong then, whoever asks next will learn.
 */
export async function untilReady(
  client: HttpClient,
  end: number,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const left = Math.min(end - performance.now(), MAX_TIMEOUT_MS);
    if (signal.aborted || left <= 0) return;
    const reply = await answer(client, left, signal);
    // Neither a wrong scheme nor a wrong certificate becomes right with time.
    const isOver = reply instanceof Error ? tlsAdvice(reply) !== null : !STARTING.has(reply.status);
    if (isOver) return;
    await sleep(Math.min(INTERVAL_MS, left), undefined, { signal }).catch(() => {});
  }
}

/**
 * What it says within a time (milliseconds), or why it says nothing: one that takes a connection
 * and is silent is no more ready than one that takes none.
 */
async function answer(client: HttpClient, time: number, signal: AbortSignal) {
  // Of the signals that AbortSignal.any() joins nothing keeps a timeout's: Node 20 collects it.
  const limit = new AbortController();
  const end = () => limit.abort(signal.reason);
  const timer = setTimeout(end, Math.ceil(time));
  signal.addEventListener('abort', end, { once: true });
  try {
    return await client.json('GET', '/v1/models', undefined, limit.signal);
  } catch (error) {
    return error as Error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
  }
}

/** Who answers the requests of a batch. */
import { setTimeout as sleep } from 'node:timers/promises';
import { octavoError } from '../errors.js';
import { describe, type HttpClient, type JsonReply, tlsAdvice } from '../loadgen/http.js';
import type { OutputLine } from './output.js';
import type { BatchRequest } from './request-line.js';

export interface BatchReply {
  readonly status: number;
  readonly requestId: string | null;
  readonly body: unknown;
}

/**
 * Asks one thing. Rejects where there is no answer: with an error of {@link UNREACHABLE}, or of
 * this package, if there is nobody to answer, which ends the batch.
 * @param body JSON
 */
export type BatchTarget = (url: string, body: string, signal: AbortSignal) => Promise<BatchReply>;

/** Answers with whole lines, made elsewhere, and keeps each until it is told that it is written. */
export interface LineTarget {
  /** Rejects as a {@link BatchTarget} does. */
  answer(request: BatchRequest, signal: AbortSignal): Promise<OutputLine>;
  /** The line of this custom_id is on the disk. */
  written(customId: string): Promise<void>;
  /** A request whose line was on the disk before. */
  had(request: BatchRequest): void;
}

/** Codes of errors that the next request would end with as well. */
export const UNREACHABLE: ReadonlySet<string | undefined> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ENOENT',
]);

/** Statuses that another try may change. */
const RETRIED = new Set([408, 409, 429, 500, 502, 503, 504]);

/** Longest wait before another try. */
const MAX_WAIT_MS = 60_000;

type Wait = (ms: number, signal: AbortSignal) => Promise<unknown>;

const pause: Wait = (ms, signal) => sleep(ms, undefined, { signal });

export interface HttpTargetOptions {
  /** Tries after the first. */
  readonly maxRetries: number;
  readonly wait?: Wait;
}

/** A server's API; tries again what OpenAI's clients do, and as they do. */
export function httpTarget(client: HttpClient, options: HttpTargetOptions): BatchTarget {
  const { maxRetries, wait = pause } = options;
  return async (url, body, signal) => {
    const sent = Buffer.from(body);
    for (let attempt = 0; ; attempt++) {
      const reply = await client.json('POST', url, sent, signal).catch((error: Error) => error);
      const isLast = attempt === maxRetries || signal.aborted;
      if (reply instanceof Error) {
        checkAddress(reply);
        if (isLast) {
          if (!UNREACHABLE.has((reply as NodeJS.ErrnoException).code)) {
            await checkAlive(client, reply, signal);
          }
          throw reply;
        }
      } else if (isLast || !isRetried(reply)) {
        return answerOf(reply);
      }
      await wait(waitBefore(attempt, reply instanceof Error ? null : reply), signal);
    }
  };
}

/** Tries after the first of what a server of this process may or may not answer the next time. */
const OWN_RETRIES = 5;

/**
 * A server of this process. Its queue may be full of the batch's own lines, and so may be what it
 * holds of bodies: they wait for as long as that takes. Other refusals, such as of memory, may be
 * this line's own and are its answer after a few tries. A model that is lost answers nobody any
 * more, which ends the batch.
 */
export function ownTarget(client: HttpClient, wait: Wait = pause): BatchTarget {
  return async (url, body, signal) => {
    const sent = Buffer.from(body);
    for (let numRefused = 0; ; ) {
      const reply = await client.json('POST', url, sent, signal);
      if (reply.status >= 500) await checkHealth(client, signal);
      const isRefused = reply.status === 503 && reply.headers['retry-after'] !== undefined;
      if (reply.status !== 429 && !isRefused) return answerOf(reply);
      const isFull = reply.status === 429 || reply.headers['x-should-retry'] === 'true';
      if (!isFull && numRefused++ === OWN_RETRIES) return answerOf(reply);
      await wait(waitBefore(0, reply), signal);
    }
  };
}

/**
 * What is wrong with the address is wrong for every line.
 * @throws ERR_INVALID_PARAM
 */
function checkAddress(error: NodeJS.ErrnoException): void {
  const advice = tlsAdvice(error);
  if (advice === null) return;
  const sentence = `${advice}; the same command goes on from here`;
  throw octavoError('ERR_INVALID_PARAM', sentence, { param: 'base-url', cause: error });
}

/**
 * A line may be why its connection is cut; where another request is not answered either, it is not.
 * @throws ERR_INVALID_PARAM
 */
async function checkAlive(client: HttpClient, cause: Error, signal: AbortSignal): Promise<void> {
  const ask = client.json('GET', '/v1/models', undefined, signal);
  const isAlive = await ask.then(
    () => true,
    () => false,
  );
  if (isAlive || signal.aborted) return;
  const sentence = `nobody answers (${describe(cause)}); check the scheme of --base-url`;
  throw octavoError('ERR_INVALID_PARAM', `${sentence}; the same command goes on from here`, {
    param: 'base-url',
    cause,
  });
}

/** @throws ERR_DEVICE_LOST */
async function checkHealth(client: HttpClient, signal: AbortSignal): Promise<void> {
  const { status, body } = await client.json('GET', '/health', undefined, signal);
  if (status === 200) return;
  const { error } = body as { error?: { message?: string } };
  const why = error?.message ?? 'the model is lost';
  throw octavoError('ERR_DEVICE_LOST', `${why}; the same command goes on from here`);
}

function answerOf({ status, headers, body }: JsonReply): BatchReply {
  return { status, requestId: oneOf(headers['x-request-id']), body };
}

function isRetried({ status, headers }: JsonReply): boolean {
  return RETRIED.has(status) && headers['x-should-retry'] !== 'false';
}

/** What the server asks for, else 0.5 s doubled each time, up to 8 s. */
function waitBefore(attempt: number, reply: JsonReply | null): number {
  const ms = Number(reply?.headers['retry-after-ms'] ?? Number.NaN);
  const seconds = Number(reply?.headers['retry-after'] ?? Number.NaN);
  const asked = Number.isFinite(ms) ? ms : seconds * 1000;
  if (Number.isFinite(asked) && asked >= 0) return Math.min(asked, MAX_WAIT_MS);
  return Math.min(500 * 2 ** attempt, 8000);
}

function oneOf(value: string | string[] | undefined): string | null {
  return (Array.isArray(value) ? value[0] : value) ?? null;
}

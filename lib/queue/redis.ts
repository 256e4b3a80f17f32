/**
 * BullMQ on Redis. A line is a job with an id of its own, which Redis keeps, with its result, until
 * it is removed: so putting it in twice is putting it in once. A worker's lock is renewed while it
 * lives; whose lock has run out has lost the job, and its result is refused.
 *
 * How often a job may be tried is the worker's to say (see work.ts), so BullMQ is told no limit:
 * what it gives up would have no line.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Queue, QueueEvents } from 'bullmq';
import type { Redis, RedisOptions } from 'ioredis';
import type { QueueAddress } from './address.js';
import {
  type Broker,
  connectError,
  type Found,
  type Job,
  type OpenOptions,
  optional,
  type TakeOptions,
  type Taking,
} from './queue.js';

type Bull = typeof import('bullmq');
type RedisClass = typeof import('ioredis').Redis;

const PACKAGES = 'bullmq ioredis';

/** Jobs of one command. */
const BULK = 200;

/** Results stand in the events as well, so few of those are kept; who misses one looks. */
const MAX_EVENTS = 200;

/** Redis takes texts of 512 MiB. */
const MAX_BYTES = 256 * 1024 * 1024;

/**
 * BullMQ's codes for a job that a worker has no more: it is gone, its lock has run out, it is not
 * being worked on, another has the lock.
 */
const LOST: ReadonlySet<number> = new Set([-1, -2, -3, -6]);

/** How long who closes waits for an answer, and how often it looks. */
const CLOSE_MS = 2000;
const CALM_MS = 100;

/** Longest wait before another try to connect. */
const RETRY_MS = 1000;

export async function openRedis(options: OpenOptions): Promise<Broker> {
  const bull = await optional(() => import('bullmq'), PACKAGES);
  const { Redis } = await optional(() => import('ioredis'), PACKAGES);
  const { address } = options;
  await check(Redis, address);
  return new RedisBroker(bull, Redis, options);
}

function clientOptions({ host, port, user, password, db, tls }: QueueAddress): RedisOptions {
  return {
    ...{ host, port, db, username: user, password, maxRetriesPerRequest: null },
    ...(tls ? { tls: {} } : {}),
    connectTimeout: 10_000,
  };
}

/** One connection that is not tried again, so that what is wrong has words. */
async function check(Redis: RedisClass, address: QueueAddress): Promise<void> {
  const client = new Redis({
    ...clientOptions(address),
    lazyConnect: true,
    retryStrategy: () => null,
  });
  let refused: Error | undefined;
  client.on('error', (error: Error) => {
    refused ??= error;
  });
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    const cause = refused ?? (error as Error);
    const isAuth = /WRONGPASS|NOAUTH|NOPERM|AUTH/.test(cause.message);
    const isClosed = /^Connection is closed/.test(cause.message) && !address.tls;
    const tls = 'rediss:// if it speaks TLS';
    const login = 'user and password go into the URL: redis://user:password@host';
    throw connectError(address, cause, isAuth ? login : isClosed ? tls : undefined);
  } finally {
    client.disconnect();
  }
}

class RedisBroker implements Broker {
  readonly maxBytes = MAX_BYTES;
  readonly #bull: Bull;
  readonly #Redis: RedisClass;
  readonly #options: OpenOptions;
  readonly #clients: Redis[] = [];
  readonly #queue: Queue;
  #events: QueueEvents | null = null;
  #isGone = false;
  #isClosing = false;

  constructor(bull: Bull, Redis: RedisClass, options: OpenOptions) {
    this.#bull = bull;
    this.#Redis = Redis;
    this.#options = options;
    this.#queue = new bull.Queue(options.name, {
      connection: this.#connect(),
      streams: { events: { maxLen: MAX_EVENTS } },
      defaultJobOptions: { removeOnComplete: false, removeOnFail: false },
    });
    this.#queue.on('error', () => {});
  }

  async put(jobs: readonly Job[]): Promise<void> {
    for (let at = 0; at < jobs.length; at += BULK) {
      const bulk = jobs.slice(at, at + BULK);
      await this.#queue.addBulk(
        bulk.map(({ id, text }) => ({ name: 'line', data: text, opts: { jobId: id } })),
      );
    }
  }

  look(ids: readonly string[]): Promise<Found[]> {
    return Promise.all(ids.map((id) => this.#look(id)));
  }

  async #look(id: string): Promise<Found> {
    const job = await this.#queue.getJob(id);
    if (job === undefined) return { state: 'absent' };
    if (job.finishedOn === undefined) return { state: 'waiting' };
    if (typeof job.returnvalue === 'string') return { state: 'done', line: job.returnvalue };
    return { state: 'failed', message: job.failedReason ?? 'it has no result' };
  }

  done(): Promise<string[]> {
    return this.#queue.getRanges(['completed', 'failed']);
  }

  async listen(onDone: (id: string) => void): Promise<void> {
    const connection = this.#connect();
    this.#events = new this.#bull.QueueEvents(this.#options.name, { connection });
    this.#events.on('error', () => {});
    this.#events.on('completed', ({ jobId }) => onDone(jobId));
    this.#events.on('failed', ({ jobId }) => onDone(jobId));
    await this.#events.waitUntilReady();
  }

  async forget(ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => this.#queue.remove(id)));
  }

  async take(options: TakeOptions): Promise<Taking> {
    const { DelayedError, WaitingError, Worker } = this.#bull;
    let numRunning = 0;
    const worker = new Worker<unknown, string>(
      this.#options.name,
      async (job, token) => {
        const text = typeof job.data === 'string' ? job.data : JSON.stringify(job.data);
        const { id = '', attemptsStarted: attempt } = job;
        numRunning++;
        const outcome = await options.handle({ id, text, attempt });
        numRunning--;
        if ('line' in outcome) return outcome.line;
        if (outcome.againInMs > 0) {
          await job.moveToDelayed(Date.now() + outcome.againInMs, token);
          throw new DelayedError();
        }
        await job.moveToWait(token);
        throw new WaitingError();
      },
      {
        connection: this.#connect(),
        concurrency: options.concurrency,
        lockDuration: options.ackWaitMs,
        stalledInterval: options.ackWaitMs,
        maxStalledCount: 2 ** 31 - 1,
        runRetryDelay: RETRY_MS,
        drainDelay: 2,
      },
    );
    worker.on('error', (error) => this.#tell(error, options));
    await worker.waitUntilReady();
    return {
      stop: async () => {
        await worker.pause(true);
        // It waits for ever where its connections were about to be made anew just then.
        let isClosed = false;
        const closed = worker.close().finally(() => {
          isClosed = true;
        });
        await Promise.race([
          closed,
          this.#calm(
            () => numRunning === 0,
            () => isClosed,
          ),
        ]);
      },
    };
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    // Where nobody is there, nobody is waited for.
    const late = new AbortController();
    const { signal } = late;
    await Promise.race([
      Promise.allSettled([this.#events?.close(), this.#queue.close()]),
      sleep(this.#isGone ? 0 : CLOSE_MS, undefined, { signal }).catch(() => {}),
    ]);
    late.abort();
    for (const client of this.#clients) client.disconnect();
  }

  /** Resolves when nothing ran, and the broker was there, for a while; or it is over. */
  async #calm(isIdle: () => boolean, isOver: () => boolean): Promise<void> {
    for (let ms = 0; ms < CLOSE_MS && !isOver(); ) {
      await sleep(CALM_MS);
      ms = isIdle() && !this.#isGone ? ms + CALM_MS : 0;
    }
  }

  /** What the connection's own events tell is told by them, once. */
  #tell(error: Error & { code?: unknown }, { onRepeated, onTrouble }: TakeOptions): void {
    if (typeof error.code === 'number' && LOST.has(error.code)) {
      onRepeated(/[jJ]ob (\S+?)\.? /.exec(error.message)?.[1] ?? '');
    } else if (!this.#isGone && typeof error.code !== 'string') onTrouble(error.message);
  }

  /** A connection that tries for ever. */
  #connect(): Redis {
    const client = new this.#Redis({
      ...clientOptions(this.#options.address),
      retryStrategy: (times) => Math.min(50 * 2 ** times, RETRY_MS),
    });
    this.#clients.push(client);
    client.on('error', () => {});
    client.on('close', () => {
      if (this.#isGone || this.#isClosing) return;
      this.#isGone = true;
      this.#options.onState('gone');
    });
    client.on('ready', () => {
      if (!this.#isGone) return;
      this.#isGone = false;
      this.#options.onState('back');
    });
    return client;
  }
}

/**
 * NATS JetStream: a stream of jobs, from which an acknowledgement removes, and one of results. Each
 * job has a subject of its own in both, and a subject takes one message: so a job cannot be in
 * twice, and of a job that two workers had the first result stands and the second is refused.
 *
 * How often a job may be delivered is the worker's to say (see work.ts), so the consumer is told no
 * limit: what the server gives up would have no line.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Consumer, JetStreamClient, JetStreamManager, JsMsg } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { isOctavoError } from '../errors.js';
import type { QueueAddress } from './address.js';
import { NatsTaking } from './nats-taking.js';
import {
  type Broker,
  connectError,
  type Found,
  type Job,
  type OpenOptions,
  optional,
  queueError,
  type TakeOptions,
  type Taking,
} from './queue.js';

type JetStream = typeof import('@nats-io/jetstream');
type Transport = typeof import('@nats-io/transport-node');

/** From 3.4 on they ask for Node.js 22. */
const PACKAGES = '@nats-io/transport-node@3.3 @nats-io/jetstream@3.3';

/** Room for subject and headers in what a server takes as one message. */
const OVERHEAD = 1024;

/** Who does not answer for so long is asked again: what is asked may be done twice. */
const ANSWER_MS = 2000;

const RETRY_MS = 250;

/** Messages that are on their way at once. */
const BULK = 100;

const CONSUMER = 'workers';

/** JetStream's numbers of errors: the subject has its message; not there; not there just now. */
const TAKEN = 10077;
const NO_CONSUMER = 10014;
const NO_STREAM = 10059;
const UNAVAILABLE = 10008;

export async function openNats(options: OpenOptions): Promise<Broker> {
  const transport = await optional(() => import('@nats-io/transport-node'), PACKAGES);
  const js = await optional(() => import('@nats-io/jetstream'), PACKAGES);
  const connection = await connect(transport, options.address);
  try {
    const manager = await js.jetstreamManager(connection, { timeout: ANSWER_MS });
    const broker = new NatsBroker(js, connection, manager, options);
    await broker.prepare();
    return broker;
  } catch (error) {
    await connection.close();
    if (isOctavoError(error)) throw error;
    if ((error as Error).name !== 'JetStreamNotEnabled') throw connectError(options.address, error);
    const sentence = `${options.address.shown} runs without JetStream: nats-server --jetstream`;
    throw queueError(sentence, error);
  }
}

async function connect(transport: Transport, address: QueueAddress): Promise<NatsConnection> {
  const { host, port, user, password: pass, token, tls } = address;
  try {
    return await transport.connect({
      servers: `${host.includes(':') ? `[${host}]` : host}:${port}`,
      name: 'octavo',
      ...(user === undefined ? {} : { user, pass }),
      ...(token === undefined ? {} : { token }),
      ...(tls ? { tls: {} } : {}),
      ...{ timeout: 10_000, maxReconnectAttempts: -1, reconnectTimeWait: RETRY_MS },
      // A server that comes back without its users is one to wait for.
      ...{ ignoreAuthErrorAbort: true, pingInterval: 10_000 },
    });
  } catch (error) {
    const isAuth = error instanceof transport.AuthorizationError;
    const login = 'nats://user:password@host or nats://token@host says who asks';
    throw connectError(address, error, isAuth ? login : undefined);
  }
}

export class NatsBroker implements Broker {
  readonly maxBytes: number;
  readonly #lib: JetStream;
  readonly #connection: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #client: JetStreamClient;
  readonly #options: OpenOptions;
  readonly #jobs: string;
  readonly #results: string;
  #isClosing = false;

  constructor(
    lib: JetStream,
    connection: NatsConnection,
    manager: JetStreamManager,
    options: OpenOptions,
  ) {
    this.#lib = lib;
    this.#connection = connection;
    this.#manager = manager;
    this.#client = manager.jetstream();
    this.#options = options;
    this.#jobs = `${options.name}-jobs`;
    this.#results = `${options.name}-results`;
    this.maxBytes = (connection.info?.max_payload ?? 1024 * 1024) - OVERHEAD;
    void this.#watch();
  }

  /** Makes the streams that are not there; those that are may have replicas and limits. */
  async prepare(): Promise<void> {
    const { RetentionPolicy } = this.#lib;
    await this.#stream(this.#jobs, 'jobs', RetentionPolicy.Workqueue);
    await this.#stream(this.#results, 'results', RetentionPolicy.Limits);
  }

  async #stream(
    stream: string,
    kind: string,
    retention: 'workqueue' | 'limits' | 'interest',
  ): Promise<void> {
    const { DiscardPolicy, StorageType } = this.#lib;
    const subjects = [`${this.#options.name}.${kind}.*`];
    const wanted = {
      ...{ name: stream, subjects, retention, storage: StorageType.File },
      ...{ discard: DiscardPolicy.New, discard_new_per_subject: true, max_msgs_per_subject: 1 },
    };
    try {
      const { config } = await this.#manager.streams.info(stream);
      const isOurs =
        config.subjects?.includes(subjects[0]) &&
        config.retention === retention &&
        config.discard_new_per_subject === true &&
        config.max_msgs_per_subject === 1;
      if (isOurs) return;
      const sentence = `the stream ${stream} is there and is none of octavo's`;
      throw queueError(`${sentence}: --queue-name takes another name`);
    } catch (error) {
      if (codeOf(error) !== NO_STREAM) throw error;
      await this.#manager.streams.add(wanted);
    }
  }

  async put(jobs: readonly Job[]): Promise<void> {
    const publish = ({ id, text }: Job) =>
      this.#again(() => this.#client.publish(this.subject('jobs', id), text)).catch((error) => {
        if (!isTaken(error)) throw error;
      });
    for (let at = 0; at < jobs.length; at += BULK) {
      await Promise.all(jobs.slice(at, at + BULK).map(publish));
    }
  }

  async look(ids: readonly string[]): Promise<Found[]> {
    const found: Found[] = [];
    for (let at = 0; at < ids.length; at += BULK) {
      found.push(...(await Promise.all(ids.slice(at, at + BULK).map((id) => this.#look(id)))));
    }
    return found;
  }

  async #look(id: string): Promise<Found> {
    const line = await this.result(id);
    if (line !== null) return { state: 'done', line };
    const job = await this.#message(this.#jobs, this.subject('jobs', id));
    if (job !== null) return { state: 'waiting' };
    // A worker stores the result before the job goes.
    const late = await this.result(id);
    return late === null ? { state: 'absent' } : { state: 'done', line: late };
  }

  /** The line that waits, or null. */
  async result(id: string): Promise<string | null> {
    return this.#message(this.#results, this.subject('results', id));
  }

  async #message(stream: string, subject: string): Promise<string | null> {
    const message = await this.#again(() =>
      this.#manager.streams.getMessage(stream, { last_by_subj: subject }),
    );
    return message === null ? null : message.string();
  }

  async done(): Promise<string[]> {
    const prefix = this.subject('results', '');
    const { state } = await this.#again(() =>
      this.#manager.streams.info(this.#results, { subjects_filter: `${prefix}*` }),
    );
    return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
  }

  async listen(onDone: (id: string) => void): Promise<void> {
    const prefix = this.subject('done', '');
    this.#connection.subscribe(`${prefix}*`, {
      callback: (error, message) => {
        if (!error) onDone(message.subject.slice(prefix.length));
      },
    });
    await this.#again(() => this.#connection.flush());
  }

  async forget(ids: readonly string[]): Promise<void> {
    for (let at = 0; at < ids.length; at += BULK) {
      await Promise.all(ids.slice(at, at + BULK).map((id) => this.#forget(id)));
    }
  }

  /** The job goes first: who has it sees, as long as the result is there, that there is one. */
  async #forget(id: string): Promise<void> {
    // Its worker has acknowledged it, mostly. Servers of version 2.9 lose the place of a consumer
    // whose stream is purged, so here one message is deleted.
    const { streams } = this.#manager;
    const query = { last_by_subj: this.subject('jobs', id) };
    const job = await this.#again(() => streams.getMessage(this.#jobs, query));
    if (job !== null) {
      await this.#again(() => streams.deleteMessage(this.#jobs, job.seq, false)).catch(() => {
        // It was acknowledged meanwhile.
      });
    }
    const filter = this.subject('results', id);
    await this.#again(() => streams.purge(this.#results, { filter }));
  }

  async take(options: TakeOptions): Promise<Taking> {
    return new NatsTaking(this, options);
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    // What was given back is sent, if anybody is there.
    await Promise.race([this.#connection.flush().catch(() => {}), sleep(RETRY_MS)]);
    await this.#connection.close();
  }

  subject(kind: 'jobs' | 'results' | 'done', id: string): string {
    return `${this.#options.name}.${kind}.${id}`;
  }

  /** Of all workers together: who came last says how long a silent one keeps its jobs. */
  async consumer(ackWaitMs: number): Promise<Consumer> {
    const ackWait = ackWaitMs * 1e6;
    return this.#again(async () => {
      const { consumers } = this.#manager;
      const there = await consumers.info(this.#jobs, CONSUMER).catch((error) => {
        if (codeOf(error) === NO_CONSUMER) return null;
        throw error;
      });
      if (there === null) {
        await consumers.add(this.#jobs, {
          durable_name: CONSUMER,
          ack_policy: this.#lib.AckPolicy.Explicit,
          ...{ ack_wait: ackWait, max_deliver: -1, max_ack_pending: -1 },
        });
      } else if (there.config.ack_wait !== ackWait) {
        await consumers.update(this.#jobs, CONSUMER, { ack_wait: ackWait });
      }
      return this.#client.consumers.get(this.#jobs, CONSUMER);
    });
  }

  /** @returns whether this line is the one that stands */
  async store(message: JsMsg, id: string, line: string): Promise<boolean> {
    try {
      const { duplicate } = await this.#again(() =>
        this.#client.publish(this.subject('results', id), line, {
          // The same job put in anew is another message, and has another result.
          msgID: `${id}:${message.seq}`,
        }),
      );
      return !duplicate;
    } catch (error) {
      if (!isTaken(error)) throw error;
      return (await this.result(id)) === line;
    } finally {
      this.#connection.publish(this.subject('done', id));
    }
  }

  /** What fails because nobody is there is tried until somebody is. */
  async #again<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (isFinal(error) || this.#isClosing || this.#connection.isClosed()) throw error;
        await sleep(RETRY_MS);
        // It may have come back without what it stored.
        await this.prepare().catch(() => {});
      }
    }
  }

  async #watch(): Promise<void> {
    let isGone = false;
    for await (const { type } of this.#connection.status()) {
      if (type === 'disconnect' && !isGone && !this.#isClosing) {
        isGone = true;
        this.#options.onState('gone');
      } else if (type === 'reconnect' && isGone) {
        isGone = false;
        this.#options.onState('back');
      }
    }
  }
}

/** JetStream's own number of an error; undefined where none answered. */
function codeOf(error: unknown): number | undefined {
  const { code, name } = error as { code?: unknown; name?: string };
  const isApi = /^(JetStreamApiError|StreamNotFoundError|ConsumerNotFoundError)$/.test(name ?? '');
  return isApi && typeof code === 'number' ? code : undefined;
}

/** Whether the same would be said the next time. */
function isFinal(error: unknown): boolean {
  const code = codeOf(error);
  if (code !== undefined) return code !== NO_STREAM && code !== UNAVAILABLE;
  const { name, cause } = error as Error;
  const names = [name, (cause as Error | undefined)?.name ?? ''];
  return names.some((one) => /^(PermissionViolation|Invalid\w+)Error$/.test(one));
}

/** Whether the subject has its message already. */
function isTaken(error: unknown): boolean {
  return codeOf(error) === TAKEN;
}

/**
 * KV events over ZeroMQ, as vLLM sends them: a PUB socket with messages of a topic, a number that
 * counts them (8 bytes, big-endian) and a batch; and, if asked for, a ROUTER socket: who sends it a
 * number gets every message from that one on that is still kept, and one with the number −1.
 *
 * Nobody holds the engine: what it publishes is encoded, numbered and kept at once, and sent in
 * turns of the event loop. A subscriber that is slow misses messages, sees that by their numbers,
 * and asks for them.
 */
import { connect } from 'node:net';
import type { Publisher, Router } from 'zeromq';
import type { KvEventsConfig } from '../config/kv-events.js';
import { type OctavoError, octavoError } from '../errors.js';
import { Pacer } from '../text/pacer.js';
import { encodeKvEvents, type KvEvent } from './kv-encoding.js';
import type { KvEventSink } from './kv-events.js';

/** A message that is kept: its number, and its batch. */
type Kept = readonly [number: Buffer, payload: Buffer];

/** The number that ends a replay. */
const END = Buffer.alloc(8, 0xff);

type Zmq = typeof import('zeromq');

/**
 * @throws ERR_INVALID_OPTION where zeromq is not installed, or an endpoint cannot be had
 */
export async function openKvPublisher(config: KvEventsConfig): Promise<KvPublisher> {
  const zmq = await load();
  // What is unsent when the process ends is lost with its cache.
  const ipv6 = isIPv6(config.endpoint);
  const pub = new zmq.Publisher({ sendHighWaterMark: config.hwm, linger: 0, ipv6 });
  let router: Router | null = null;
  try {
    await open('endpoint', config.endpoint, async (endpoint) => {
      if (listensAt(endpoint)) await bind(pub, endpoint);
      else pub.connect(endpoint);
    });
    if (config.replayEndpoint !== null) {
      // A client that has read what it got has room for everything once more; whoever asks and
      // does not read loses what comes beyond, and holds nobody.
      const room = 2 * (config.bufferSteps + 1);
      const ipv6 = isIPv6(config.replayEndpoint);
      const replay = new zmq.Router({ sendHighWaterMark: room, linger: 0, ipv6 });
      router = replay;
      await open('replayEndpoint', config.replayEndpoint, (endpoint) => bind(replay, endpoint));
    }
  } catch (error) {
    pub.close();
    router?.close();
    throw error;
  }
  return new KvPublisher(pub, router, config);
}

async function load(): Promise<Zmq> {
  try {
    return await import('zeromq');
  } catch (cause) {
    throw refusal('kvEventsConfig', 'kvEventsConfig needs zeromq: npm install zeromq', cause);
  }
}

/**
 * As vLLM tells them apart, and 0.0.0.0, which vLLM would connect to: it is all of this machine's
 * own addresses.
 */
function listensAt(endpoint: string): boolean {
  const isAny = /\*|::|^tcp:\/\/0\.0\.0\.0:/.test(endpoint);
  return isAny || !endpoint.startsWith('tcp://');
}

/** Sockets know no other addresses where they are not told. */
function isIPv6(endpoint: string): boolean {
  return /^tcp:.*(\[|::)/.test(endpoint);
}

/** A file of a socket that nobody listens at is taken over, as ZeroMQ does; one in use would be. */
async function bind(socket: Publisher | Router, endpoint: string): Promise<void> {
  const [, path] = /^ipc:\/\/([^@*].*)$/.exec(endpoint) ?? [];
  if (path !== undefined && (await isHeard(path))) throw new Error('Address already in use');
  await socket.bind(endpoint);
}

function isHeard(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (is: boolean) => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', () => end(true));
    // A queue of connections that is full, say, is somebody's.
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      end(!['ECONNREFUSED', 'ENOENT'].includes(code ?? '')),
    );
  });
}

async function open(
  key: 'endpoint' | 'replayEndpoint',
  endpoint: string,
  use: (endpoint: string) => Promise<void>,
): Promise<void> {
  try {
    await use(endpoint);
  } catch (cause) {
    const { message } = cause as Error;
    const sentence = `kvEventsConfig.${key}: cannot open ${endpoint}: ${message}; name another`;
    throw refusal(`kvEventsConfig.${key}`, sentence, cause);
  }
}

function refusal(param: string, sentence: string, cause: unknown): OctavoError {
  return octavoError('ERR_INVALID_OPTION', sentence, { param, cause });
}

export class KvPublisher implements KvEventSink {
  readonly #pub: Publisher;
  readonly #router: Router | null;
  readonly #config: KvEventsConfig;
  readonly #topic: Buffer;
  #numPublished = 0n;
  /** The last messages; the eldest is at {@link #eldest} once there are as many as are kept. */
  readonly #kept: Kept[] = [];
  #eldest = 0;
  #queue: Kept[] = [];
  #sending: Promise<void> | null = null;
  readonly #answering: Promise<void> | null;
  #isClosed = false;

  constructor(pub: Publisher, router: Router | null, config: KvEventsConfig) {
    this.#pub = pub;
    this.#router = router;
    this.#config = config;
    this.#topic = Buffer.from(config.topic);
    this.#answering = router && this.#answer(router);
  }

  /** Where subscribers, and who wants a replay, connect to: ports of wildcards included. */
  get endpoints(): { readonly pub: string | null; readonly replay: string | null } {
    return { pub: this.#pub.lastEndpoint, replay: this.#router?.lastEndpoint ?? null };
  }

  publish(events: readonly KvEvent[]): void {
    if (this.#isClosed) return;
    const { bufferSteps, maxQueueSize, eventFormat } = this.#config;
    const number = Buffer.allocUnsafe(8);
    number.writeBigUInt64BE(this.#numPublished++);
    const message: Kept = [number, encodeKvEvents(Date.now() / 1000, events, eventFormat)];
    if (this.#kept.length < bufferSteps) this.#kept.push(message);
    else {
      this.#kept[this.#eldest] = message;
      this.#eldest = (this.#eldest + 1) % bufferSteps;
    }
    if (this.#queue.length === maxQueueSize) this.#queue.shift();
    this.#queue.push(message);
    this.#sending ??= this.#send();
  }

  /** Sends what waits, then ends; idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#sending;
    this.#pub.close();
    this.#router?.close();
    await this.#answering;
  }

  async #send(): Promise<void> {
    const pacer = new Pacer(16);
    try {
      // After the step that published it has been handed to the device.
      await pacer.turn();
      for (let message = this.#queue.shift(); message; message = this.#queue.shift()) {
        await this.#pub.send([this.#topic, ...message]);
        if (pacer.due()) await pacer.turn();
      }
    } catch (error) {
      this.#queue = [];
      process.emitWarning(`octavo: KV events were not sent: ${(error as Error).message}`);
    } finally {
      this.#sending = null;
    }
  }

  /** Answers whoever asks, one after the other, until the socket is closed. */
  async #answer(router: Router): Promise<void> {
    while (!router.closed) {
      try {
        const [client, delimiter, from, ...rest] = await router.receive();
        // What is no question has no answer.
        if (from?.length !== 8 || delimiter.length > 0 || rest.length > 0) continue;
        await this.#replay(router, client, from.readBigUInt64BE());
      } catch (error) {
        if (this.#isClosed || router.closed) return;
        // One client that cannot be reached is no reason to answer no other.
        process.emitWarning(`octavo: KV events were not replayed: ${(error as Error).message}`);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  async #replay(router: Router, client: Buffer, from: bigint): Promise<void> {
    const pacer = new Pacer(16);
    const kept = [...this.#kept.slice(this.#eldest), ...this.#kept.slice(0, this.#eldest)];
    for (const [number, payload] of kept) {
      if (number.readBigUInt64BE() >= from) await router.send([client, '', number, payload]);
      if (pacer.due()) await pacer.turn();
    }
    await router.send([client, '', END, '']);
  }
}

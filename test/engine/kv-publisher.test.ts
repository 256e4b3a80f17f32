/** KV events through real ZeroMQ sockets, as a router reads them. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { Unpackr } from 'msgpackr';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Dealer, Publisher, Request, Subscriber } from 'zeromq';
import { addEngineFlags, engineOptionsOf } from '../../lib/cli/flags.js';
import type { KvEventsOptions } from '../../lib/config/kv-events.js';
import { engineConfig } from '../../lib/config/options.js';
import type { KvEvent } from '../../lib/engine/kv-encoding.js';
import { type KvPublisher, openKvPublisher } from '../../lib/engine/kv-publisher.js';
import { LLM } from '../../lib/index.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import { temporaryFolder } from '../support/write-model.js';

const folder = temporaryFolder();
let numSockets = 0;
let endpoint: string;
let replayEndpoint: string;
const open: { close(): unknown }[] = [];

beforeEach(() => {
  endpoint = `ipc://${join(folder, `pub${++numSockets}`)}`;
  replayEndpoint = `ipc://${join(folder, `replay${numSockets}`)}`;
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

function keep<T extends { close(): unknown }>(one: T): T {
  open.push(one);
  return one;
}

const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint' });
type Json = ReturnType<typeof unpackr.unpack>;

/** A router's view of one machine: it follows events, and asks for those that it has missed. */
class Follower {
  /** Hash → text of the whole prefix. */
  readonly blocks = new Map<unknown, string>();
  next = 0n;
  numReplayed = 0;
  readonly #dealer: Dealer;

  constructor(at: string) {
    this.#dealer = keep(new Dealer());
    this.#dealer.connect(at);
  }

  take(number: Buffer, payload: Buffer): void {
    expect(number.readBigUInt64BE()).toBe(this.next++);
    const [seconds, events, rank] = unpackr.unpack(payload);
    expect(Math.abs(seconds - Date.now() / 1000)).toBeLessThan(600);
    expect(rank).toBe(0);
    for (const event of events) this.#apply(event);
  }

  /** All that is kept from the next one on. */
  async catchUp(): Promise<void> {
    for (const [number, payload] of await replay(this.#dealer, this.next)) {
      this.take(number, payload);
      this.numReplayed++;
    }
  }

  /** How many of these tokens a machine with these blocks need not compute. */
  numCached(tokens: readonly number[], salt: string | null): number {
    const texts = new Set(this.blocks.values());
    let count = 0;
    while (count + 16 < tokens.length && texts.has(textOf(salt, tokens.slice(0, count + 16)))) {
      count += 16;
    }
    return count;
  }

  #apply(event: Json): void {
    const [tag, hashes, ...rest] = event;
    if (tag === 'AllBlocksCleared') this.blocks.clear();
    else if (tag === 'BlockRemoved') {
      expect(rest[0]).toBe('GPU');
      for (const hash of hashes) expect(this.blocks.delete(hash)).toBe(true);
    } else {
      const [parent, tokens, blockSize, , medium, , extraKeys] = rest;
      expect([tag, blockSize, medium]).toEqual(['BlockStored', 16, 'GPU']);
      let text = parent === null ? textOf(extraKeys?.[0][0] ?? null, []) : this.blocks.get(parent);
      hashes.forEach((hash: unknown, i: number) => {
        text += join16(tokens.slice(16 * i, 16 * (i + 1)));
        this.blocks.set(hash, text!);
      });
    }
  }
}

const join16 = (tokens: readonly number[]) => tokens.map((token) => `${token},`).join('');
const textOf = (salt: string | null, tokens: readonly number[]) => `${salt}:${join16(tokens)}`;

function numberOf(from: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(from);
  return bytes;
}

async function replay(dealer: Dealer, from: bigint): Promise<[number: Buffer, payload: Buffer][]> {
  await dealer.send(['', numberOf(from)]);
  const all: [Buffer, Buffer][] = [];
  for (;;) {
    const [delimiter, number, payload] = await dealer.receive();
    expect(delimiter.length).toBe(0);
    if (number.readBigInt64BE() === -1n) {
      expect(payload.length).toBe(0);
      return all;
    }
    all.push([number, payload]);
  }
}

const numbersOf = (messages: readonly [Buffer, Buffer][]) =>
  messages.map(([number]) => Number(number.readBigUInt64BE()));

const told = (more: KvEventsOptions = {}) => ({
  ...{ enableKvCacheEvents: true, endpoint, replayEndpoint },
  ...more,
});

const loadTold = async (more: KvEventsOptions = {}) => {
  const small = { numThreads: 1, maxModelLen: 128, numGpuBlocksOverride: 24 };
  return keep(await LLM.load({ ...small, kvEventsConfig: told(more) }));
};

async function openTold(more: KvEventsOptions = {}): Promise<KvPublisher> {
  const { kvEventsConfig } = engineConfig({ kvEventsConfig: told(more) });
  return keep(await openKvPublisher(kvEventsConfig!));
}

const stored = (n: number): KvEvent[] => [{ type: 'removed', hashes: [BigInt(n)], group: null }];

describe('a machine that tells', () => {
  it('is known block by block: hits, evictions, salts, a reset', async () => {
    const llm = await loadTold();
    const follower = new Follower(replayEndpoint);
    const draws = random(SEED);
    const tokens = (count: number) => Array.from({ length: count }, () => 5 + draws.integer(200));
    const prefixes = [tokens(32), tokens(48), tokens(32)];
    let cached = 0;
    const watching = (async () => {
      for await (const { numBlocksCached } of llm.events()) cached = numBlocksCached;
    })();
    let numHits = 0;
    let peak = 0;
    for (let i = 0; i < 24; i++) {
      const salt = draws.integer(4) === 0 ? 's' : null;
      const prompt = [...prefixes[draws.integer(3)], ...tokens(9)];
      const expected = follower.numCached(prompt, salt);
      const params = { maxTokens: 1 + draws.integer(20), ignoreEos: true, seed: i };
      const { numCachedTokens } = await llm.generate(
        { promptTokenIds: prompt },
        { ...params, ...(salt === null ? {} : { cacheSalt: salt }) },
      );
      expect(numCachedTokens).toBe(expected);
      numHits += numCachedTokens;
      await follower.catchUp();
      expect(follower.blocks.size).toBe(cached);
      peak = Math.max(peak, follower.blocks.size);
    }
    expect(numHits).toBeGreaterThan(100);
    expect(peak).toBeGreaterThan(15);
    expect(follower.numReplayed).toBe(Number(follower.next));
    expect(llm.resetPrefixCache()).toBe(true);
    await follower.catchUp();
    expect(follower.blocks.size).toBe(0);
    await llm.generate({ promptTokenIds: prefixes[0] }, { maxTokens: 1 });
    await follower.catchUp();
    expect(follower.blocks.size).toBe(2);
    await llm.close();
    await watching;
  });

  it('sends live what a late subscriber then completes', async () => {
    const llm = await loadTold({ topic: 'kv@pod@demo' });
    const prompt = (n: number) => ({ promptTokenIds: Array.from({ length: 40 }, () => 5 + n) });
    await llm.generate(prompt(0), { maxTokens: 1 });
    const subscriber = keep(new Subscriber());
    subscriber.connect(endpoint);
    subscriber.subscribe('kv@pod@');
    const first = subscriber.receive();
    let isHeard = false;
    first.then(
      () => {
        isHeard = true;
      },
      () => {},
    );
    // Until its subscription has arrived it hears nothing.
    for (let n = 1; !isHeard; n++) await llm.generate(prompt(n % 200), { maxTokens: 1 });
    const [topic, number, payload] = await first;
    expect(topic.toString()).toBe('kv@pod@demo');
    const follower = new Follower(replayEndpoint);
    await follower.catchUp();
    expect(follower.next).toBeGreaterThan(number.readBigUInt64BE());
    const again = await replay(keepDealer(), number.readBigUInt64BE());
    expect(again[0]).toEqual([number, payload]);
  });
});

function keepDealer(): Dealer {
  const dealer = keep(new Dealer());
  dealer.connect(replayEndpoint);
  return dealer;
}

describe('a replay', () => {
  it('has the last messages, from the one that is asked for', async () => {
    const publisher = await openTold({ bufferSteps: 5 });
    const dealer = keepDealer();
    expect(await replay(dealer, 0n)).toEqual([]);
    for (let n = 0; n < 13; n++) publisher.publish(stored(n));
    expect(numbersOf(await replay(dealer, 0n))).toEqual([8, 9, 10, 11, 12]);
    expect(numbersOf(await replay(dealer, 11n))).toEqual([11, 12]);
    expect(numbersOf(await replay(dealer, 13n))).toEqual([]);
    expect(numbersOf(await replay(dealer, 2n ** 64n - 1n))).toEqual([]);
  });

  it('passes over what is no question', async () => {
    const publisher = await openTold();
    publisher.publish(stored(1));
    const dealer = keepDealer();
    for (const nonsense of [[''], ['', 'short'], ['x', numberOf(0n)], ['', numberOf(0n), 'more']]) {
      await dealer.send(nonsense);
    }
    expect(numbersOf(await replay(dealer, 0n))).toEqual([0]);
    // A REQ socket reads the first answer.
    const request = keep(new Request());
    request.connect(replayEndpoint);
    await request.send(numberOf(0n));
    expect((await request.receive())[0]).toEqual(numberOf(0n));
  });
});

it('a subscriber that does not read misses messages, and holds nobody', async () => {
  const large = { type: 'removed', hashes: new Array(1500).fill(2n ** 60n), group: null } as const;
  const publisher = await openTold({ hwm: 2, bufferSteps: 300 });
  const subscriber = keep(new Subscriber({ receiveHighWaterMark: 2 }));
  subscriber.connect(endpoint);
  subscriber.subscribe();
  let first = subscriber.receive();
  let isHeard = false;
  first.then(
    () => {
      isHeard = true;
    },
    () => {},
  );
  let count = 0;
  const publish = async () => {
    publisher.publish([large]);
    count++;
    await new Promise((resolve) => setImmediate(resolve));
  };
  while (!isHeard) await publish();
  const [, before] = await first;
  for (let n = 0; n < 400; n++) await publish();
  const dealer = keepDealer();
  const kept = numbersOf(await replay(dealer, 0n));
  expect(kept).toEqual(Array.from({ length: 300 }, (_, i) => count - 300 + i));
  // It comes back: numbers tell it what it has missed.
  let last = before.readBigUInt64BE();
  let hasGap = false;
  while (!hasGap) {
    first = subscriber.receive();
    await publish();
    const [, number] = await first;
    hasGap = number.readBigUInt64BE() !== last + 1n;
    last = number.readBigUInt64BE();
  }
  await publisher.close();
  publisher.publish([large]);
});

/** A free port of all addresses. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const hasIPv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === '::1'),
);

describe('where it listens', () => {
  const ANY = [
    ['0.0.0.0', '127.0.0.1'],
    ['*', '127.0.0.1'],
    ...(hasIPv6 ? [['[::]', '[::1]']] : []),
  ];

  it.each(ANY)('at %s, for subscribers and for who asks', async (address, reached) => {
    const [port, other] = [await freePort(), await freePort()];
    const publisher = await openTold({
      endpoint: `tcp://${address}:${port}`,
      replayEndpoint: `tcp://${address}:${other}`,
    });
    const [subscriber, dealer] = [
      keep(new Subscriber({ ipv6: true })),
      keep(new Dealer({ ipv6: true })),
    ];
    subscriber.connect(`tcp://${reached}:${port}`);
    subscriber.subscribe();
    const heard = subscriber.receive();
    const sent = setInterval(() => publisher.publish(stored(1)), 5);
    expect((await heard).length).toBe(3);
    clearInterval(sent);
    dealer.connect(`tcp://${reached}:${other}`);
    expect(numbersOf(await replay(dealer, 0n))[0]).toBe(0);
  });

  it('nowhere where it is given the address of another: it connects to that', async () => {
    const subscriber = keep(new Subscriber());
    await subscriber.bind('tcp://127.0.0.1:*');
    subscriber.subscribe();
    const publisher = await openTold({ endpoint: subscriber.lastEndpoint! });
    const heard = subscriber.receive();
    const sent = setInterval(() => publisher.publish(stored(1)), 5);
    expect((await heard).length).toBe(3);
    clearInterval(sent);
  });
});

describe('what cannot be had', () => {
  const refused = (param: string, message: RegExp) =>
    expect.objectContaining({
      code: 'ERR_INVALID_OPTION',
      param,
      message: expect.stringMatching(message),
    });

  it('an endpoint that somebody has, and afterwards it can', async () => {
    const other = new Publisher();
    await other.bind('tcp://127.0.0.1:*');
    const taken = other.lastEndpoint!.replace('127.0.0.1', '*');
    const load = (more: KvEventsOptions) =>
      LLM.load({ numThreads: 1, kvEventsConfig: told({ replayEndpoint: null, ...more }) });
    await expect(load({ endpoint: taken })).rejects.toThrow(
      refused('kvEventsConfig.endpoint', /cannot open tcp.*in use.*name another/),
    );
    await expect(load({ replayEndpoint: taken })).rejects.toThrow(
      refused('kvEventsConfig.replayEndpoint', /cannot open/),
    );
    await expect(load({ endpoint: 'tcp://no port' })).rejects.toThrow(/kvEventsConfig.endpoint/);
    other.close();
    const publisher = await openTold({ endpoint: 'tcp://*:*', replayEndpoint: null });
    expect(publisher.endpoints.pub).toMatch(/^tcp:/);
    await publisher.close();
    await publisher.close();
  });

  it('an ipc path that somebody listens at; one that was left is taken', async () => {
    const publisher = await openTold();
    const own = endpoint;
    for (const more of [{ replayEndpoint: null }, { endpoint: `${own}x`, replayEndpoint: own }]) {
      const [param] = 'endpoint' in more ? ['replayEndpoint'] : ['endpoint'];
      await expect(openTold({ endpoint: own, ...more })).rejects.toThrow(
        refused(`kvEventsConfig.${param}`, /cannot open ipc.*in use.*name another/),
      );
    }
    const one = `${own}y`;
    await expect(openTold({ endpoint: one, replayEndpoint: one })).rejects.toThrow(/in use/);
    // Nobody has taken it from the first.
    const subscriber = keep(new Subscriber());
    subscriber.connect(own);
    subscriber.subscribe();
    const heard = subscriber.receive();
    const sent = setInterval(() => publisher.publish(stored(1)), 5);
    expect((await heard)[0].toString()).toBe('');
    clearInterval(sent);
    const left = join(folder, 'left');
    const file = JSON.stringify(left);
    const end = '() => process.kill(process.pid, 9)';
    const code = `require('node:net').createServer().listen(${file}, ${end})`;
    spawnSync(process.execPath, ['-e', code]);
    expect(existsSync(left)).toBe(true);
    await openTold({ endpoint: `ipc://${left}`, replayEndpoint: null });
  });

  it('what no other process reaches', async () => {
    for (const scheme of ['inproc://x', 'udp://127.0.0.1:5557', 'no scheme']) {
      for (const key of ['endpoint', 'replayEndpoint'] as const) {
        await expect(openTold({ [key]: scheme })).rejects.toThrow(
          refused(`kvEventsConfig.${key}`, /must be tcp:\/\/HOST:PORT.* or ipc:\/\/PATH/),
        );
      }
    }
  });

  it('zeromq, unless nobody is told', async () => {
    vi.doMock('zeromq', () => {
      throw new Error('it is not installed');
    });
    try {
      await expect(LLM.load({ numThreads: 1, kvEventsConfig: told() })).rejects.toThrow(
        refused('kvEventsConfig', /npm install zeromq/),
      );
      const silent = { ...told(), publisher: 'null' } as const;
      keep(await LLM.load({ numThreads: 1, kvEventsConfig: silent }));
      keep(await LLM.load({ numThreads: 1, kvEventsConfig: { endpoint } }));
    } finally {
      vi.doUnmock('zeromq');
    }
  });
});

it('is a flag with JSON', () => {
  const command = addEngineFlags(new Command());
  const text = '{"enable_kv_cache_events": true, "publisher": "zmq", "buffer_steps": 7}';
  command.parse(['--kv-events-config', text], { from: 'user' });
  expect(engineOptionsOf(command.opts())).toEqual({
    kvEventsConfig: { enableKvCacheEvents: true, publisher: 'zmq', bufferSteps: 7 },
  });
});

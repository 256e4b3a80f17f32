/**
 * /dashboard: a page, and the stream of events that it shows. The page itself holds nothing but its
 * own code, so a browser gets it without a key; everything that it shows asks for the key.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { octavoError } from '../errors.js';
import type { Exchange } from './exchange.js';
import { helloOf, openSource } from './live-sources.js';
import { badRequest, Problem } from './problem.js';
import type { Route } from './router.js';
import { ROOT, type Service, TAKES_NO_MORE } from './service.js';
import { SSE_HEADERS, SseWriter } from './sse.js';

/** Between two frames, at least. */
const INTERVAL_MS = 250;

/** Each costs some time of the event loop. */
const MOST_WATCHERS = 32;

/** Whether something has changed is looked at so often; that nothing has is said. */
const IDLE_MS = 1000;

/** How long the last word to one who watches may be under way. */
const BYE_MS = 1000;

const PAGE_TYPE = 'text/html; charset=utf-8';

export function livePageRoutes(service: Service): Route[] {
  if (!service.config.enableDashboard) return [];
  const { text, headers } = readPage(join(ROOT, 'dist', 'dashboard.html'));
  const watching = new Watching(service);
  return [
    {
      method: 'GET',
      path: '/dashboard',
      summary: 'A live page of what the engine does',
      contentType: 'text/html',
      guarded: false,
      handle: (exchange) => exchange.send(text, PAGE_TYPE, 200, headers),
    },
    {
      method: 'GET',
      path: '/dashboard/events',
      summary: 'What the live page shows of `?model=`, as events',
      contentType: 'text/event-stream',
      guarded: true,
      handle: (exchange) => watching.stream(exchange),
    },
    {
      method: 'GET',
      path: '/dashboard/blocks/{id}',
      summary: 'Who uses a block of the KV pool',
      response: blockUse,
      guarded: true,
      handle: (exchange) => tellBlock(service, exchange),
    },
  ];
}

const blockUse = z.object({
  block: z.int(),
  refCount: z.int(),
  isCached: z.boolean(),
  users: z.array(
    z.object({
      id: z.string(),
      index: z.int(),
      group: z.int(),
      from: z.int(),
      to: z.int(),
    }),
  ),
});

/** The page runs its own script and asks its own server; there is nothing else that it may do. */
function readPage(file: string) {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const sentence = 'server option enableDashboard: this build has no page; npm run build:ts';
    const details = { param: 'enableDashboard', cause: error };
    throw octavoError('ERR_INVALID_OPTION', sentence, details);
  }
  const hashes = (tag: string) =>
    [...text.matchAll(new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`, 'g'))]
      .map(([, inner]) => `'sha256-${createHash('sha256').update(inner).digest('base64')}'`)
      .join(' ');
  const policy = [
    "default-src 'none'",
    `script-src ${hashes('script')}`,
    `style-src ${hashes('style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  const headers = {
    'content-security-policy': policy.join('; '),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-cache',
  };
  return { text, headers };
}

class Watching {
  readonly #service: Service;
  #numWatchers = 0;

  constructor(service: Service) {
    this.#service = service;
  }

  /** Until the client leaves, the model is closed or the last request of a server that takes no
   * more has ended. */
  async stream(exchange: Exchange): Promise<void> {
    const { ending, isDraining, models } = this.#service;
    if (isDraining || ending.aborted) throw new Problem(503, TAKES_NO_MORE);
    const { name, llm } = models.find(exchange.query.get('model') ?? undefined);
    if (this.#numWatchers === MOST_WATCHERS) {
      throw new Problem(503, `${MOST_WATCHERS} pages watch already; close one of them`);
    }
    const { req, res, signal } = exchange;
    if (req.method === 'HEAD') return void res.writeHead(200, SSE_HEADERS).end();
    const source = openSource(llm);
    this.#numWatchers++;
    this.#service.numWatching++;
    exchange.isWatching = true;
    const isOver = () => ending.aborted || signal.aborted;
    const leave = () => {
      source.leave();
      // Nobody waits for one who does not read.
      if (res.writableLength > 0) res.destroy();
    };
    for (const one of [ending, signal]) one.addEventListener('abort', leave);
    const sse = new SseWriter(exchange);
    let told = performance.now();
    const tellIdle = () => {
      const now = performance.now();
      // What waits for a client that reads slowly has changed.
      if (now - told >= IDLE_MS / 2 && !res.writableNeedDrain) sse.send({ type: 'idle', now });
    };
    const idle = setInterval(tellIdle, IDLE_MS).unref();
    try {
      const names = models.all.map((one) => one.name);
      sse.send(helloOf(llm, name, names));
      while (!isOver() && (await source.changed())) {
        sse.send(source.take());
        told = performance.now();
        await Promise.all([pause(INTERVAL_MS, undefined, { ref: false }), exchange.ready()]);
      }
    } finally {
      for (const one of [ending, signal]) one.removeEventListener('abort', leave);
      clearInterval(idle);
      source.leave();
      this.#numWatchers--;
    }
    // What ended last, those who watch have not seen.
    if (ending.aborted) sse.send(source.take());
    sse.send({ type: 'bye' });
    sse.end();
    const timer = setTimeout(() => res.destroy(), BYE_MS).unref();
    res.once('close', () => clearTimeout(timer));
  }
}

function tellBlock({ models }: Service, exchange: Exchange): void {
  const { llm } = models.find(exchange.query.get('model') ?? undefined);
  const watcher = llm.watch();
  try {
    const use = watcher?.describe(Number(exchange.pathId)) ?? null;
    if (use === null) throw badRequest(`the pool has no block ${exchange.pathId.slice(0, 20)}`);
    exchange.json(use);
  } finally {
    watcher?.leave();
  }
}

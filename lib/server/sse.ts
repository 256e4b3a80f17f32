/** Server-sent events: frames, comments while nothing comes, and no more than a client reads. */
import type { Exchange } from './exchange.js';

/** Proxies neither keep nor compress a stream that says this. */
export const SSE_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
};

/** How long a client has to read the error that ended its stream. */
const GRACE_MS = 5000;

export interface SseOptions {
  /** Whether frames say their `type` as `event:`. */
  readonly named?: boolean;
  /** How an error is told once the stream has begun. */
  readonly asError?: (body: object) => object;
}

export class SseWriter {
  readonly #exchange: Exchange;
  readonly #named: boolean;
  #pings: NodeJS.Timeout | undefined;
  #wrote = performance.now();

  /** Nothing is sent before the first frame or ping, so that an error may still have its status. */
  constructor(exchange: Exchange, { named = false, asError }: SseOptions = {}) {
    this.#exchange = exchange;
    this.#named = named;
    const { pingIntervalMs } = exchange.config;
    if (pingIntervalMs > 0) {
      this.#pings = setInterval(() => this.#ping(pingIntervalMs), Math.max(1, pingIntervalMs / 4));
      this.#pings.unref();
    }
    exchange.onLateError = (body) => {
      this.send(asError?.(body) ?? body);
      this.end();
      // One who does not read will not read this.
      const grace = setTimeout(() => exchange.res.destroy(), GRACE_MS).unref();
      exchange.res.once('close', () => clearTimeout(grace));
    };
    // Its client may have left before this.
    void exchange.closed.then(() => clearInterval(this.#pings));
  }

  #ping(intervalMs: number): void {
    const { res } = this.#exchange;
    if (performance.now() - this.#wrote < intervalMs || res.writableNeedDrain) return;
    this.#write(': ping\n\n');
  }

  #write(text: string): void {
    const { res } = this.#exchange;
    if (res.writableEnded || res.destroyed) return;
    if (!res.headersSent) {
      res.writeHead(200, SSE_HEADERS);
      // What carries the answer need not be a socket of TCP.
      res.socket?.setNoDelay?.(true);
    }
    this.#wrote = performance.now();
    res.write(text);
  }

  /** A frame of JSON. */
  send(data: object): void {
    this.#write(this.#frame(data));
  }

  /** Frames together: one write, as each costs more than what is in it. */
  sendAll(frames: readonly object[]): void {
    let text = '';
    for (const frame of frames) text += this.#frame(frame);
    if (text !== '') this.#write(text);
  }

  #frame(data: object): string {
    const name = this.#named ? `event: ${(data as { type: string }).type}\n` : '';
    return `${name}data: ${JSON.stringify(data)}\n\n`;
  }

  /** Waits for a client that reads slower than tokens come. */
  async ready(): Promise<void> {
    await this.#exchange.ready();
  }

  /** @param last a line of data that is no JSON */
  end(last?: string): void {
    clearInterval(this.#pings);
    if (last !== undefined) this.#write(`data: ${last}\n\n`);
    this.#exchange.res.end();
  }
}

/** What tests of the server under load need: raw connections, and what is left after them. */
import { createHook } from 'node:async_hooks';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ROOT } from '../support/addon.js';
import { until } from '../support/until.js';

/** The bytes of a request. */
export function wire(path: string, body: string | object, headers = ''): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const length = Buffer.byteLength(text);
  return `POST ${path} HTTP/1.1\r\nhost: localhost\r\n${headers}content-length: ${length}\r\n\r\n${text}`;
}

/** A connection that has said this; its errors are nobody's business. */
export function open(port: number, bytes: string | Buffer = ''): Socket {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  if (bytes.length > 0) socket.write(bytes);
  return socket;
}

/** All that comes until the other side ends, a character a byte. */
export async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}

/** The bodies of answers that came one after the other on a connection. */
export function bodiesOf(text: string): { status: number; body: string }[] {
  const answers = [];
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\r\n\r\n', at);
    const head = text.slice(at, end);
    const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
    at = end + 4;
    let body = '';
    if (Number.isNaN(length)) {
      // Chunks: their length in hexadecimal, a line, so many bytes, a line.
      for (;;) {
        const line = text.indexOf('\r\n', at);
        const size = Number.parseInt(text.slice(at, line), 16);
        if (line < 0 || Number.isNaN(size)) throw new Error(`cut off: ${text.slice(-300)}`);
        body += text.slice(line + 2, line + 2 + size);
        at = line + 2 + size + 2;
        if (size === 0) break;
      }
    } else {
      body = text.slice(at, at + length);
      at += length;
    }
    answers.push({ status, body: Buffer.from(body, 'latin1').toString() });
  }
  return answers;
}

export interface TimerWatch {
  /** Those that run now. */
  readonly count: number;
  /** Those that were ever made. */
  readonly made: number;
  stop(): void;
}

const OURS = `${join(ROOT, 'lib')}/`;

/** Timers that this package has made, those that do not keep the process alive among them. */
export function watchTimers(): TimerWatch {
  const alive = new Set<number>();
  let made = 0;
  const hook = createHook({
    init(id, type) {
      if (type !== 'Timeout' || !new Error().stack?.includes(OURS)) return;
      alive.add(id);
      made++;
    },
    destroy(id) {
      alive.delete(id);
    },
  });
  hook.enable();
  return {
    get count() {
      return alive.size;
    },
    get made() {
      return made;
    },
    stop: () => void hook.disable(),
  };
}

/** Until no connection is open. */
export function untilUnconnected(http: Server): Promise<void> {
  return until(
    () =>
      new Promise<boolean>((resolve) => {
        http.getConnections((_, count) => resolve(count === 0));
      }),
  );
}

/** Bytes of the heap that are in use, and of the process, when all that can be freed is. */
export function memory(): { heap: number; rss: number } {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  for (let i = 0; i < 3; i++) gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, rss };
}

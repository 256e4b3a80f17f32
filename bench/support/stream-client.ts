/**
 * Clients of a server, in a process of their own: so many requests at once, each on a connection,
 * read to their end and otherwise passed over. They cost little, and the server's loop nothing.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';

export interface Round {
  readonly port: number;
  readonly path: string;
  readonly bodies: readonly string[];
  /** What the last bytes of every answer hold. */
  readonly end: string;
}

export interface RoundResult {
  readonly ms: number;
  readonly bytes: number;
}

export class Clients {
  readonly #child: ChildProcess = fork(fileURLToPath(import.meta.url), { serialization: 'json' });

  /** @throws for an answer without its end */
  async run(round: Round): Promise<RoundResult> {
    this.#child.send(round);
    const [result] = (await once(this.#child, 'message')) as [RoundResult | { error: string }];
    if ('error' in result) throw new Error(result.error);
    return result;
  }

  close(): void {
    this.#child.kill();
  }
}

function ask({ port, path, end }: Round, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n`;
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`),
    );
    let bytes = 0;
    let last = '';
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      bytes += chunk.length;
      last = (last + chunk.subarray(-512).toString()).slice(-512);
    });
    socket.on('close', () =>
      last.includes(end) ? resolve(bytes) : reject(new Error(`no whole answer: ${last}`)),
    );
  });
}

process.on('message', async (round: Round) => {
  const began = performance.now();
  try {
    const sizes = await Promise.all(round.bodies.map((body) => ask(round, body)));
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    process.send?.({ ms: performance.now() - began, bytes });
  } catch (error) {
    process.send?.({ error: (error as Error).message });
  }
});

/** HTTP without a socket: a handler of node:http's requests, asked over pipes in memory. */
import { createServer, type RequestListener } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';

/** What it returns makes a new connection to the handler, as `createConnection` of a request. */
export function inMemory(handler: RequestListener): () => Duplex {
  const server = createServer(handler);
  return () => {
    const [near, far] = duplexPair();
    // Either end learns when the other has gone, as those of a socket do.
    near.once('close', () => far.destroy());
    far.once('close', () => {
      if (!far.writableFinished) near.destroy();
    });
    far.on('error', () => {});
    server.emit('connection', far);
    return near;
  };
}

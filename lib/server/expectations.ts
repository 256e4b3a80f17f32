/**
 * Clients that send a long body only when they are told to (`Expect: 100-continue`). Node tells
 * them at once, unless a server listens for `checkContinue`: then whoever reads the body does, and
 * what is refused before is never sent.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

const waiting = new WeakSet<IncomingMessage>();

export function tellLate(
  http: Server,
  handler: (req: IncomingMessage, res: ServerResponse) => unknown,
): void {
  http.on('checkContinue', (req, res) => {
    waiting.add(req);
    handler(req, res);
  });
}

/** The body is wanted. */
export function tell(req: IncomingMessage, res: ServerResponse): void {
  if (waiting.delete(req)) res.writeContinue();
}

/** Nobody knows whether the body comes after an answer that did not ask for it. */
export function closeUntold(req: IncomingMessage, res: ServerResponse): void {
  if (waiting.delete(req) && !res.headersSent) res.setHeader('connection', 'close');
}

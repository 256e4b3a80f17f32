/** Who may ask, and whose pages may read the answer. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { Problem } from './problem.js';

const digest = (text: string) => createHash('sha256').update(text).digest();

/** Compares with every key, each in a time that tells nothing of it. */
export class Keys {
  readonly #digests: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digest);
  }

  /** @throws Problem 401 */
  check({ headers }: IncomingMessage): void {
    if (this.#digests.length === 0) return;
    const [, bearer] = /^bearer +(.+)$/i.exec(headers.authorization ?? '') ?? [];
    for (const given of [bearer, headers['x-api-key']]) {
      if (typeof given !== 'string') continue;
      const seen = digest(given);
      let isKnown = false;
      for (const key of this.#digests) isKnown = timingSafeEqual(key, seen) || isKnown;
      if (isKnown) return;
    }
    const sentence = 'the API key is missing or wrong';
    throw new Problem(401, sentence, null, { 'www-authenticate': 'Bearer' });
  }
}

const LOCAL = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

function isAllowed(origin: string, origins: readonly string[] | undefined): boolean {
  return origins?.some((one) => one === '*' || one === origin) ?? LOCAL.test(origin);
}

/**
 * A page that may not read the answer may not ask either: browsers send some requests first.
 * @throws Problem 403
 */
export function checkOrigin(
  { headers: { origin } }: IncomingMessage,
  origins: readonly string[] | undefined,
): void {
  if (origin === undefined || isAllowed(origin, origins)) return;
  throw new Problem(403, 'pages of this origin may not ask; see --allowed-origins');
}

/** The name in a Host header, without its port. */
function hostName(host: string): string {
  return host.replace(/:\d*$/, '').toLowerCase();
}

function isAllowedHost(name: string, hosts: readonly string[]): boolean {
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  if (isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0) return true;
  return hosts.some((one) => one === '*' || one.toLowerCase() === name);
}

/**
 * A page may give its own name this machine's address, and is of one origin with this server then.
 * Its requests still say the name.
 * @throws Problem 403
 */
export function checkHost(
  { headers: { host } }: IncomingMessage,
  hosts: readonly string[] | undefined,
): void {
  // Browsers never leave it out.
  if (hosts === undefined || host === undefined) return;
  const name = hostName(host);
  if (isAllowedHost(name, hosts)) return;
  const shown = JSON.stringify(name.slice(0, 100));
  throw new Problem(403, `this server is not asked by the name ${shown}; see --allowed-hosts`);
}

/**
 * Is it a page of this server that asks, such as the dashboard? A name may be another's that was
 * given this address, so without a key only an address and `localhost` count.
 */
export function isOwnPage(
  { headers: { origin, host } }: IncomingMessage,
  hasKey: boolean,
): boolean {
  if (origin === undefined || host === undefined) return false;
  if (!hasKey && !isAllowedHost(hostName(host), [])) return false;
  return /^https?:\/\//.test(origin) && origin.replace(/^https?:\/\//, '') === host;
}

/** Sets what a browser asks for before its page may read the answer; nothing for others. */
export function allowOrigin(
  { headers }: IncomingMessage,
  res: ServerResponse,
  origins: readonly string[] | undefined,
): void {
  const { origin } = headers;
  if (origins?.[0] !== '*') res.setHeader('vary', 'origin');
  if (origin === undefined) return;
  if (!isAllowed(origin, origins)) return;
  res.setHeader('access-control-allow-origin', origins?.includes('*') ? '*' : origin);
  res.setHeader(
    'access-control-expose-headers',
    'x-request-id, request-id, retry-after, x-should-retry',
  );
}

/** The answer to a browser's question before its request. */
export function preflight(
  { headers }: IncomingMessage,
  res: ServerResponse,
  methods: string,
): void {
  if (res.hasHeader('access-control-allow-origin')) {
    res.setHeader('access-control-allow-methods', methods);
    const asked = headers['access-control-request-headers'];
    if (asked !== undefined) res.setHeader('access-control-allow-headers', asked);
    if (headers['access-control-request-private-network'] === 'true') {
      res.setHeader('access-control-allow-private-network', 'true');
    }
    res.setHeader('access-control-max-age', '86400');
  }
  res.writeHead(204).end();
}

/** A server that listens: limits of connections, TLS, and an end that nobody loses a request by. */
import { once } from 'node:events';
import { lstat, unlink } from 'node:fs/promises';
import { createServer as createHttp, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, BlockList, connect, isIP, isIPv6, type Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { z } from 'zod';
import type { LLM } from '../engine/llm.js';
import { octavoError } from '../errors.js';
import { tellLate } from './expectations.js';
import { createServer, type Handler } from './handler.js';
import { SILENT } from './logs.js';
import type { ServerOptions } from './options.js';

/** Where and how `serve()` listens. */
export interface ListenOptions {
  /** Default 127.0.0.1: nobody else's machine. */
  readonly host?: string;
  /** Default 8000; 0 takes a free one. */
  readonly port?: number;
  /** A Unix socket's path instead. */
  readonly uds?: string;
  /** PEM texts of a certificate and its key: then HTTPS. */
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer };
  /** Connections at once. Default 10,000. */
  readonly maxConnections?: number;
  /** An idle connection is closed after so long. Default 75,000 (above balancers' 60 s). */
  readonly keepAliveTimeoutMs?: number;
  /** How long what runs may go on after `shutdown()`. Default 30,000. */
  readonly shutdownTimeoutMs?: number;
}

/** What `serve()` gives. */
export interface RunningServer {
  /** http://127.0.0.1:8000, say. */
  readonly url: string;
  /** What listens. */
  readonly http: Server;
  /** What answers. */
  readonly handler: Handler;
  /**
   * Takes no more requests, waits for those that run as long as they may, ends the rest, closes.
   * A second call ends them at once. The models stay open.
   */
  shutdown(): Promise<void>;
}

const schema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  port: z.int().min(0).max(65_535).default(8000),
  uds: z.string().min(1).optional(),
  tls: z
    .strictObject({
      key: z.union([z.string(), z.instanceof(Buffer)]),
      cert: z.union([z.string(), z.instanceof(Buffer)]),
    })
    .optional(),
  maxConnections: z.int().min(1).default(10_000),
  keepAliveTimeoutMs: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(75_000),
  shutdownTimeoutMs: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(30_000),
});

type ListenConfig = Required<Omit<ListenOptions, 'uds' | 'tls'>> &
  Pick<ListenOptions, 'uds' | 'tls'>;

/** @throws ERR_INVALID_OPTION naming the option */
export function listenConfig(options: ListenOptions): ListenConfig {
  const parsed = schema.safeParse(options);
  if (parsed.success) {
    checkTls(parsed.data);
    return parsed.data;
  }
  const [{ path, message }] = parsed.error.issues;
  const param = path.join('.') || 'options';
  throw octavoError('ERR_INVALID_OPTION', `server option ${param}: ${message}`, { param });
}

function checkTls({ tls }: Pick<ListenConfig, 'tls'>): void {
  if (tls === undefined) return;
  try {
    createSecureContext(tls);
  } catch (error) {
    const sentence =
      'server option tls: key and cert must be the PEM texts of a private key without a ' +
      `passphrase and of its certificate (${(error as Error).message})`;
    throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'tls', cause: error });
  }
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Of the headers of a request; a body may take as long as Node's requestTimeout. */
const HEADERS_TIMEOUT_MS = 60_000;

/** For what the last answers have in their sockets when all is done. */
const FLUSH_MS = 1000;

/**
 * Listens with `createServer()`'s handler.
 * @throws ERR_INVALID_OPTION; the system's error when the address cannot be taken
 */
export async function serve(
  models: LLM | Readonly<Record<string, LLM>>,
  options: ServerOptions = {},
  listening: ListenOptions = {},
): Promise<RunningServer> {
  const config = listenConfig(listening);
  const handler = createServer(models, { ...options, ...hostsOf(options, config) });
  try {
    const http = config.tls ? createHttps(config.tls, handler) : createHttp(handler);
    tellLate(http, handler);
    http.keepAliveTimeout = config.keepAliveTimeoutMs;
    http.headersTimeout = Math.max(HEADERS_TIMEOUT_MS, config.keepAliveTimeoutMs + 1000);
    http.maxConnections = config.maxConnections;
    await listenAnew(http, config);
    // A connection that cannot be taken (too many files) is none of the others' business.
    const logger = options.logger ?? SILENT;
    http.on('error', (error) => logger.error({ error: error.message }, 'server'));
    const shutdown = shutdownOf(http, handler, config);
    return { url: urlOf(http, config), http, handler, shutdown };
  } catch (error) {
    handler.close();
    throw error;
  }
}

/**
 * Whoever has a key is no page that only knows a name; a page cannot reach a Unix socket, and what
 * is open to a network has names that nobody here knows.
 */
function hostsOf(
  { apiKey, allowedHosts }: ServerOptions,
  { host, uds }: ListenConfig,
): Pick<ServerOptions, 'allowedHosts'> {
  const isLocal = uds === undefined && (host === 'localhost' || isLoopback(host));
  return isLocal && apiKey === undefined ? { allowedHosts: allowedHosts ?? [] } : {};
}

function isLoopback(host: string): boolean {
  return isIP(host) !== 0 && LOOPBACK.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');
}

/** What a process that was killed has left of its Unix socket stands in nobody's way. */
async function listenAnew(http: Server, config: ListenConfig): Promise<void> {
  const { uds } = config;
  try {
    await listen(http, config);
  } catch (error) {
    const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    if (!isTaken || uds === undefined || !(await isLeft(uds))) throw error;
    await unlink(uds);
    await listen(http, config);
  }
}

/** Whether a path is a socket that nobody listens at. */
async function isLeft(path: string): Promise<boolean> {
  const socket = connect(path);
  const refusal = await once(socket, 'connect').then(
    () => undefined,
    ({ code }: NodeJS.ErrnoException) => code,
  );
  socket.destroy();
  return refusal === 'ECONNREFUSED' && (await lstat(path)).isSocket();
}

function listen(http: Server, { host, port, uds }: ListenConfig): Promise<void> {
  return new Promise((resolve, reject) => {
    http.once('error', reject);
    const done = () => {
      http.off('error', reject);
      resolve();
    };
    if (uds === undefined) http.listen(port, host, done);
    else http.listen(uds, done);
  });
}

function urlOf(http: Server, { host, uds, tls }: ListenConfig): string {
  if (uds !== undefined) return `unix:${uds}`;
  const { port } = http.address() as AddressInfo;
  const name = host.includes(':') ? `[${host}]` : host;
  return `${tls ? 'https' : 'http'}://${name}:${port}`;
}

function shutdownOf(http: Server, handler: Handler, { shutdownTimeoutMs }: ListenConfig) {
  let ending: Promise<void> | undefined;
  let hurry = () => {};
  const sockets = new Set<Socket>();
  http.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const end = async () => {
    const hurried = new Promise<void>((resolve) => {
      hurry = resolve;
    });
    const timer = setTimeout(() => hurry(), shutdownTimeoutMs);
    // Who asks meanwhile is told to ask elsewhere.
    await Promise.race([handler.drain(), hurried]);
    clearTimeout(timer);
    const closed = new Promise<void>((resolve) => http.close(() => resolve()));
    http.closeIdleConnections();
    // The last answers may be on their way still; those who never began a request, too.
    const cut = () => {
      for (const socket of sockets) socket.destroy();
    };
    const rest = setTimeout(cut, handler.numActive > 0 ? 0 : FLUSH_MS);
    await closed;
    clearTimeout(rest);
    handler.close();
  };
  return (): Promise<void> => {
    if (ending === undefined) ending = end();
    else hurry();
    return ending;
  };
}

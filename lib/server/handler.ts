/** A handler of node:http's requests, from its first byte to its log line. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { LLM } from '../engine/llm.js';
import { allowOrigin, checkHost, checkOrigin, isOwnPage, Keys, preflight } from './auth.js';
import { Exchange } from './exchange.js';
import { closeUntold } from './expectations.js';
import { SILENT } from './logs.js';
import { type ServerOptions, serverConfig } from './options.js';
import { asProblem, isExpected, Problem } from './problem.js';
import { type Match, Router } from './router.js';
import { routesOf } from './routes.js';
import { Service, TAKES_NO_MORE } from './service.js';

/**
 * What `createServer()` gives: a listener for `http.createServer()`, to be mounted under any path
 * of another framework as well.
 */
export interface Handler {
  (req: IncomingMessage, res: ServerResponse): Promise<void>;
  /** From now on requests are refused with 503; resolves when those that run have ended and their
   * answers are sent. The models are not drained: they stay open, for others too. */
  drain(): Promise<void>;
  /** Takes its listeners off the models; they stay open. */
  close(): void;
  /** Requests whose answers are not all sent. */
  readonly numActive: number;
}

/**
 * A server of one model, or of several by name, for clients of OpenAI's and Anthropic's APIs.
 * @throws ERR_INVALID_OPTION
 */
export function createServer(
  models: LLM | Readonly<Record<string, LLM>>,
  options: ServerOptions = {},
): Handler {
  const config = serverConfig(options);
  const service = new Service(models, config);
  const dispatcher = new Dispatcher(service);
  const handle = (req: IncomingMessage, res: ServerResponse) => dispatcher.handle(req, res);
  return Object.defineProperties(handle, {
    drain: { value: () => dispatcher.drain() },
    close: { value: () => service.close() },
    numActive: { get: () => service.numActive },
  }) as Handler;
}

class Dispatcher {
  readonly #service: Service;
  readonly #router: Router;
  readonly #keys: Keys;
  #whenIdle: (() => void)[] = [];

  constructor(service: Service) {
    this.#service = service;
    this.#router = new Router(routesOf(service));
    this.#keys = new Keys(service.config.apiKey ?? []);
  }

  drain(): Promise<void> {
    this.#service.drain();
    return new Promise((resolve) => {
      if (this.#service.numActive === 0) resolve();
      else this.#whenIdle.push(resolve);
    });
  }

  async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const service = this.#service;
    const exchange = new Exchange(req, res, service.config, service.bodies);
    const path = this.#pathOf(req);
    service.numActive++;
    void exchange.closed.then(() => {
      service.numActive--;
      if (exchange.isWatching) service.numWatching--;
      service.endIfIdle();
      if (service.numActive === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
    });
    try {
      checkHost(req, service.config.allowedHosts);
      allowOrigin(req, res, service.config.allowedOrigins);
      if (req.method === 'OPTIONS') preflight(req, res, this.#router.methods(path));
      else await this.#answer(exchange, this.#match(exchange, path));
    } catch (error) {
      this.#fail(exchange, error);
    }
    this.#log(exchange, path);
  }

  #match(exchange: Exchange, path: string): Match {
    // Whose form errors have is told by the path, known or not.
    if (path.startsWith('/v1/messages')) exchange.speakAnthropic();
    return this.#router.match(exchange.req.method ?? 'GET', path);
  }

  async #answer(exchange: Exchange, { route, id }: Match): Promise<void> {
    exchange.pathId = id;
    if (route.guarded) {
      this.#keys.check(exchange.req);
      const { allowedOrigins, enableDashboard, apiKey } = this.#service.config;
      const isOwn = enableDashboard && isOwnPage(exchange.req, apiKey !== undefined);
      if (!isOwn) checkOrigin(exchange.req, allowedOrigins);
      if (this.#service.isDraining && route.method === 'POST') {
        const headers = { 'retry-after': '5', connection: 'close' };
        throw new Problem(503, TAKES_NO_MORE, null, headers);
      }
      if (route.queued) this.#checkAdmission();
      exchange.readDeadline();
    }
    const isWork = route.guarded && route.method === 'POST';
    if (isWork) this.#service.numWorking++;
    try {
      await route.handle(exchange);
    } finally {
      if (isWork) this.#service.numWorking--;
    }
  }

  /** What every model would refuse is refused before its body is read. */
  #checkAdmission(): void {
    const { all } = this.#service.models;
    const refusals: unknown[] = [];
    for (const { llm } of all) {
      try {
        llm.checkAdmission();
      } catch (error) {
        refusals.push(error);
      }
    }
    if (refusals.length === all.length) throw refusals[0];
  }

  /** Without rootPath, query, a slash at the end, and with /v1 where a client left it out. */
  #pathOf({ url = '/' }: IncomingMessage): string {
    const { rootPath } = this.#service.config;
    let [path] = url.split('?', 1);
    if (rootPath !== '' && (path === rootPath || path.startsWith(`${rootPath}/`))) {
      path = path.slice(rootPath.length);
    }
    let end = path.length;
    while (end > 0 && path[end - 1] === '/') end--;
    path = path.slice(0, end).replace(/^(\/v1)+(?=\/v1\/)/, '') || '/';
    return this.#router.has(path) ? path : this.#router.has(`/v1${path}`) ? `/v1${path}` : path;
  }

  #fail(exchange: Exchange, error: unknown): void {
    const { status } = asProblem(error);
    exchange.facts.status = status;
    if (!isExpected(error)) exchange.facts.stack = (error as Error)?.stack;
    closeUntold(exchange.req, exchange.res);
    exchange.fail(error);
    exchange.abort('the request has failed');
    // A body that nobody reads would hold the connection.
    exchange.req.resume();
  }

  #log({ id, req, res, facts, arrived, signal }: Exchange, path: string): void {
    const logger = this.#service.config.logger ?? SILENT;
    const ms = Math.round(performance.now() - arrived);
    const isGone = signal.aborted && !res.writableFinished;
    const status = facts.status ?? (isGone ? 499 : res.statusCode);
    const line = { request_id: id, method: req.method, path, ...facts, status, ms };
    // A server that ends says 503 to all who ask, and that is no fault of it.
    const isFault = status === 500 || 'stack' in facts;
    if (isFault) logger.error(line, 'request');
    else if (Number(status) > 500) logger.warn(line, 'request');
    else if (facts.model !== undefined || Number(status) >= 400) logger.info(line, 'request');
    else logger.debug(line, 'request');
  }
}

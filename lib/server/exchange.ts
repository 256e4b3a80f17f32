/** One request and its answer, whatever the route. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { z } from 'zod';
import { isOctavoError, octavoError } from '../errors.js';
import { Pacer } from '../text/pacer.js';
import { readJsonBody } from './body.js';
import type { BodyBudget } from './body-budget.js';
import { tell } from './expectations.js';
import { memberOf, sayIssue, tellingIssue } from './issues.js';
import { SILENT } from './logs.js';
import type { ServerConfig } from './options.js';
import { anthropicBody, asProblem, badRequest, openaiBody, Problem } from './problem.js';
import { REQUEST_ID } from './schemas/fields.js';

const JSON_TYPE = 'application/json; charset=utf-8';

/** An answer in pieces is written so many characters at a time. */
const PART_LENGTH = 65_536;

/** Who waits for a connection's end; each connection has one listener, however many it carries. */
const waiting = new WeakMap<Socket, Set<() => void>>();

function whenClosed(socket: Socket, callback: () => void): () => void {
  let all = waiting.get(socket);
  if (all === undefined) {
    const made = new Set<() => void>();
    all = made;
    waiting.set(socket, made);
    socket.once('close', () => {
      waiting.delete(socket);
      for (const one of [...made]) one();
    });
  }
  all.add(callback);
  return () => all.delete(callback);
}

export class Exchange {
  /** The client's own `x-request-id` where it is fit to be sent back, else `request_id`. */
  id: string = randomUUID();
  readonly arrived = performance.now();
  /** What the log says of it. */
  readonly facts: Record<string, unknown> = {};
  /** Whether it ends when all others have; who sets it counts it among those that watch. */
  isWatching = false;
  /** The `{id}` of the route's path. */
  pathId = '';
  /** Whose form errors have. */
  errorForm: 'openai' | 'anthropic' = 'openai';
  /** The field that says what an output must be. */
  structuredField = 'structured_outputs';
  /** The field that says how many logprobs there are to be. */
  logprobsField = 'logprobs';
  /** Resolves when the answer has been sent, or cannot be any more. */
  readonly closed: Promise<void>;
  readonly #isNamed: boolean;
  readonly #left = new AbortController();
  #deadline = Number.POSITIVE_INFINITY;
  #limitMs = Number.POSITIVE_INFINITY;
  /** Writes an error where the answer has begun. */
  onLateError: ((body: object) => void) | null = null;

  constructor(
    readonly req: IncomingMessage,
    readonly res: ServerResponse,
    readonly config: ServerConfig,
    readonly bodies: BodyBudget,
  ) {
    const given = req.headers['x-request-id'];
    this.#isNamed = typeof given === 'string' && REQUEST_ID.test(given);
    this.#call(this.#isNamed ? (given as string) : this.id);
    res.on('error', () => this.abort('the connection failed'));
    // An answer that waits behind another on its connection is not told that it has closed.
    this.closed = new Promise((resolve) => {
      const end = () => {
        stop();
        if (!res.writableFinished) this.abort('the client has closed the connection');
        resolve();
      };
      const stop = whenClosed(req.socket, end);
      res.on('close', end);
      if (req.socket.destroyed) end();
    });
  }

  #call(id: string): void {
    this.id = id;
    const { config, res } = this;
    if (config.enableRequestIdHeaders && !res.headersSent) res.setHeader('x-request-id', id);
  }

  /** Errors in Anthropic's form, and the request's id under the name that its clients read. */
  speakAnthropic(): void {
    this.errorForm = 'anthropic';
    const { enableRequestIdHeaders } = this.config;
    if (enableRequestIdHeaders && !this.res.headersSent) this.res.setHeader('request-id', this.id);
  }

  /** Aborts when nobody waits for the answer any more. */
  get signal(): AbortSignal {
    return this.#left.signal;
  }

  abort(why: string): void {
    if (!this.signal.aborted) this.#left.abort(octavoError('ERR_ABORTED', why));
  }

  /** @throws Problem 400 for a limit of time that is none */
  readDeadline(): void {
    const { requestTimeoutMs = Number.POSITIVE_INFINITY } = this.config;
    const asked = this.req.headers['x-request-timeout-ms'];
    const ms = asked === undefined ? Number.POSITIVE_INFINITY : Number(asked);
    if (!(ms > 0)) {
      throw badRequest('x-request-timeout-ms must be a number above 0', 'x-request-timeout-ms');
    }
    this.#limitMs = Math.min(ms, requestTimeoutMs);
    this.#deadline = this.arrived + this.#limitMs;
  }

  /** What is left of the request's time, as options of a call. */
  get timeLeft(): { timeoutMs?: number } {
    if (this.#deadline === Number.POSITIVE_INFINITY) return {};
    const left = Math.ceil(this.#deadline - performance.now());
    return { timeoutMs: Math.min(Math.max(1, left), 2 ** 31 - 1) };
  }

  /** Bytes of its body are the budget's again when the answer has been sent. */
  readonly #onTaken = (numBytes: number) => {
    void this.closed.then(() => this.bodies.giveBack(numBytes));
  };

  /**
   * The body, checked: null is the same as absent, and names that are not known are passed over.
   * @throws Problem 400, 413
   */
  async body<S extends z.ZodObject>(schema: S): Promise<z.output<S>> {
    const raw = await readJsonBody(this.req, schema, {
      maxBytes: this.config.maxBodyBytes,
      budget: this.bodies,
      onRead: () => tell(this.req, this.res),
      onTaken: this.#onTaken,
    });
    const unknown: string[] = [];
    for (const [name, value] of Object.entries(raw)) {
      if (value === null) delete raw[name];
      else if (!Object.hasOwn(schema.shape, name)) unknown.push(name.slice(0, 64));
    }
    if (unknown.length > 0) {
      const fields = { request_id: this.id, fields: unknown.slice(0, 32) };
      (this.config.logger ?? SILENT).debug(fields, 'unknown fields were passed over');
    }
    const parsed = schema.safeParse(raw, { error: sayIssue });
    if (parsed.success) {
      const { request_id: id } = parsed.data as { request_id?: string };
      if (id !== undefined && !this.#isNamed) this.#call(id);
      return parsed.data;
    }
    const issue = tellingIssue(parsed.error.issues);
    const param = memberOf(issue.path, this.errorForm);
    throw badRequest(param === '' ? issue.message : `${param}: ${issue.message}`, param || null);
  }

  /** What stands in front of the routes as the client names them: `rootPath`, or where Express
   * (which says it, and strips it) has mounted the handler. */
  get root(): string {
    const { baseUrl } = this.req as { baseUrl?: unknown };
    return this.config.rootPath || (typeof baseUrl === 'string' ? baseUrl : '');
  }

  get query(): URLSearchParams {
    return new URL(this.req.url ?? '/', 'http://x').searchParams;
  }

  json(value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): void {
    this.send(JSON.stringify(value), JSON_TYPE, status, headers);
  }

  /**
   * JSON in pieces, for what may be too long to be written in one turn of the event loop: no faster
   * than the client reads it, and with its length only where it is short.
   */
  async jsonParts(parts: Iterable<string>): Promise<void> {
    const { res } = this;
    const pacer = new Pacer(1);
    let text = '';
    for (const part of parts) {
      text += part;
      if (pacer.due()) await pacer.turn();
      if (text.length < PART_LENGTH) continue;
      if (res.writableEnded || res.destroyed) return;
      if (!res.headersSent) res.writeHead(200, { 'content-type': JSON_TYPE });
      res.write(text);
      text = '';
      await this.ready();
    }
    if (!res.headersSent) this.send(text, JSON_TYPE);
    else if (!res.writableEnded) res.end(text);
  }

  /** Waits for a client that reads slower than it is written to. */
  async ready(): Promise<void> {
    const { res, signal } = this;
    if (!res.writableNeedDrain || signal.aborted || res.destroyed) return;
    await once(res, 'drain', { signal }).catch(() => {});
  }

  send(
    text: string,
    type: string,
    status = 200,
    headers: Readonly<Record<string, string>> = {},
  ): void {
    if (this.res.headersSent || this.res.destroyed) return;
    const bytes = Buffer.from(text);
    this.res.writeHead(status, {
      ...headers,
      'content-type': type,
      'content-length': bytes.length,
    });
    this.res.end(this.req.method === 'HEAD' ? undefined : bytes);
  }

  /** A call knows what was left of the time for it; the client, what it asked for. */
  #inWhole(error: unknown): unknown {
    const isLate = isOctavoError(error) && error.code === 'ERR_TIMEOUT';
    if (!isLate || this.#limitMs === Number.POSITIVE_INFINITY) return error;
    return new Problem(408, `the request did not end within ${this.#limitMs} ms`);
  }

  /** Ends it with an error, in its protocol's form; within a stream that has begun, too. */
  fail(error: unknown): void {
    const problem = asProblem(this.#inWhole(error), this.structuredField, this.logprobsField);
    this.facts.error ??= problem.message;
    const isAnthropic = this.errorForm === 'anthropic';
    const body = isAnthropic ? anthropicBody(problem, this.id) : openaiBody(problem);
    if (this.res.headersSent) {
      if (!this.res.writableEnded) this.onLateError?.(body);
      return;
    }
    // Anthropic's clients know 529 as "overloaded", and try again.
    const status = isAnthropic && problem.status === 503 ? 529 : problem.status;
    this.json(body, status, problem.headers);
  }
}

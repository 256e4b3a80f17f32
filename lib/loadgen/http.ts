/** Requests to one server: a whole JSON answer, or the bytes of a stream with their times. */
import { once, setMaxListeners } from 'node:events';
import * as http from 'node:http';
import * as https from 'node:https';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { octavoError } from '../errors.js';
import type { Recording } from './recording.js';

export interface ClientOptions {
  /** http(s)://host:port, with or without /v1. */
  readonly baseUrl: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether a certificate that nobody signed will do. */
  readonly insecure?: boolean;
  /** Makes the connections, each for one request, in place of the system's. */
  readonly connect?: () => Duplex;
}

export interface JsonReply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Parsed where it is JSON, else its text. */
  readonly body: unknown;
}

export class HttpClient {
  readonly #base: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: http.Agent;
  readonly #connect: (() => Duplex) | undefined;

  constructor({ baseUrl, headers = {}, insecure = false, connect }: ClientOptions) {
    this.#base = parseBase(baseUrl);
    this.#headers = headers;
    this.#connect = connect;
    // Connections are as many as there are requests at once, and kept.
    this.#agent =
      this.#base.protocol === 'https:'
        ? new https.Agent({ keepAlive: true, rejectUnauthorized: !insecure })
        : new http.Agent({ keepAlive: true });
  }

  /**
   * @param body bytes of JSON are sent as they are
   * @throws the system's error (ECONNREFUSED …), or an AbortError
   */
  async json(
    method: 'GET' | 'POST',
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<JsonReply> {
    const isWritten = body === undefined || Buffer.isBuffer(body);
    const payload = isWritten ? body : Buffer.from(JSON.stringify(body));
    const response = await this.#request(method, path, payload, signal);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    let value: unknown = text;
    try {
      value = JSON.parse(text);
    } catch {
      // What is no JSON (a proxy's page) stays text.
    }
    return { status: response.statusCode as number, headers: response.headers, body: value };
  }

  /** Never rejects: what goes wrong stands in the recording. */
  async record(
    path: string,
    payload: Buffer,
    clock: () => number,
    signal?: AbortSignal,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Recording> {
    const recording: Recording = {
      sentAt: clock(),
      status: 0,
      chunks: [],
      times: [],
      error: null,
    };
    try {
      const onAnswer = (answer: http.IncomingMessage) => {
        recording.status = answer.statusCode as number;
        answer.on('data', (chunk: Buffer) => {
          recording.times.push(clock());
          recording.chunks.push(chunk);
        });
      };
      const response = await this.#request('POST', path, payload, signal, onAnswer, headers);
      await finished(response);
    } catch (error) {
      recording.error = describe(error as NodeJS.ErrnoException);
    }
    return recording;
  }

  /** Closes what is kept open. */
  close(): void {
    this.#agent.destroy();
  }

  /** @param onAnswer is called at once when the head of the answer is there */
  async #request(
    method: string,
    path: string,
    payload: Buffer | undefined,
    signal: AbortSignal | undefined,
    onAnswer: (response: http.IncomingMessage) => void = () => {},
    headers: Readonly<Record<string, string>> = {},
  ): Promise<http.IncomingMessage> {
    for (let attempt = 0; ; attempt++) {
      const request = this.#open(method, path, payload, signal, headers);
      const answered = once(request, 'response') as Promise<[http.IncomingMessage]>;
      // An error of the request after its answer shows in the answer too.
      request.on('error', () => {});
      request.on('response', (response) => {
        // It may fail before whoever awaits it looks; then it is errored, which they see.
        response.on('error', () => {});
        onAnswer(response);
      });
      request.end(payload);
      try {
        const [response] = await answered;
        return response;
      } catch (error) {
        // A kept connection that the server closes just now took nothing: a new one does.
        const stale = (error as NodeJS.ErrnoException).code === 'ECONNRESET';
        if (!stale || !request.reusedSocket || attempt > 0) throw error;
      }
    }
  }

  #open(
    method: string,
    path: string,
    payload: Buffer | undefined,
    signal: AbortSignal | undefined,
    headers: Readonly<Record<string, string>>,
  ): http.ClientRequest {
    const url = joinUrl(this.#base, path);
    const { request } = url.protocol === 'https:' ? https : http;
    // All requests of a run listen to one signal.
    if (signal) setMaxListeners(0, signal);
    return request(url, {
      method,
      ...(this.#connect ? { createConnection: this.#connect } : { agent: this.#agent }),
      signal,
      headers: {
        accept: 'application/json, text/event-stream',
        ...(payload && {
          'content-type': 'application/json',
          'content-length': payload.length,
        }),
        ...this.#headers,
        ...headers,
      },
    });
  }
}

function parseBase(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url && ['http:', 'https:'].includes(url.protocol)) return url;
  throw octavoError('ERR_INVALID_PARAM', `--base-url must be http(s)://host:port, not ${text}`, {
    param: 'base-url',
  });
}

/** Clients write the base with and without /v1, paths always have it. */
function joinUrl(base: URL, path: string): URL {
  const root = base.pathname.replace(/\/+$/, '');
  const doubled = root.endsWith('/v1') && path.startsWith('/v1/');
  return new URL(`${base.origin}${doubled ? root.slice(0, -'/v1'.length) : root}${path}`);
}

/** What to do about an error of TLS, which the next request would end with as well; else null. */
export function tlsAdvice({ code: given, message }: NodeJS.ErrnoException): string | null {
  // An exception of the DOM (an abort) has a number.
  const code = String(given);
  // Node's words for a certificate: CERT_HAS_EXPIRED, SELF_SIGNED_CERT_IN_CHAIN …
  if (/CERT|^UNABLE_TO_VERIFY_LEAF_SIGNATURE$/.test(code)) {
    return `the certificate is refused (${code}: ${message}); --insecure takes any`;
  }
  if (code !== 'EPROTO' && !code.startsWith('ERR_SSL_')) return null;
  return `no TLS that this side knows is spoken there (${code}); try http:// in place of https://`;
}

/** A sentence for an error of the network. */
export function describe(error: NodeJS.ErrnoException & { errors?: readonly Error[] }): string {
  if (error.name === 'AbortError') return 'aborted';
  const advice = tlsAdvice(error);
  if (advice !== null) return advice;
  if (error.code === 'ECONNRESET') return `the connection was cut (${error.message})`;
  // localhost is two addresses, and the error of both has no words of its own.
  return error.message || error.errors?.[0]?.message || error.code || String(error);
}

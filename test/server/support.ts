/** A server of the demo model on loopback, and what tests ask of it. */
import { createServer as createHttp, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { EngineOptions } from '../../lib/index.js';
import { LLM } from '../../lib/index.js';
import { createServer, type Handler, type ServerOptions } from '../../lib/server/index.js';
import { until } from '../support/until.js';

/** Whatever was said in JSON. */
export type Json = ReturnType<typeof JSON.parse>;

export interface TestServer {
  readonly llm: LLM;
  readonly handler: Handler;
  readonly http: Server;
  readonly url: string;
  readonly port: number;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  /** The JSON of an answer that must have this status. */
  json(path: string, body: unknown, status?: number): Promise<Json>;
  /** The frames of a stream, as they stand on the wire. */
  frames(path: string, body: object): Promise<string[]>;
  /** Until nothing runs and all blocks are free. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

export async function listen(handler: Parameters<typeof createHttp>[1]): Promise<Server> {
  const http = createHttp(handler);
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return http;
}

export const portOf = (http: Server) => (http.address() as AddressInfo).port;

export async function serveDemo(
  options: ServerOptions = {},
  engine: EngineOptions = {},
): Promise<TestServer> {
  return serveModels({ 'octavo-demo': await LLM.load({ seed: 1, ...engine }) }, options);
}

/** A server of these, one or several by name; they are closed with it. */
export async function serveModels(
  models: Readonly<Record<string, LLM>>,
  options: ServerOptions = {},
): Promise<TestServer> {
  const all = Object.values(models);
  const [llm] = all;
  const handler = createServer(all.length === 1 ? llm : models, options);
  const http = await listen(handler);
  const port = portOf(http);
  const url = `http://127.0.0.1:${port}`;
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(url + path, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    });
  return {
    ...{ llm, handler, http, url, port, post },
    async json(path, body, status = 200) {
      const response = await post(path, body);
      const text = await response.text();
      if (response.status !== status) throw new Error(`${path}: ${response.status} ${text}`);
      return JSON.parse(text);
    },
    async frames(path, body) {
      const response = await post(path, { ...body, stream: true });
      const text = await response.text();
      if (response.status !== 200) throw new Error(`${path}: ${response.status} ${text}`);
      if (!text.endsWith('\n\n')) throw new Error(`a frame without end: ${text.slice(-200)}`);
      return text.slice(0, -2).split('\n\n');
    },
    idle: () =>
      until(() => {
        const areFree = all.every((one) => {
          const { numRequestsRunning, numRequestsWaiting, kvCacheUsage } = one.stats();
          return numRequestsRunning + numRequestsWaiting === 0 && kvCacheUsage === 0;
        });
        return areFree && handler.numActive === 0;
      }),
    async close() {
      handler.close();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
      for (const one of all) await one.close();
    },
  };
}

/** The data of bare frames; the last must be [DONE]. */
export function dataOf(frames: readonly string[]): Json[] {
  const lines = frames.map((frame) => {
    if (!/^data: [^\n]*$/.test(frame)) throw new Error(`not a bare frame: ${frame}`);
    return frame.slice(6);
  });
  if (lines.pop() !== '[DONE]') throw new Error('the stream has no end');
  return lines.map((line) => JSON.parse(line));
}

/** The data of frames with names. */
export function eventsOf(frames: readonly string[]): Json[] {
  return frames.map((frame) => {
    const [, name, data] = /^event: (\S+)\ndata: ([^\n]*)$/.exec(frame) ?? [];
    if (name === undefined) throw new Error(`not a named frame: ${frame}`);
    const event = JSON.parse(data);
    if (event.type !== name) throw new Error(`${name} has the type ${event.type}`);
    return event;
  });
}

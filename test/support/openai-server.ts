/** A small OpenAI server whose answers are scripted, chunk by chunk and fault by fault. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** Its body as it came. */
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of any form
  readonly body: any;
}

/** What to do with a request; it may leave the answer open, cut it, or wait for a test's word. */
export type Script = (asked: Asked, response: ServerResponse, index: number) => unknown;

export interface ScriptedServer {
  readonly url: string;
  readonly asked: Asked[];
  readonly server: Server;
  close(): Promise<void>;
}

/** @param script for all but /v1/models, and /tokenize where `words` count */
export async function scriptedServer(
  script: Script,
  { tokenize = false }: { tokenize?: boolean } = {},
): Promise<ScriptedServer> {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return; // The client went away.
    }
    const text = Buffer.concat(chunks).toString();
    const { method = '', url: path = '', headers } = request;
    const body = text === '' ? null : JSON.parse(text);
    const one: Asked = { method, path, headers, text, body };
    if (path === '/v1/models') return json(response, 200, { data: [{ id: 'org/scripted' }] });
    if (path === '/tokenize') {
      if (!tokenize) return json(response, 404, { error: { message: 'no such route' } });
      return json(response, 200, { tokens: wordIds(one.body.prompt) });
    }
    asked.push(one);
    await script(one, response, asked.length - 1);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A tokenizer of the server: a word of up to three letters is a token, longer ones are two. */
export function wordIds(text: string): number[] {
  const words = text.split(' ').filter((word) => word !== '');
  return words.flatMap((word) => {
    const id = 100 + (Buffer.from(word).reduce((hash, byte) => (hash * 31 + byte) % 9973, 7) % 997);
    return word.length > 3 ? [id, id + 1000] : [id];
  });
}

export function json(response: ServerResponse, status: number, body: unknown, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

export const event = (data: unknown) =>
  `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;

export const completionChunk = (text: string, finish: string | null = null) =>
  event({ object: 'text_completion', choices: [{ index: 0, text, finish_reason: finish }] });

export const chatChunk = (delta: object, finish: string | null = null) =>
  event({ object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] });

export const usageChunk = (prompt: number, completion: number) =>
  event({
    choices: [],
    usage: { prompt_tokens: prompt, completion_tokens: completion },
  });

/** Writes parts one after another, each in a write of its own, then ends. */
export async function stream(response: ServerResponse, parts: readonly string[]): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const part of parts) {
    response.write(part);
    await new Promise((resolve) => setImmediate(resolve));
  }
  response.end();
}

/** A whole, well-formed completion of so many tokens. */
export function completion(tokens: number, promptTokens: number): string[] {
  const chunks = Array.from({ length: tokens }, (_, i) =>
    completionChunk(` t${i}`, i === tokens - 1 ? 'length' : null),
  );
  return [...chunks, usageChunk(promptTokens, tokens), event('[DONE]')];
}

/**
 * A hub on loopback: the answers of huggingface.co to what its clients ask, and a second server, on
 * a port of its own, that stands for the network which large files come from.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** Files by their paths. */
export type Contents = Readonly<Record<string, Buffer | string>>;

/** A repository: its commits by their ids, its branches and tags. */
export interface Repo {
  readonly commits: Record<string, Contents>;
  readonly refs: Record<string, string>;
  /** Who may have its files: everybody, whoever has a token, whoever was let in (`hf_in`). */
  readonly access?: 'private' | 'gated';
}

/** What goes wrong with a request for a file; undefined: nothing. */
export interface Fault {
  /** So many bytes come, then the connection breaks. */
  readonly dieAfter?: number;
  /** So many bytes come, then nothing, and the connection stays. */
  readonly stallAfter?: number;
  /** The answer ends in good order, but too early. */
  readonly truncateTo?: number;
  readonly status?: number;
  /** Something else in its place. */
  readonly content?: Buffer;
  readonly ignoreRange?: boolean;
  /** A pause before each so many bytes, that a client may be stopped within. */
  readonly slow?: { readonly bytes: number; readonly ms: number };
}

export interface Seen {
  readonly server: 'hub' | 'cdn';
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex');
const gitHash = (content: Buffer) =>
  createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');

/** As git attributes of most models have it. */
const isLfs = (path: string) => /\.(safetensors|gguf|bin)$/.test(path);

/** What stands in git for a large file. */
const pointerOf = (content: Buffer) =>
  Buffer.from(
    `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(content)}\nsize ${content.length}\n`,
  );

export function contentsOf(folder: string): Contents {
  const paths = (readdirSync(folder, { recursive: true }) as string[]).filter((path) =>
    statSync(join(folder, path)).isFile(),
  );
  return Object.fromEntries(paths.map((path) => [path, readFileSync(join(folder, path))]));
}

/** An id for a commit. */
export const commitId = (name: string) => createHash('sha1').update(name).digest('hex');

/** A repository with one commit. */
export function repoOf(contents: Contents, access?: Repo['access']): Repo {
  const id = commitId(Object.keys(contents).join());
  return { commits: { [id]: contents }, refs: { main: id }, ...(access && { access }) };
}

export class HubServer {
  readonly repos = new Map<string, Repo>();
  readonly seen: Seen[] = [];
  /** Asked of each request for bytes of a file, before it is answered. */
  fault: (path: string, request: Seen) => Fault | undefined = () => undefined;
  /** What the list says of a file's size, where that is not so. */
  listedSize: (path: string) => number | undefined = () => undefined;
  /** Entries of a page of a list. */
  pageSize = 1000;
  /** What the API answers instead. */
  apiStatus: number | undefined;
  /** A text that stands for what the API answers: another server's, say. */
  apiText: string | undefined;
  readonly #hub: Server;
  readonly #cdn: Server;

  private constructor() {
    this.#hub = createServer((request, response) => void this.#answer(request, response));
    this.#cdn = createServer((request, response) => void this.#serveBlob(request, response));
  }

  static async start(): Promise<HubServer> {
    const hub = new HubServer();
    for (const server of [hub.#hub, hub.#cdn]) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    return hub;
  }

  async close(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
  }

  get url(): string {
    return urlOf(this.#hub);
  }

  /** Requests for bytes of files. */
  get reads(): Seen[] {
    return this.seen.filter(({ server, path }) => server === 'cdn' || path.includes('/resolve/'));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', this.url);
    const seen = this.#note('hub', request);
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(pathname);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(pathname);
    if (api !== null && this.apiStatus !== undefined) {
      return refuse(response, this.apiStatus, '', 'The hub is down');
    }
    if (api !== null && this.apiText !== undefined) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(this.apiText);
      return;
    }
    const [, name = '', ...rest] = api ?? file ?? [];
    const repo = this.repos.get(name);
    const revision = decodeURIComponent(api ? rest[1] : (rest[0] ?? ''));
    const token = seen.authorization;
    if (repo === undefined || (repo.access === 'private' && token === undefined)) {
      return refuse(response, token === undefined ? 401 : 404, 'RepoNotFound', 'Not found');
    }
    const commit = repo.refs[revision] ?? revision;
    const contents = repo.commits[commit];
    if (contents === undefined) {
      return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
    }
    if (api !== null && rest[0] === 'revision') {
      return json(response, { _id: '1', id: name, sha: commit, gated: false, private: false });
    }
    if (api !== null) return this.#tree(response, pathname, searchParams, contents);
    if (repo.access === 'gated' && token !== 'Bearer hf_in') {
      const status = token === undefined ? 401 : 403;
      return refuse(response, status, 'GatedRepo', `Access to model ${name} is restricted`);
    }
    const path = rest[1].split('/').map(decodeURIComponent).join('/');
    const content = contents[path];
    if (content === undefined) return refuse(response, 404, 'EntryNotFound', 'Entry not found');
    this.#resolve(request, response, { commit, path, content: Buffer.from(content), seen });
  }

  /** A large file is elsewhere, a small one here. */
  #resolve(
    request: IncomingMessage,
    response: ServerResponse,
    { commit, path, content, seen }: Resolved,
  ): unknown {
    response.setHeader('x-repo-commit', commit);
    if (!isLfs(path)) {
      response.setHeader('etag', `"${gitHash(content)}"`);
      return this.#send(request, response, path, content, seen);
    }
    const key = sha256(content);
    this.#blobs.set(key, { path, content });
    response.setHeader('x-linked-etag', `"${key}"`);
    response.setHeader('x-linked-size', content.length);
    response.setHeader('etag', `"${gitHash(pointerOf(content))}"`);
    response.writeHead(302, { location: `${urlOf(this.#cdn)}/blobs/${key}?signed=1` }).end();
  }

  readonly #blobs = new Map<string, { readonly path: string; readonly content: Buffer }>();

  #serveBlob(request: IncomingMessage, response: ServerResponse): unknown {
    const seen = this.#note('cdn', request);
    const key = /^\/blobs\/(\w+)/.exec(request.url ?? '')?.[1] ?? '';
    const blob = this.#blobs.get(key);
    if (blob === undefined) return refuse(response, 403, '', 'AccessDenied');
    response.setHeader('etag', `"${key.slice(0, 32)}"`);
    this.#send(request, response, blob.path, blob.content, seen);
  }

  #send(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    whole: Buffer,
    seen: Seen,
  ): unknown {
    const fault = request.method === 'GET' ? this.fault(path, seen) : undefined;
    if (fault?.status !== undefined) return refuse(response, fault.status, '', 'as planned');
    const content = fault?.content ?? whole;
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const isPart = first !== undefined && !fault?.ignoreRange;
    const from = isPart ? Number(first) : 0;
    const end = isPart && last ? Math.min(Number(last) + 1, content.length) : content.length;
    if (isPart && from >= content.length) return refuse(response, 416, '', 'out of range');
    if (isPart) response.setHeader('content-range', `bytes ${from}-${end - 1}/${content.length}`);
    response.setHeader('accept-ranges', 'bytes');
    const bytes = content.subarray(from, end);
    if (fault?.truncateTo === undefined) response.setHeader('content-length', bytes.length);
    response.writeHead(isPart ? 206 : 200);
    if (request.method === 'HEAD') return response.end();
    void write(response, bytes, fault ?? {});
  }

  #tree(
    response: ServerResponse,
    pathname: string,
    query: URLSearchParams,
    contents: Contents,
  ): void {
    const start = Number(query.get('cursor') ?? 0);
    const files = Object.entries(contents).map(([path, text]) => {
      const content = Buffer.from(text);
      const pointer = pointerOf(content);
      const size = this.listedSize(path) ?? content.length;
      const lfs = { oid: sha256(content), size, pointerSize: pointer.length };
      return isLfs(path)
        ? { type: 'file', oid: gitHash(pointer), size, lfs, path }
        : { type: 'file', oid: gitHash(content), size, path };
    });
    const folders = new Set(files.flatMap(({ path }) => path.split('/').slice(0, -1)));
    const rows = [...folders].map((path) => ({
      ...{ type: 'directory', oid: commitId(path), size: 0, path },
    }));
    const all = [...rows, ...files];
    if (start + this.pageSize < all.length) {
      query.set('cursor', String(start + this.pageSize));
      response.setHeader('link', `<${this.url}${pathname}?${query}>; rel="next"`);
    }
    json(response, all.slice(start, start + this.pageSize));
  }

  #note(server: Seen['server'], { url = '', headers }: IncomingMessage): Seen {
    const { range, authorization } = headers;
    const seen = { server, path: url, range, authorization };
    this.seen.push(seen);
    return seen;
  }
}

interface Resolved {
  readonly commit: string;
  readonly path: string;
  readonly content: Buffer;
  readonly seen: Seen;
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function write(response: ServerResponse, bytes: Buffer, fault: Fault): Promise<void> {
  const { dieAfter, stallAfter, truncateTo, slow } = fault;
  const upTo = Math.min(bytes.length, dieAfter ?? stallAfter ?? truncateTo ?? bytes.length);
  const step = slow?.bytes ?? upTo;
  for (let at = 0; at < upTo && !response.destroyed; at += step) {
    if (slow) await new Promise((resolve) => setTimeout(resolve, slow.ms));
    const chunk = bytes.subarray(at, Math.min(at + step, upTo));
    await new Promise<void>((resolve) => response.write(chunk, () => resolve()));
  }
  if (dieAfter !== undefined) response.destroy();
  else if (stallAfter === undefined) response.end();
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function refuse(response: ServerResponse, status: number, code: string, error: string): void {
  if (code !== '') response.setHeader('x-error-code', code);
  response.setHeader('x-error-message', error);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
}

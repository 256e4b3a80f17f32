/** What is asked of a hub: a revision's commit, the list of its files, ranges of them. */
import { setTimeout as delay } from 'node:timers/promises';
import type { HubConfig } from '../config/hub.js';
import { isOctavoError, type OctavoError, octavoError } from '../errors.js';
import { isListed } from './cache.js';
import type { HubFile, ListedFile } from './files.js';

/** Pauses before a refused question is asked again, in milliseconds. */
const AGAIN_MS = [500, 1000];

/** The beginning of an answer. */
export interface Opened {
  /** It has all of the file, whatever was asked for. */
  readonly isWhole: boolean;
  /** Where it came from, behind all redirects. */
  readonly url: string;
}

export class HubApi {
  readonly #config: HubConfig;
  readonly #repo: string;
  readonly #signal: AbortSignal;

  constructor(config: HubConfig, repo: string, signal: AbortSignal) {
    this.#config = config;
    this.#repo = repo;
    this.#signal = signal;
  }

  /**
   * The commit that a branch or tag is at.
   * @throws ERR_MODEL_NOT_FOUND, ERR_MODEL_ACCESS, ERR_HUB
   */
  async commit(revision: string): Promise<string> {
    const { modelInfo } = await import('@huggingface/hub');
    const { sha } = await this.#ask((fetch) =>
      modelInfo({ ...this.#where(fetch), name: this.#repo, revision, additionalFields: ['sha'] }),
    );
    if (/^[0-9a-f]{40}$/.test(sha)) return sha;
    throw hubError(`${this.#config.endpoint} names no commit of ${this.#repo}; is it a hub?`);
  }

  /** All files of a commit. */
  async list(commit: string): Promise<ListedFile[]> {
    const { listFiles } = await import('@huggingface/hub');
    return this.#ask(async (fetch) => {
      const files: ListedFile[] = [];
      const repo = { type: 'model' as const, name: this.#repo };
      const query = { ...this.#where(fetch), repo, revision: commit, recursive: true };
      for await (const { type, path, size, oid = '', lfs, xetHash } of listFiles(query)) {
        if (type !== 'file') continue;
        const file = {
          ...{ path, size: lfs?.size ?? size, etag: lfs?.oid ?? oid },
          ...{ blobId: oid, lfsSha256: lfs?.oid, xetHash },
        };
        if (isListed(file)) files.push(file);
      }
      return files;
    });
  }

  urlOf(commit: string, { path }: HubFile): string {
    const file = path.split('/').map(encodeURIComponent).join('/');
    return `${this.#config.endpoint}/${this.#repo}/resolve/${commit}/${file}`;
  }

  /**
   * The bytes from `from` up to `end` (as it is when the answer opens) of a file. Nothing is tried
   * again here.
   * @param url of the hub, or where it sent us before
   * @throws ERR_MODEL_ACCESS, ERR_MODEL_NOT_FOUND, ERR_HUB; others where the answer breaks off
   */
  async *read(
    url: string,
    range: { readonly from: number; readonly end: number; readonly size: number },
    signal: AbortSignal,
    onOpen: (opened: Opened) => void,
  ): AsyncGenerator<Uint8Array> {
    const quiet = new AbortController();
    const { timeoutMs } = this.#config;
    const timer = setTimeout(() => {
      quiet.abort(new Error(`nothing came for ${timeoutMs / 1000} seconds`));
    }, timeoutMs);
    try {
      const { from, size } = range;
      const headers = new Headers({ 'accept-encoding': 'identity' });
      if (from > 0 || range.end < size) headers.set('range', `bytes=${from}-${range.end - 1}`);
      const response = await this.#fetch(url, {
        headers,
        signal: AbortSignal.any([signal, quiet.signal]),
      });
      if (!response.ok) throw await this.#refusal(response);
      const isWhole = response.status !== 206;
      if (!isWhole) checkRange(response, from, size);
      onOpen({ isWhole, url: response.url });
      let skip = isWhole ? from : 0;
      let left = range.end - from;
      for await (const all of (response.body ?? []) as AsyncIterable<Uint8Array>) {
        timer.refresh();
        const chunk = all.subarray(Math.min(skip, all.length)).subarray(0, left);
        skip -= Math.min(skip, all.length);
        left -= chunk.length;
        if (chunk.length > 0) yield chunk;
        if (left === 0 && isWhole && range.end < size) break;
      }
      if (left > 0) throw new Error('the answer ended too early');
    } catch (error) {
      throw quiet.signal.aborted ? quiet.signal.reason : error;
    } finally {
      clearTimeout(timer);
      quiet.abort();
    }
  }

  #where(fetch: typeof globalThis.fetch) {
    return { hubUrl: this.#config.endpoint, fetch };
  }

  /** A question of the API, asked again where the hub is busy or the connection was cut. */
  async #ask<T>(question: (fetch: typeof globalThis.fetch) => Promise<T>): Promise<T> {
    const { timeoutMs } = this.#config;
    for (let attempt = 0; ; attempt++) {
      const late = AbortSignal.timeout(timeoutMs);
      const signal = AbortSignal.any([this.#signal, late]);
      let isBusy = false;
      let isAnswered = false;
      try {
        return await question(async (url, init) => {
          const response = await this.#fetch(url as string, { ...init, signal });
          isAnswered = response.ok;
          if (isAnswered) return response;
          isBusy = response.status === 429 || response.status >= 500;
          throw await this.#refusal(response);
        });
      } catch (error) {
        this.#signal.throwIfAborted();
        if ((isBusy || isCut(error)) && attempt < AGAIN_MS.length) {
          await delay(AGAIN_MS[attempt], undefined, { signal: this.#signal });
          continue;
        }
        if (isOctavoError(error)) throw error;
        if (late.aborted) throw this.#unreachable(late.reason);
        throw isAnswered && !isCut(error) ? this.#notHub(error) : this.#unreachable(error);
      }
    }
  }

  /** A token is for the hub; whom it redirects to, fetch() tells nothing of it. */
  #fetch(url: string, init: RequestInit): Promise<Response> {
    const { token, endpoint } = this.#config;
    const headers = new Headers(init.headers);
    headers.set('user-agent', 'octavo');
    if (token !== undefined && new URL(url).origin === new URL(endpoint).origin) {
      headers.set('authorization', `Bearer ${token}`);
    }
    return fetch(url, { ...init, headers });
  }

  /** An answer that is none of a hub: a page of a proxy, say. */
  #notHub(error: unknown): OctavoError {
    const { message } = error as Error;
    const sentence = `${this.#config.endpoint} answers otherwise than a hub (${message})`;
    return hubError(`${sentence}; check HF_ENDPOINT, and what stands between`, error);
  }

  #unreachable(error: unknown): OctavoError {
    const { message, cause } = error as Error;
    const why = (cause as Error | undefined)?.message || message;
    const sentence =
      `cannot reach ${this.#config.endpoint}: ${why}; check the network and HF_ENDPOINT ` +
      '(HF_HUB_OFFLINE=1 uses only what was downloaded before)';
    return hubError(sentence, error);
  }

  /** The error that an answer means. */
  async #refusal(response: Response): Promise<OctavoError> {
    const { status, headers } = response;
    const said = await saidIn(response);
    const { endpoint, token } = this.#config;
    const code = headers.get('x-error-code') ?? '';
    const repo = this.#repo;
    if (code === 'GatedRepo') {
      const next = token === undefined ? 'set HF_TOKEN to a token of' : 'give HF_TOKEN of';
      return access(
        `${repo} is gated: ask for access and accept its licence at ${endpoint}/${repo}, then ` +
          `${next} the account that did`,
      );
    }
    if (code === 'RevisionNotFound') return noModel(`${endpoint} has no such revision of ${repo}`);
    if (code === 'EntryNotFound') return noModel(`${endpoint} has no ${response.url} any more`);
    if (code === 'RepoNotFound' || status === 404 || (status === 401 && token === undefined)) {
      const next =
        token === undefined ? 'if it is private, set HF_TOKEN' : 'or HF_TOKEN may not see it';
      return noModel(`${endpoint} has no model ${repo}; check the name (${next})`);
    }
    if (status === 401) {
      return access(
        `${endpoint} does not take this HF_TOKEN: ${said}; make a new one, or unset it`,
      );
    }
    if (status === 403) return access(`${endpoint} does not give ${repo}: ${said}`);
    if (status === 429)
      return hubError(`${endpoint} is asked too often; try again later (${said})`);
    return hubError(`${endpoint} answers ${status}: ${said}`);
  }
}

/** A connection that was kept from before and has ended, say. */
function isCut(error: unknown): boolean {
  const { code } = ((error as Error).cause ?? {}) as { code?: unknown };
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}

function checkRange({ headers }: Response, from: number, size: number): void {
  const range = headers.get('content-range') ?? '';
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(range) ?? [];
  if (Number(start) === from && (total === '*' || Number(total) === size)) return;
  throw hubError(`asked for bytes from ${from} of ${size}, the hub sends ${range || 'others'}`);
}

async function saidIn(response: Response): Promise<string> {
  const text = await response.text().catch(() => '');
  const header = response.headers.get('x-error-message');
  if (header !== null) return header;
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    if (typeof error === 'string') return error;
  } catch {}
  return response.statusText || `status ${response.status}`;
}

export function hubError(sentence: string, cause?: unknown): OctavoError {
  return octavoError('ERR_HUB', sentence, { param: 'model', cause });
}

function noModel(sentence: string): OctavoError {
  return octavoError('ERR_MODEL_NOT_FOUND', sentence, { param: 'model' });
}

function access(sentence: string): OctavoError {
  return octavoError('ERR_MODEL_ACCESS', sentence, { param: 'model' });
}

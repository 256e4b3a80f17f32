/**
 * One file, from the hub to its blob. Parts of it come side by side and are written in their order,
 * so what is on disk is always its beginning: a download that broke off goes on behind it, here as
 * in Python's older clients, and the hash of what is written is known at its end.
 */
import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { isOctavoError, octavoError } from '../errors.js';
import { type HubApi, hubError } from './api.js';
import type { HubFile } from './files.js';
import type { Permits } from './permits.js';

/** What one request asks for. Of parts that come behind others' so much may be lost at an end. */
const PART_BYTES = 8 * 2 ** 20;
const READ_BYTES = 2 ** 20;
/** Tries of a part without one new byte. */
const MAX_FAILURES = 5;

/** What all files of a model are downloaded with. */
export interface Downloading {
  readonly api: HubApi;
  /** For parts that are read and not yet written. */
  readonly permits: Permits;
  readonly signal: AbortSignal;
  /** So many more bytes are on disk. */
  readonly onBytes: (count: number) => void;
}

/**
 * Whoever else does the same writes the same; the last step is one of the file system's.
 * @param blob its place once it is whole; until then `.incomplete` stands behind its name
 * @throws ERR_CHECKSUM, ERR_HUB, ERR_MODEL_ACCESS, ERR_MODEL_NOT_FOUND
 */
export async function downloadFile(
  file: HubFile,
  url: string,
  blob: string,
  how: Downloading,
): Promise<void> {
  const incomplete = incompleteOf(blob);
  const hash = hashOf(file);
  const handle = await open(incomplete, constants.O_RDWR | constants.O_CREAT, 0o666);
  try {
    let at = await goOn(handle, file, hash, how);
    await receive(file, url, at, how, async (chunk) => {
      await writeAll(handle, chunk, at);
      at += chunk.length;
      hash.update(chunk);
      how.onBytes(chunk.length);
    });
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (hash.digest('hex') !== file.etag) {
    await rm(incomplete, { force: true });
    const kind = file.etag.length === 64 ? 'SHA-256' : 'hash';
    const sentence =
      `${file.path} does not have the ${kind} that the hub lists, and was deleted; the same call ` +
      'downloads it anew';
    throw octavoError('ERR_CHECKSUM', sentence, { param: file.path });
  }
  try {
    await rename(incomplete, blob);
  } catch (error) {
    // Somebody else was there first.
    if ((await stat(blob).catch(() => null)) === null) throw error;
  }
}

/** How much of a file an earlier download left. */
export async function leftOf(blob: string, { size }: HubFile): Promise<number> {
  const info = await stat(incompleteOf(blob)).catch(() => null);
  return info === null || info.size > size ? 0 : info.size;
}

function incompleteOf(blob: string): string {
  return `${blob}.incomplete`;
}

/** Large files go by SHA-256, others by git's hash of a blob. */
function hashOf({ etag, size }: HubFile): Hash {
  if (etag.length === 64) return createHash('sha256');
  return createHash('sha1').update(`blob ${size}\0`);
}

/** What is there already, hashed. */
async function goOn(
  handle: FileHandle,
  { size }: HubFile,
  hash: Hash,
  { signal, onBytes }: Downloading,
): Promise<number> {
  const there = (await handle.stat()).size;
  if (there > size) {
    await handle.truncate(0);
    return 0;
  }
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, there));
  let at = 0;
  while (at < there) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, there - at), at);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  onBytes(at);
  return at;
}

async function writeAll(handle: FileHandle, chunk: Uint8Array, at: number): Promise<void> {
  let done = 0;
  while (done < chunk.length) {
    const { bytesWritten } = await handle.write(chunk, done, chunk.length - done, at + done);
    done += bytesWritten;
  }
}

/** Reads what is missing of a file, the parts side by side, and hands it on in order. */
async function receive(
  file: HubFile,
  url: string,
  start: number,
  how: Downloading,
  sink: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const parts: Part[] = [];
  for (let from = start; from < file.size; from += PART_BYTES) {
    parts.push(new Part(from, Math.min(from + PART_BYTES, file.size)));
  }
  const stop = new AbortController();
  const signal = AbortSignal.any([how.signal, stop.signal]);
  const source: Source = { file, url, location: undefined, api: how.api };
  const running: Promise<void>[] = [];
  let numHeld = 0;
  const launched = (async () => {
    for (let i = 0; i < parts.length; i++) {
      await how.permits.acquire(signal);
      numHeld++;
      // Who does not serve ranges sends all of it at once.
      const onWhole = () => {
        if (i > 0) return;
        parts.splice(1);
        parts[0].end = file.size;
      };
      const opened = new Promise<void>((resolve) => {
        running.push(fill(parts[i], source, signal, () => resolve(), onWhole).finally(resolve));
      });
      if (i === 0) await opened;
    }
  })();
  launched.catch((error) => {
    for (const part of parts) part.fail(error);
  });
  try {
    for (let i = 0; i < parts.length; i++) {
      for await (const chunk of parts[i].chunks()) {
        how.signal.throwIfAborted();
        await sink(chunk);
      }
      numHeld--;
      how.permits.release();
    }
  } finally {
    stop.abort();
    await launched.catch(() => {});
    await Promise.all(running);
    for (; numHeld > 0; numHeld--) how.permits.release();
  }
}

/** A stretch of a file: filled by one, emptied by another. */
class Part {
  received = 0;
  readonly #chunks: Uint8Array[] = [];
  #error: { readonly error: unknown } | null = null;
  #wake: () => void = () => {};

  constructor(
    readonly from: number,
    public end: number,
  ) {}

  push(chunk: Uint8Array): void {
    this.received += chunk.length;
    this.#chunks.push(chunk);
    this.#wake();
  }

  fail(error: unknown): void {
    this.#error ??= { error };
    this.#wake();
  }

  /** @throws what it failed with, behind all that came before */
  async *chunks(): AsyncGenerator<Uint8Array> {
    for (let taken = 0; taken < this.end - this.from; ) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        taken += chunk.length;
        yield chunk;
      } else if (this.#error !== null) {
        throw this.#error.error;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

/** Where a file is read from. */
interface Source {
  readonly file: HubFile;
  readonly url: string;
  /** Where the hub sent us; it may hold for a while only. */
  location: string | undefined;
  readonly api: HubApi;
}

/** Reads a part, again from where it broke off; never rejects, as the part has its error. */
async function fill(
  part: Part,
  source: Source,
  signal: AbortSignal,
  onOpen: () => void,
  onWhole: () => void,
): Promise<void> {
  const { api, file, url } = source;
  for (let failures = 0; ; ) {
    const before = part.received;
    const from = part.from + before;
    const target = source.location ?? url;
    try {
      const range = { from, end: part.end, size: file.size };
      const chunks = api.read(target, range, signal, (opened) => {
        if (opened.isWhole) onWhole();
        range.end = part.end;
        if (opened.url !== '' && opened.url !== url) source.location = opened.url;
        onOpen();
      });
      for await (const chunk of chunks) part.push(chunk);
      if (part.from + part.received >= part.end) return;
    } catch (error) {
      if (signal.aborted) return part.fail(signal.reason);
      const moved = target !== url;
      source.location = undefined;
      if (isOctavoError(error) && error.code !== 'ERR_HUB' && !moved) return part.fail(error);
      failures = part.received > before ? 0 : failures + 1;
      if (failures === MAX_FAILURES) return part.fail(brokenOff(file, from, error));
      // A link that ran out is no reason to wait.
      const pause = failures === 0 || (moved && failures === 1) ? 0 : 100 * 2 ** failures;
      await delay(pause, undefined, { signal }).catch(() => {});
      if (signal.aborted) return part.fail(signal.reason);
    }
  }
}

function brokenOff({ path, size }: HubFile, at: number, error: unknown) {
  const { message, cause } = error as Error;
  const why = (cause as Error | undefined)?.message || message;
  const sentence =
    `${path} broke off at byte ${at} of ${size}: ${why}; what has come stays, and the same call ` +
    'goes on from there';
  return hubError(sentence, error);
}

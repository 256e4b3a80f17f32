/** Reading model files: whole small ones, and pieces of large ones, always within bounds. */
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { isOctavoError, type OctavoError, octavoError } from '../errors.js';

/** Largest JSON file that is read whole, in bytes. */
const MAX_JSON_BYTES = 256 * 2 ** 20;

/** Makes (does not throw) the error of a damaged file; `field` names the place in it. */
export function damaged(file: string, field: string, why: string): OctavoError {
  return octavoError('ERR_MODEL_FORMAT', `${file}: ${field} ${why}`, { param: field });
}

/** Makes (does not throw) the error of something this version does not know. */
export function unsupported(file: string, what: string): OctavoError {
  return octavoError('ERR_MODEL_UNSUPPORTED', `${file}: ${what} is not supported by this version`);
}

/**
 * The text of a file that must not be larger than 256 MiB.
 * @throws ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT
 */
export function readText(path: string): Promise<string> {
  return withFile(path, async (file) => {
    if (file.size > MAX_JSON_BYTES) throw damaged(path, 'the file', 'is larger than 256 MiB');
    return (await readExactly(file, path, 0, file.size)).toString('utf8');
  });
}

/** A JSON file whose value is an object. */
export async function readJsonObject(path: string): Promise<Record<string, unknown>> {
  return parseObject(await readText(path), path);
}

/** A JSON file whose value is a list. */
export async function readJsonArray(path: string): Promise<unknown[]> {
  const value = parsed(await readText(path), path);
  if (!Array.isArray(value)) throw damaged(path, 'the JSON', 'must be a list');
  return value;
}

export function parseObject(text: string, path: string): Record<string, unknown> {
  const value = parsed(text, path);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw damaged(path, 'the JSON', 'must be an object');
  }
  return value as Record<string, unknown>;
}

function parsed(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const endless = withEndless(text);
    if (endless !== text) return parsed(endless, path);
    throw damaged(path, 'the JSON', `is damaged: ${(cause as Error).message}`);
  }
}

/** JSON has no infinity, but Python writes it: as a number that no float holds. */
function withEndless(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"|\bInfinity\b/g, (found) =>
    found === 'Infinity' ? '1e999' : found,
  );
}

/** A regular file, open for reading, with its size. */
export interface OpenFile {
  readonly handle: FileHandle;
  readonly size: number;
}

/**
 * Opens a file, hands it to `use`, closes it whatever happens. Anything but a regular file is
 * refused before it is opened, and opening never waits: a FIFO would, for whoever writes to it.
 * @throws ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT
 */
export async function withFile<T>(path: string, use: (file: OpenFile) => Promise<T>): Promise<T> {
  const handle = await openRegular(path);
  try {
    const info = await handle.stat();
    if (!info.isFile()) throw notRegular(path);
    return await use({ handle, size: info.size });
  } finally {
    await handle.close();
  }
}

async function openRegular(path: string): Promise<FileHandle> {
  try {
    if (!(await stat(path)).isFile()) throw notRegular(path);
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    if (isOctavoError(cause)) throw cause;
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw octavoError(
      missing ? 'ERR_MODEL_NOT_FOUND' : 'ERR_MODEL_FORMAT',
      missing ? `${path} does not exist` : `${path} cannot be opened: ${(cause as Error).message}`,
      { cause },
    );
  }
}

function notRegular(path: string): OctavoError {
  return damaged(path, 'the path', 'is not a regular file');
}

/** Reads exactly `length` bytes at `offset`, which the caller has checked against the size. */
export async function readExactly(
  { handle }: OpenFile,
  path: string,
  offset: number,
  length: number,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) throw damaged(path, 'the file', 'ends too early');
    done += bytesRead;
  }
  return buffer;
}

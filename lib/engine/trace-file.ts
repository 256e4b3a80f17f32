/** A trace of the scheduler in a file: one JSON object a line, each with the time it happened. */
import { close as closeFd, constants, createWriteStream, fstat, open } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import type { TraceEvent, TraceSink } from '../core/trace.js';
import { octavoError } from '../errors.js';

export interface TraceWriter {
  readonly sink: TraceSink;
  /** Resolves when everything is in the file, or cannot get there. */
  close(): Promise<void>;
}

/** Bytes of lines that may wait for a slow disk or reader; beyond that the trace ends. */
const MAX_WAITING_BYTES = 64 * 2 ** 20;

/** How long `close()` waits for a pipe's reader, in ms. */
const CLOSE_MS = 2000;

/**
 * A pipe without a reader is refused, not waited for; while it has one, what it does not read waits
 * in memory. A full disk, or a reader that leaves or falls behind, ends the trace with a warning,
 * not the service.
 * @throws ERR_FILE when the file cannot be written
 */
export async function openTrace(path: string): Promise<TraceWriter> {
  const { stream, isPipe } = await openForWriting(path);
  let hasEnded = false;
  let closing: Promise<void> | null = null;
  const endHere = (why: string) => {
    if (hasEnded) return;
    hasEnded = true;
    stream.destroy();
    process.emitWarning(`octavo: the trace ${path} ends here: ${why}`);
  };
  stream.on('error', (error) => endHere(error.message));
  const closed = new Promise<void>((resolve) => {
    stream.once('close', resolve);
  });
  const finish = async () => {
    const timer = isPipe ? setTimeout(endHere, CLOSE_MS, 'its reader does not read on') : undefined;
    stream.end();
    await closed;
    clearTimeout(timer);
  };
  const start = performance.now();
  return {
    sink(event) {
      if (hasEnded || closing) return;
      const ms = Math.round((performance.now() - start) * 1000) / 1000;
      stream.write(`${JSON.stringify({ ...event, ms })}\n`);
      if (stream.writableLength > MAX_WAITING_BYTES) endHere('it is written faster than read');
    },
    close() {
      closing ??= hasEnded ? closed : finish();
      return closing;
    },
  };
}

/** Never waits for the reader of a pipe, neither here nor when something is written. */
async function openForWriting(path: string): Promise<{ stream: Writable; isPipe: boolean }> {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NONBLOCK } = constants;
  let fd: number | null = null;
  try {
    fd = await promisify(open)(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0o666);
    const isPipe = (await promisify(fstat)(fd)).isFIFO();
    if (!isPipe) return { stream: createWriteStream(path, { fd }), isPipe };
    const socket = new Socket({ fd, readable: false, writable: true });
    socket.unref();
    return { stream: socket, isPipe };
  } catch (cause) {
    if (fd !== null) await promisify(closeFd)(fd);
    const isUnread = (cause as { code?: string }).code === 'ENXIO';
    throw fileError(path, 'written', isUnread ? new Error('nobody reads it') : (cause as Error));
  }
}

/** @throws ERR_FILE, naming the line that is not JSON */
export async function readTrace(path: string): Promise<TraceEvent[]> {
  let content: string;
  try {
    content = await readFile(path, 'utf8');
  } catch (cause) {
    throw fileError(path, 'read', cause as Error);
  }
  const lines = content.split('\n');
  // A process that was killed leaves half a line at the end.
  const end = lines[lines.length - 1] === '' ? lines.length : lines.length - 1;
  return lines.slice(0, end).flatMap((line, i) => {
    if (line === '') return [];
    try {
      return [JSON.parse(line) as TraceEvent];
    } catch (cause) {
      throw octavoError('ERR_FILE', `${path}, line ${i + 1}: not JSON`, {
        param: `line ${i + 1}`,
        cause,
      });
    }
  });
}

function fileError(path: string, what: string, cause: Error): Error {
  return octavoError('ERR_FILE', `the trace ${path} cannot be ${what}: ${cause.message}`, {
    param: path,
    cause,
  });
}

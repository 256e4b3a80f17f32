/** `octavo generate --events`: KV and scheduler figures as JSON lines. */
import { once } from 'node:events';
import { constants, createWriteStream, type WriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { LLM } from '../engine/llm.js';
import { octavoError } from '../errors.js';
import { reportError } from './report.js';

/** @throws ERR_FILE also for a FIFO that nobody reads, which opening would wait for without end */
export async function openEvents(path: string): Promise<WriteStream> {
  const { O_WRONLY, O_CREAT, O_NONBLOCK } = constants;
  try {
    // Held until the stream is open, or a FIFO's reader would see an end between the two.
    await using _held = await open(path, O_WRONLY | O_CREAT | O_NONBLOCK);
    const stream = createWriteStream(path);
    await once(stream, 'open');
    return stream;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw cannotWrite(path, code === 'ENXIO' ? 'nobody reads it' : message);
  }
}

/** One line a step; ends when the model is closed. A file that fails on the way is reported. */
export async function writeEvents(llm: LLM, file: WriteStream): Promise<void> {
  const lines = async function* () {
    for await (const event of llm.events()) yield `${JSON.stringify(event)}\n`;
  };
  try {
    await pipeline(lines, file);
  } catch (error) {
    reportError(cannotWrite(String(file.path), (error as Error).message));
  }
}

function cannotWrite(path: string, why: string): Error {
  return octavoError('ERR_FILE', `cannot write ${path}: ${why}`, { param: path });
}

/** A trace of the scheduler in a file: one JSON object a line, each with the time it happened. */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { TraceEvent, TraceSink } from '../core/trace.js';
import { octavoError } from '../errors.js';

export interface TraceWriter {
  readonly sink: TraceSink;
  /** Resolves when everything is in the file. */
  close(): Promise<void>;
}

/** @throws ERR_FILE when the file cannot be written */
export async function openTrace(path: string): Promise<TraceWriter> {
  const stream = createWriteStream(path);
  try {
    await once(stream, 'open');
  } catch (cause) {
    throw fileError(path, 'written', cause as Error);
  }
  // A full disk ends the trace, not the service.
  let failed = false;
  stream.on('error', (error) => {
    failed = true;
    process.emitWarning(`octavo: the trace ${path} ends here: ${error.message}`);
  });
  const start = performance.now();
  return {
    sink(event) {
      if (failed) return;
      const ms = Math.round((performance.now() - start) * 1000) / 1000;
      stream.write(`${JSON.stringify({ ...event, ms })}\n`);
    },
    async close() {
      if (failed) return;
      await new Promise<void>((resolve) => {
        stream.end(resolve);
      });
    },
  };
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

/** Lines of a file as bytes come, each with where it ends; never more than a few in memory. */
import { createReadStream } from 'node:fs';
import { octavoError } from '../errors.js';

export interface Line {
  /** 1 = the first. */
  readonly number: number;
  /** Without its end and the file's byte order mark; what is no UTF-8 in it became U+FFFD. */
  readonly text: string;
  /** Bytes of the file up to and with its end. */
  readonly end: number;
  /** Whether a newline ends it; only the last line can lack one. */
  readonly whole: boolean;
}

const NEWLINE = 10;

/** @throws ERR_FILE */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  let number = 0;
  let end = 0;
  let parts: Buffer[] = [];
  const line = (whole: boolean): Line => {
    const bytes = Buffer.concat(parts);
    parts = [];
    end += bytes.length + (whole ? 1 : 0);
    const marked = bytes.toString().replace(/\r$/, '');
    const text = number === 0 ? marked.replace(/^\uFEFF/, '') : marked;
    return { number: ++number, text, end, whole };
  };
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      let start = 0;
      for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, start)) {
        parts.push(chunk.subarray(start, at));
        yield line(true);
        start = at + 1;
      }
      if (start < chunk.length) parts.push(chunk.subarray(start));
    }
  } catch (cause) {
    const { message } = cause as Error;
    throw octavoError('ERR_FILE', `cannot read ${path}: ${message}`, { param: path, cause });
  }
  if (parts.length > 0) yield line(false);
}

/** The body of a request: bytes within a limit, then JSON, with integers of 64 bits kept. */
import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import { writtenMember } from '../text/json-members.js';
import type { BodyBudget } from './body-budget.js';
import { badRequest, Problem } from './problem.js';
import { int64Paths, type Path } from './schemas/int64.js';

const gone = () => new Problem(499, 'the client has gone');

/**
 * @throws Problem 413 beyond `maxBytes`, 503 beyond what all may hold: what still comes is read and
 * dropped then, or the client would not see the answer; 499 when the client has gone; 500 where
 * somebody else has read it
 */
function readBytes(
  req: IncomingMessage,
  maxBytes: number,
  take: (numBytes: number) => void,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const finish = (settle: () => void) => {
      req.off('data', add);
      req.resume();
      settle();
    };
    const add = (chunk: Buffer) => {
      length += chunk.length;
      try {
        if (length > maxBytes) throw tooLarge(maxBytes);
        take(chunk.length);
        chunks.push(chunk);
      } catch (error) {
        finish(() => reject(error));
      }
    };
    const fail = () => finish(() => reject(gone()));
    req.on('end', () => finish(() => resolve(Buffer.concat(chunks, length))));
    req.on('error', fail);
    req.on('close', fail);
    req.on('data', add);
  });
}

function tooLarge(maxBytes: number): Problem {
  return new Problem(413, `the body must have at most ${maxBytes} bytes`);
}

/** @throws Problem 415 for bytes that are no JSON before they are unpacked: nothing unpacks them */
function checkEncoding({ headers: { 'content-encoding': encoding } }: IncomingMessage): void {
  if (encoding === undefined || /^\s*(identity)?\s*$/i.test(encoding)) return;
  const sentence = `content-encoding ${encoding.slice(0, 100)}: bodies are read as they are; `;
  throw new Problem(415, `${sentence}send it without`, 'content-encoding', {
    'accept-encoding': 'identity',
  });
}

/** Of a stream that was read nothing comes any more, and nothing says so. */
function checkUnread(req: IncomingMessage): void {
  if (req.readableDidRead || req.readableEnded) {
    const sentence =
      'the body was read before octavo saw the request, and req.body does not have it; mount ' +
      'octavo before what reads bodies, or let that set req.body';
    throw new Problem(500, sentence);
  }
  if (req.destroyed) throw gone();
}

export interface BodyLimits {
  /** Of this one. */
  readonly maxBytes: number;
  /** Of all. */
  readonly budget: BodyBudget;
  /** Called when it is about to be read. */
  readonly onRead: () => void;
  /** Told of bytes that were taken from the budget: they are the caller's to give back. */
  readonly onTaken: (numBytes: number) => void;
}

/**
 * The JSON object that a request brings. Another framework may have read it already, and put it on
 * the request as `body`: text, bytes or the object itself.
 * @throws Problem 400, 413, 415, 503, 500
 */
export async function readJsonBody(
  req: IncomingMessage & { body?: unknown },
  schema: z.ZodObject,
  { maxBytes, budget, onRead, onTaken }: BodyLimits,
): Promise<Record<string, unknown>> {
  const given = givenBody(req);
  const paths = int64Paths(schema);
  if (given !== undefined && typeof given !== 'string' && !Buffer.isBuffer(given)) {
    return exactOnly(takeObject(given), paths);
  }
  if (given === undefined) {
    checkUnread(req);
    checkEncoding(req);
  }
  const announced = given?.length ?? Number(req.headers['content-length'] ?? 0);
  if (announced > maxBytes) throw tooLarge(maxBytes);
  budget.check(announced);
  onRead();
  const take = (numBytes: number) => {
    budget.take(numBytes);
    onTaken(numBytes);
  };
  const bytes = given ?? (await readBytes(req, maxBytes, take));
  return parseBody(typeof bytes === 'string' ? bytes : decodeUtf8(bytes), paths);
}

/** What another framework has read; an empty object may say no more than that it has not. */
function givenBody({ body, readableDidRead }: IncomingMessage & { body?: unknown }): unknown {
  const isEmpty = typeof body === 'object' && body !== null && Object.keys(body).length === 0;
  return body === null || (isEmpty && !readableDidRead) ? undefined : body;
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw badRequest('the body is not UTF-8');
  }
}

/**
 * @param paths of integers that keep all of their bits
 * @throws Problem 400
 */
export function parseBody(text: string, paths: readonly Path[]): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body is not JSON: ${(error as Error).message}`);
  }
  const body = takeObject(parsed);
  for (const path of paths) {
    if (!isRounded(valueAt(body, path))) continue;
    const written = writtenMember(text, path) ?? '';
    if (/^-?\d+$/.test(written)) setAt(body, path, BigInt(written));
  }
  return body;
}

function takeObject(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return { ...value };
  }
  throw badRequest('the body must be a JSON object');
}

/** @throws Problem 400 for an integer that may not be the one that was sent */
function exactOnly(body: Record<string, unknown>, paths: readonly Path[]) {
  for (const path of paths) {
    if (!isRounded(valueAt(body, path))) continue;
    const name = path.join('.');
    const sentence =
      `${name}: integers beyond 2^53 were rounded when this application parsed the body; send ` +
      'it as a string, or mount octavo before what parses JSON (express.json())';
    throw badRequest(sentence, name);
  }
  return body;
}

const isRounded = (value: unknown) => Number.isInteger(value) && !Number.isSafeInteger(value);

function valueAt(body: unknown, path: Path): unknown {
  let value = body;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

function setAt(body: Record<string, unknown>, path: Path, value: unknown): void {
  const inner = valueAt(body, path.slice(0, -1)) as Record<string, unknown>;
  inner[path[path.length - 1]] = value;
}

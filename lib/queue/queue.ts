/** What is asked of a broker, whichever it is: jobs go in, results wait until they are fetched. */
import { type OctavoError, octavoError } from '../errors.js';
import type { QueueAddress } from './address.js';

export interface Job {
  /** Of letters, digits and -; the same job has the same one. */
  readonly id: string;
  /** A line of OpenAI's batch input. */
  readonly text: string;
}

/** What became of a job. */
export type Found =
  | { readonly state: 'waiting' }
  /** The broker knows nothing of it. */
  | { readonly state: 'absent' }
  | { readonly state: 'done'; readonly line: string }
  /** It ended without a line: the broker gave it up. */
  | { readonly state: 'failed'; readonly message: string };

/** A job in the hands of a worker. */
export interface Delivery extends Job {
  /** 1 = the first time that anybody has it. */
  readonly attempt: number;
}

/** What a worker made of it: the line that is its result, or nothing, and it is to go back. */
export type Outcome = { readonly line: string } | { readonly againInMs: number };

export interface TakeOptions {
  /** Jobs at once. */
  readonly concurrency: number;
  /** A worker that is silent for so long has lost its jobs. */
  readonly ackWaitMs: number;
  /** Must not reject. */
  handle(delivery: Delivery): Promise<Outcome>;
  /** Somebody else had the same job, and its line counts. */
  onRepeated(id: string): void;
  /** Something that the broker refused; the taking goes on. */
  onTrouble(message: string): void;
}

/** Jobs are taken until it is stopped. */
export interface Taking {
  /** Takes no more; resolves when what was taken has been handled and the broker knows it. */
  stop(): Promise<void>;
}

export interface Broker {
  /** Longest text of a job or result, in bytes. */
  readonly maxBytes: number;
  /** Puts in what is not there yet; a job whose result waits is there. */
  put(jobs: readonly Job[]): Promise<void>;
  /** In the order of the ids. */
  look(ids: readonly string[]): Promise<Found[]>;
  /** Ids of all jobs that have a result. */
  done(): Promise<string[]>;
  /** Tells of jobs that have a result, soon, but perhaps not of all: look now and then. */
  listen(onDone: (id: string) => void): Promise<void>;
  /** Removes results, and jobs that nobody needs any more. */
  forget(ids: readonly string[]): Promise<void>;
  take(options: TakeOptions): Promise<Taking>;
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly address: QueueAddress;
  readonly name: string;
  /** The broker went away, or came back; it is waited for, however long. */
  onState(state: 'gone' | 'back'): void;
}

export function queueError(sentence: string, cause?: unknown): OctavoError {
  return octavoError('ERR_QUEUE', sentence, { param: 'queue', cause });
}

/**
 * Imports an optional package.
 * @throws ERR_INVALID_OPTION with what installs it
 */
export async function optional<T>(load: () => Promise<T>, packages: string): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause;
    const sentence = `--queue needs packages that are not installed: npm install ${packages}`;
    throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'queue', cause });
  }
}

/** A sentence for why nobody could be connected to. */
export function connectError({ shown }: QueueAddress, error: unknown, mend?: string): OctavoError {
  const { message, code, errors } = error as NodeJS.ErrnoException & { errors?: Error[] };
  // localhost is two addresses, and the error of both has no words of its own.
  const why = message || errors?.[0]?.message || code || String(error);
  const isTls = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(String(code ?? why));
  const advice = isTls ? 'NODE_EXTRA_CA_CERTS names a file with who signed it' : mend;
  return queueError(`cannot use ${shown}: ${why}${advice ? `; ${advice}` : ''}`, error);
}

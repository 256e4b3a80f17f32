/** The output of a batch: a line for each line of the input, in the order they are answered. */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, stat, truncate } from 'node:fs/promises';
import { octavoError } from '../errors.js';
import { linesOf } from './lines.js';

/** As OpenAI writes it; of a line that cannot be asked, the error says where it stands. */
export interface OutputLine {
  readonly id: string;
  readonly custom_id: string | null;
  readonly response: {
    readonly status_code: number;
    readonly request_id: string | null;
    readonly body: unknown;
  } | null;
  readonly error: {
    readonly code: string;
    readonly message: string;
    /** Of a line that is wrong: its number in the input. */
    readonly line?: number;
  } | null;
  /** Of a line that went through a queue and was tried more than once. */
  readonly metadata?: { readonly attempts: number };
}

/** An id for a line. */
export function newId(): string {
  return `batch_req_${randomUUID().replaceAll('-', '')}`;
}

/** What an output holds already. */
export interface Answered {
  /** custom_ids that were asked. */
  readonly ids: Set<string>;
  /** Numbers of lines that cannot be asked. */
  readonly badLines: Set<number>;
  failed: number;
}

export function isFailure({ response, error }: OutputLine): boolean {
  return error !== null || response === null || response.status_code >= 400;
}

/** What each line begins with: {@link OutputLine} is written with its members in this order. */
const BEGINNING = '{"id":"batch_req_';

/**
 * Reads an output that is there and cuts off what is torn: a last line without its newline, which
 * a process that was killed may leave. A file that is none counts as empty.
 * @throws ERR_FILE for a file that holds anything else, which is left as it is
 */
export async function readAnswered(path: string): Promise<Answered> {
  const answered: Answered = { ids: new Set(), badLines: new Set(), failed: 0 };
  const file = await open(path, 'a').catch((cause: Error) => {
    throw octavoError('ERR_FILE', `cannot write ${path}: ${cause.message}`, { param: path, cause });
  });
  // Only a regular file holds what was answered; a pipe or /dev/stdout cannot be resumed.
  const isFile = (await file.stat()).isFile();
  await file.close();
  if (!isFile) return answered;
  let end = 0;
  for await (const line of linesOf(path)) {
    const refusal = () =>
      octavoError(
        'ERR_FILE',
        `${path}, line ${line.number}: no line of a batch's output; name another file with -o`,
        { param: path },
      );
    if (!line.whole) {
      if (!isTorn(line.text)) throw refusal();
      await truncate(path, end);
      break;
    }
    take(answered, line.text, refusal);
    ({ end } = line);
  }
  return answered;
}

/** Whether a line may be the beginning of one of ours; only such a one is ours to cut off. */
function isTorn(text: string): boolean {
  return text.startsWith(BEGINNING) || BEGINNING.startsWith(text);
}

/**
 * Answers behind the questions would be read as questions.
 * @throws ERR_FILE where both names are of one file
 */
export async function checkDistinct(input: string, output: string): Promise<void> {
  // What is not there is no other's; who opens it says what is wrong with it.
  const statOf = (path: string) => stat(path, { bigint: true }).catch(() => null);
  const [a, b] = await Promise.all([statOf(input), statOf(output)]);
  // A terminal may well be both.
  if (!a?.isFile() || !b?.isFile() || a.dev !== b.dev || a.ino !== b.ino) return;
  const sentence = `${output} is the input as well; name another file with -o`;
  throw octavoError('ERR_FILE', sentence, { param: output });
}

function take(answered: Answered, text: string, refusal: () => Error): void {
  let value: Partial<OutputLine> | null;
  try {
    value = JSON.parse(text) as Partial<OutputLine> | null;
  } catch {
    throw refusal();
  }
  // A line of an input has a custom_id as well, but neither of these.
  if (typeof value !== 'object' || value === null) throw refusal();
  if (!('response' in value && 'error' in value)) throw refusal();
  const { custom_id: id = null, error = null, response = null } = value;
  if (typeof error?.line === 'number') answered.badLines.add(error.line);
  else if (typeof id === 'string') answered.ids.add(id);
  else throw refusal();
  if (isFailure({ id: '', custom_id: id, error, response })) answered.failed++;
}

/** Appends whole lines; what comes while one is written goes with the next write. */
export class OutputFile {
  #pending: string[] = [];
  #writing: Promise<void> | null = null;
  #syncing: Promise<void> | null = null;

  private constructor(readonly file: FileHandle) {}

  static async open(path: string): Promise<OutputFile> {
    return new OutputFile(await open(path, 'a'));
  }

  /** Resolves when the line is written. */
  async append(line: OutputLine): Promise<void> {
    this.#pending.push(`${JSON.stringify(line)}\n`);
    while (this.#pending.length > 0 || this.#writing) {
      this.#writing ??= this.#write();
      await this.#writing;
    }
  }

  async #write(): Promise<void> {
    const text = this.#pending.join('');
    this.#pending = [];
    try {
      await this.file.appendFile(text);
    } catch (cause) {
      const { message } = cause as Error;
      throw octavoError('ERR_FILE', `cannot write the output: ${message}`, { cause });
    } finally {
      this.#writing = null;
    }
  }

  /** Resolves when what was written before is on the disk; many that ask at once get one answer. */
  async sync(): Promise<void> {
    // One that is under way may have begun before the last write.
    await this.#syncing;
    this.#syncing ??= this.file
      .datasync()
      // A pipe or terminal keeps nothing.
      .catch(({ code, message }: NodeJS.ErrnoException) => {
        if (code === 'EINVAL' || code === 'ENOTSUP' || code === 'EROFS') return;
        throw octavoError('ERR_FILE', `cannot write the output: ${message}`);
      })
      .finally(() => {
        this.#syncing = null;
      });
    await this.#syncing;
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

/** A program that holds a model and answers lines of JSON, and stands still while not asked. */
import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { endWithUs, hasEnded } from '../support/end-with-us.js';
import type { Ask } from './cells.js';

export interface Program {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A line of a worker begins so; libraries print what they like between. */
const MARK = 'RESULT ';

interface Result {
  readonly seconds: number;
  readonly peakMiB: number;
  /** What it says of itself once it is loaded. */
  readonly about?: string;
  readonly error?: string;
}

export class LineWorker {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #log: string;
  peakMiB = 0;
  about = '';

  /** Loaded when this resolves. */
  static async start(command: Program, log: string): Promise<LineWorker> {
    const worker = new LineWorker(command, log);
    try {
      await worker.#next();
      worker.#hold();
      return worker;
    } catch (error) {
      worker.stop();
      throw error;
    }
  }

  private constructor({ program, args, env }: Program, log: string) {
    const err = openSync(log, 'w');
    this.#log = log;
    this.#child = spawn(program, args, {
      stdio: ['pipe', 'pipe', err],
      env: { ...process.env, ...env },
    });
    this.#child.on('error', () => {}); // its output ends, which is told
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    endWithUs(this);
  }

  /** Seconds. One at a time, here and among all workers. */
  async ask(ask: Ask): Promise<number> {
    this.#child.kill('SIGCONT');
    try {
      this.#child.stdin!.write(`${JSON.stringify(ask)}\n`);
      return (await this.#next()).seconds;
    } finally {
      this.#hold();
    }
  }

  stop(): void {
    hasEnded(this);
    this.#child.kill('SIGKILL');
  }

  #hold(): void {
    this.#child.kill('SIGSTOP');
  }

  async #next(): Promise<Result> {
    for (;;) {
      const { done, value } = await this.#lines.next();
      if (done) throw new Error(`it ended; see ${this.#log}`);
      const at = value.indexOf(`${MARK}{`);
      if (at < 0) continue;
      const result = JSON.parse(value.slice(at + MARK.length)) as Result;
      if (result.error !== undefined) throw new Error(result.error);
      this.peakMiB = Math.max(this.peakMiB, result.peakMiB);
      this.about = result.about ?? this.about;
      return result;
    }
  }
}

/** Lines of a terminal, edited and with a history, and lines of a pipe. */
import { createInterface, type Interface } from 'node:readline';
import { type Readable, Writable } from 'node:stream';
import { CANCELLED, type Lines } from './chat-entries.js';
import { linesOf } from './prompt-input.js';

/** Lines that the arrow keys bring back. */
const HISTORY = 1000;

/** A terminal to write on, or something that acts like one. */
export type Screen = Writable & {
  readonly isTTY?: boolean;
  readonly columns?: number;
  hasColors?(): boolean;
};

/** What a chat reads from, and how it ends. */
export interface ChatLines extends Lines {
  /** Takes back what is typed; its reader gets {@link CANCELLED}. */
  cancel(): void;
  /** Nothing is read any more; whoever reads gets null. */
  close(): void;
}

/** What a chat hears of its lines. */
export interface LineEvents {
  /** A line has come. */
  onLine(): void;
  /** Ctrl-C. */
  onInterrupt(): void;
}

/** Passes on what readline draws, but while an answer is being written. */
class Curtain extends Writable {
  readonly isTTY = true;
  isDown = true;
  readonly #screen: Screen;

  constructor(screen: Screen) {
    super({ decodeStrings: false });
    this.#screen = screen;
    screen.on('resize', this.#onResize);
  }

  get columns(): number {
    return this.#screen.columns ?? 80;
  }

  readonly #onResize = () => this.emit('resize');

  override _write(chunk: string, _encoding: string, done: () => void): void {
    if (!this.isDown) this.#screen.write(chunk);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#screen.off('resize', this.#onResize);
    done(error);
  }
}

/** What is typed while an answer comes is kept, and shown behind the next prompt. */
export class TerminalLines implements ChatLines {
  readonly #curtain: Curtain;
  readonly #readline: Interface;
  readonly #queue: string[] = [];
  #isClosed = false;
  #resolve: ((line: string | null | typeof CANCELLED) => void) | null = null;

  constructor(input: Readable, screen: Screen, events: LineEvents) {
    this.#curtain = new Curtain(screen);
    this.#readline = createInterface({
      input,
      output: this.#curtain,
      terminal: true,
      historySize: HISTORY,
      removeHistoryDuplicates: true,
    });
    this.#readline.on('line', (line) => {
      events.onLine();
      if (this.#resolve === null) this.#queue.push(line);
      else this.#give(line);
    });
    this.#readline.on('SIGINT', () => events.onInterrupt());
    this.#readline.on('close', () => {
      this.#isClosed = true;
      if (this.#resolve !== null) screen.write('\n');
      this.#give(null);
    });
  }

  read(prompt: string): Promise<string | null | typeof CANCELLED> {
    const line = this.#queue.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.#isClosed) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#curtain.isDown = false;
      // It drew nothing while the curtain was down, so there is nothing to wipe away.
      Object.assign(this.#readline, { prevRows: 0 });
      this.#readline.setPrompt(prompt);
      this.#readline.prompt(true);
    });
  }

  cancel(): void {
    if (this.#isClosed) return;
    this.#readline.write(null, { ctrl: true, name: 'e' });
    this.#readline.write(null, { ctrl: true, name: 'u' });
    if (this.#resolve !== null) this.#give(CANCELLED);
  }

  close(): void {
    this.#queue.length = 0;
    this.#readline.close();
    this.#curtain.destroy();
  }

  #give(line: string | null | typeof CANCELLED): void {
    const resolve = this.#resolve;
    this.#resolve = null;
    this.#curtain.isDown = true;
    resolve?.(line);
  }
}

/** A line is read when it is asked for: a pipe may be long, or never end. */
export class PipeLines implements ChatLines {
  readonly #input: Readable;
  readonly #lines: AsyncGenerator<string>;
  readonly #events: LineEvents;
  #isClosed = false;
  /** Gives up what is being read. */
  #leave: () => void = () => {};

  constructor(input: Readable, events: LineEvents) {
    this.#input = input;
    this.#lines = linesOf('stdin', input, false);
    this.#events = events;
  }

  async read(): Promise<string | null> {
    if (this.#isClosed) return null;
    // What was there already came before any Ctrl-C; what has to be waited for comes after it.
    let isLate = false;
    const turn = setImmediate(() => {
      isLate = true;
    });
    const line = await this.#next();
    clearImmediate(turn);
    if (isLate && line !== null) this.#events.onLine();
    return line;
  }

  #next(): Promise<string | null> {
    return new Promise((resolve, reject) => {
      this.#leave = () => resolve(null);
      const take = ({ done, value }: IteratorResult<string>) => resolve(done ? null : value);
      this.#lines.next().then(take, reject);
    });
  }

  cancel(): void {}

  close(): void {
    this.#isClosed = true;
    this.#leave();
    this.#input.destroy();
  }
}

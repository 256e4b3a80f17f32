/** Streams that act like a terminal: keys go in, and what is drawn can be read. */
import { PassThrough, Writable } from 'node:stream';
import type { Screen } from '../../lib/cli/chat-lines.js';
import type { ChatStreams } from '../../lib/cli/chat-session.js';
import { until } from './until.js';

export const KEYS = { ctrlC: '\x03', ctrlD: '\x04', up: '\x1b[A', enter: '\r' };

class FakeScreen extends Writable {
  text = '';

  constructor(
    readonly isTTY: boolean,
    readonly columns: number,
  ) {
    super({ decodeStrings: false });
  }

  hasColors(): boolean {
    return true;
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.text += chunk;
    done();
  }
}

/** Words that only move the cursor and clear. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const MOVES = /\x1b\[[\d;]*[A-HJK]/g;

export class FakeTerminal implements ChatStreams {
  readonly input = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => {} });
  readonly #screen = new FakeScreen(true, 80);
  readonly output: Screen = this.#screen;
  readonly notes: Screen = this.#screen;
  #seen = 0;

  press(...keys: string[]): void {
    this.input.write(keys.join(''));
  }

  get drawn(): string {
    return this.#screen.text.replace(MOVES, '');
  }

  /** Waits until this is drawn behind what was waited for before. */
  async shows(text: string): Promise<void> {
    await until(() => this.drawn.indexOf(text, this.#seen) >= 0);
    this.#seen = this.drawn.indexOf(text, this.#seen) + text.length;
  }
}

/** A pipe, and what becomes of what is written. */
export class FakePipe implements ChatStreams {
  readonly input = new PassThrough();
  readonly #out = new FakeScreen(false, 0);
  readonly #err = new FakeScreen(false, 0);
  readonly output: Screen = this.#out;
  readonly notes: Screen = this.#err;

  get stdout(): string {
    return this.#out.text;
  }

  get stderr(): string {
    return this.#err.text;
  }
}

/** How a chat looks: answers on stdout, all else on stderr. */
import type { Writable } from 'node:stream';
import type { CompletionDelta } from '../engine/outputs.js';
import type { Screen } from './chat-lines.js';
import { shownControls } from './controls.js';

const DIM = ['\x1b[2m', '\x1b[22m'];

/** Texts of an answer, as they come. */
type TextEvent = Extract<NonNullable<CompletionDelta['events']>[number], { readonly text: string }>;

/** A terminal shows reasoning, dim, and obeys nothing that a model writes; a pipe gets answers. */
export class ChatScreen {
  readonly #out: Screen;
  readonly #notes: Writable;
  readonly #isTerminal: boolean;
  readonly #hasColors: boolean;
  #state: 'none' | 'reasoning' | 'content' = 'none';

  constructor(out: Screen, notes: Writable) {
    this.#out = out;
    this.#notes = notes;
    this.#isTerminal = out.isTTY === true;
    this.#hasColors = this.#isTerminal && out.hasColors?.() === true;
  }

  /** A line beside the conversation. */
  note(text: string): void {
    this.#notes.write(`${shownControls(text)}\n`);
  }

  show(event: TextEvent): void {
    if (event.type === 'reasoning' && !this.#isTerminal) return;
    // An answer often begins with the space behind "Assistant:".
    const text = this.#state === event.type ? event.text : event.text.trimStart();
    if (text === '') return;
    if (this.#state !== event.type) this.#begin(event.type);
    this.#state = event.type;
    const shown = this.#isTerminal ? shownControls(text) : text;
    this.#out.write(event.type === 'reasoning' ? this.#dim(shown) : shown);
  }

  /** The answer has ended. */
  end(): void {
    this.#out.write('\n');
    this.#state = 'none';
  }

  #begin(type: TextEvent['type']): void {
    if (this.#state === 'reasoning') this.#out.write(this.#hasColors ? '\n\n' : '\n[answer]\n');
    else if (type === 'reasoning' && !this.#hasColors) this.#out.write('[reasoning]\n');
  }

  #dim(text: string): string {
    return this.#hasColors ? `${DIM[0]}${text}${DIM[1]}` : text;
  }
}

/** An answer token by token, as events. */
import { OutputText, type OutputTextOptions } from '../text/output-text.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { Marks } from './marks.js';
import type { AnswerParser } from './parser.js';
import type { ChatEvent } from './types.js';

/** Tokens that a text's beginning depends on. */
const TAIL = 16;

export interface AnswerOptions extends OutputTextOptions {
  /** Tokens before which no stop string ends the answer. Default 0. */
  readonly minTokens?: number;
}

export class AnswerReader {
  readonly #parser: AnswerParser;
  readonly #marks: Marks;
  readonly #tokenizer: Tokenizer;
  readonly #options: OutputTextOptions;
  #text: OutputText;
  #tail: number[];
  #stopped = false;
  #numReasoningTokens = 0;
  #numTokens = 0;
  readonly #minTokens: number;

  /** @param options stop strings, and the end of the prompt's ids */
  constructor(
    parser: AnswerParser,
    marks: Marks,
    tokenizer: Tokenizer,
    options: AnswerOptions = {},
  ) {
    this.#parser = parser;
    this.#marks = marks;
    this.#minTokens = options.minTokens ?? 0;
    this.#tokenizer = tokenizer;
    this.#options = { ...options, skipSpecialTokens: true };
    this.#tail = Array.from(options.promptTail ?? []).slice(-TAIL);
    this.#text = this.#newText();
  }

  /** Tokens so far that were reasoning, its end included. */
  get numReasoningTokens(): number {
    return this.#numReasoningTokens;
  }

  get numCalls(): number {
    return this.#parser.numCalls;
  }

  /** Takes ids in their order; the one that ended the answer is none of them. */
  push(ids: Iterable<number>): ChatEvent[] {
    const events: ChatEvent[] = [];
    for (const id of ids) {
      if (this.#stopped) break;
      this.#numTokens++;
      if (this.#parser.isReasoning) this.#numReasoningTokens++;
      join(events, this.#push(id));
    }
    return events;
  }

  #push(id: number): ChatEvent[] {
    const mark = this.#marks.ofId(id);
    this.#tail.push(id);
    if (this.#tail.length > 2 * TAIL) this.#tail = this.#tail.slice(-TAIL);
    if (mark === undefined) {
      const mayStop = this.#numTokens >= this.#minTokens;
      const { delta, stop } = this.#text.push(id, { mayStop });
      this.#stopped = stop !== null;
      return delta === '' ? [] : this.#parser.push(delta);
    }
    const text = this.#text.finish();
    this.#text = this.#newText();
    return this.#parser.push(text + mark);
  }

  #newText(): OutputText {
    return new OutputText(this.#tokenizer, { ...this.#options, promptTail: this.#tail });
  }

  /** The answer has ended. */
  finish(): ChatEvent[] {
    const events = this.#stopped ? [] : this.#parser.push(this.#text.finish());
    join(events, this.#parser.finish());
    return events;
  }
}

/** Adds events, texts of one kind in one. */
export function join(events: ChatEvent[], more: readonly ChatEvent[]): void {
  for (const event of more) {
    const last = events.at(-1);
    const isText = event.type === 'content' || event.type === 'reasoning';
    if (isText && last?.type === event.type) {
      events[events.length - 1] = { type: event.type, text: last.text + event.text };
    } else if (
      event.type === 'arguments' &&
      last?.type === 'arguments' &&
      last.index === event.index
    ) {
      events[events.length - 1] = { ...last, json: last.json + event.json };
    } else events.push(event);
  }
}

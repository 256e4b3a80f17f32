/** All of an answer that has come so far. */
import type { AnswerReader } from './answer-reader.js';
import type { ChatEvent, ToolCall } from './types.js';

/** A call as far as it has come. */
interface PartialCall {
  readonly id: string;
  readonly name: string;
  text: string;
  ended: boolean;
}

export class Answer {
  readonly #reader: AnswerReader;
  readonly #calls: PartialCall[] = [];
  #content = '';
  #reasoning = '';

  constructor(reader: AnswerReader) {
    this.#reader = reader;
  }

  get content(): string {
    return this.#content;
  }

  /** Undefined where there was none. */
  get reasoning(): string | undefined {
    return this.#reasoning === '' ? undefined : this.#reasoning;
  }

  get numReasoningTokens(): number {
    return this.#reader.numReasoningTokens;
  }

  /** Undefined where there are none. */
  get toolCalls(): ToolCall[] | undefined {
    if (this.#calls.length === 0) return undefined;
    return this.#calls.map(({ id, name, text }) => {
      return { id, name, arguments: parsed(text), argumentsText: text };
    });
  }

  /** Whether it has called, and every call is whole. */
  get hasCalled(): boolean {
    return this.#calls.length > 0 && this.#calls.every(({ ended }) => ended);
  }

  /** Takes ids, all but the one that ended the answer. */
  push(ids: Iterable<number>): ChatEvent[] {
    return this.#take(this.#reader.push(ids));
  }

  finish(): ChatEvent[] {
    return this.#take(this.#reader.finish());
  }

  #take(events: ChatEvent[]): ChatEvent[] {
    for (const event of events) {
      if (event.type === 'content') this.#content += event.text;
      else if (event.type === 'reasoning') this.#reasoning += event.text;
      else if (event.type === 'call') {
        this.#calls.push({ id: event.id, name: event.name, text: '', ended: false });
      } else if (event.type === 'arguments') this.#calls[event.index].text += event.json;
      else this.#calls[event.index].ended = true;
    }
    return events;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

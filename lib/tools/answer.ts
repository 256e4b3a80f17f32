/** All of an answer that has come so far. */
import { join } from './chat-events.js';
import type { AnswerParser } from './parser.js';
import type { ChatEvent, ToolCall } from './types.js';

/** A call as far as it has come. */
interface PartialCall {
  readonly id: string;
  readonly name: string;
  text: string;
  ended: boolean;
}

export class Answer {
  readonly #parser: AnswerParser;
  readonly #calls: PartialCall[] = [];
  #content = '';
  #reasoning = '';
  #numReasoningTokens = 0;
  #numOpen = 0;

  constructor(parser: AnswerParser) {
    this.#parser = parser;
  }

  get content(): string {
    return this.#content;
  }

  /** Undefined where there was none. */
  get reasoning(): string | undefined {
    return this.#reasoning === '' ? undefined : this.#reasoning;
  }

  /** Tokens so far that were reasoning, its end included. */
  get numReasoningTokens(): number {
    return this.#numReasoningTokens;
  }

  /** Makes the list of what there is by now, whenever it is called; undefined for none. */
  get toolCalls(): (() => readonly ToolCall[]) | undefined {
    const count = this.#calls.length;
    if (count === 0) return undefined;
    // Only the last can still grow.
    const { text } = this.#calls[count - 1];
    return () =>
      this.#calls
        .slice(0, count)
        .map((call, i) => toolCall(call, i === count - 1 ? text : call.text));
  }

  /** Whether it has called, and every call is whole. */
  get hasCalled(): boolean {
    return this.#calls.length > 0 && this.#numOpen === 0;
  }

  /** Takes the marked text that the next token has added: '' while it is held back. */
  push(text: string): ChatEvent[] {
    if (this.#parser.isReasoning) this.#numReasoningTokens++;
    return text === '' ? [] : this.#take(this.#parser.push(text));
  }

  /** The answer has ended, with this text that no token has added. */
  finish(text: string): ChatEvent[] {
    const events = text === '' ? [] : this.#parser.push(text);
    join(events, this.#parser.finish());
    return this.#take(events);
  }

  #take(events: ChatEvent[]): ChatEvent[] {
    for (const event of events) {
      if (event.type === 'content') this.#content += event.text;
      else if (event.type === 'reasoning') this.#reasoning += event.text;
      else if (event.type === 'call') {
        this.#calls.push({ id: event.id, name: event.name, text: '', ended: false });
        this.#numOpen++;
      } else if (event.type === 'arguments') this.#calls[event.index].text += event.json;
      else if (!this.#calls[event.index].ended) {
        this.#calls[event.index].ended = true;
        this.#numOpen--;
      }
    }
    return events;
  }
}

function toolCall({ id, name }: PartialCall, argumentsText: string): ToolCall {
  return { id, name, arguments: parsed(argumentsText), argumentsText };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

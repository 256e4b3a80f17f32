/** What a model has said in its turn: reasoning, content and calls, in their order. */
import type { ChatEvent } from '../tools/types.js';

export interface TextPart {
  readonly kind: 'reasoning' | 'content';
  text: string;
}

export interface CallPart {
  readonly kind: 'call';
  readonly id: string;
  readonly name: string;
  /** JSON; of a call that was cut, the beginning of it. */
  json: string;
}

export type TurnPart = TextPart | CallPart;

export class Turn {
  readonly parts: TurnPart[] = [];
  readonly #calls = new Map<number, CallPart>();

  /** The part that it belongs to. */
  add(piece: ChatEvent): TurnPart {
    if (piece.type === 'reasoning' || piece.type === 'content') return this.#addText(piece);
    const known = this.#calls.get(piece.index);
    if (piece.type !== 'call') {
      if (known === undefined) throw new Error(`there is no call ${piece.index}`);
      if (piece.type === 'arguments') known.json += piece.json;
      return known;
    }
    const call: CallPart = { kind: 'call', id: piece.id, name: piece.name, json: '' };
    this.#calls.set(piece.index, call);
    this.parts.push(call);
    return call;
  }

  #addText({ type: kind, text }: Extract<ChatEvent, { text: string }>): TextPart {
    const last = this.parts.at(-1);
    if (last?.kind === kind) {
      last.text += text;
      return last;
    }
    const part: TextPart = { kind, text };
    this.parts.push(part);
    return part;
  }

  get reasoning(): string {
    return this.#textOf('reasoning');
  }

  get content(): string {
    return this.#textOf('content');
  }

  #textOf(kind: TextPart['kind']): string {
    return this.parts.map((part) => (part.kind === kind ? part.text : '')).join('');
  }

  get calls(): CallPart[] {
    return this.parts.filter((part) => part.kind === 'call');
  }
}

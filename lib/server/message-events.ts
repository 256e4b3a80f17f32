/** Events of a generation as those of Anthropic's messages, and the blocks that they make up. */
import { createHash } from 'node:crypto';
import type { ChatEvent } from '../tools/types.js';
import type { EndEvent, GenerationEvent } from './engine-events.js';
import { blockText } from './message-blocks.js';
import { anthropicError } from './problem.js';
import { Turn, type TurnPart } from './turn.js';
import { Usage } from './usage.js';

/** Why it ended, in Anthropic's words, and one of ours: there is none for what fails midway. */
export function ending({ reason, stopReason }: Pick<EndEvent, 'reason' | 'stopReason'>) {
  if (reason === 'error') return { stop_reason: 'error', stop_sequence: null };
  if (reason === 'length') return { stop_reason: 'max_tokens', stop_sequence: null };
  if (reason === 'tool_calls') return { stop_reason: 'tool_use', stop_sequence: null };
  if (typeof stopReason !== 'string') return { stop_reason: 'end_turn', stop_sequence: null };
  return { stop_reason: 'stop_sequence', stop_sequence: stopReason };
}

/** Clients send thinking back only with one, and look at no more of it. */
const signatureOf = (text: string) => createHash('sha256').update(text).digest('base64');

/** The content of an answer: one block at least, as clients read the first. */
export function blocksOf({ parts }: Turn): object[] {
  return parts.length === 0 ? [blockText('')] : parts.map(blockOf);
}

function blockOf(part: TurnPart): object {
  if (part.kind === 'content') return blockText(part.text);
  if (part.kind === 'call') {
    const { id, name, json } = part;
    return { type: 'tool_use', id, name, input: inputOf(json) };
  }
  const { text: thinking } = part;
  return { type: 'thinking', thinking, signature: signatureOf(thinking) };
}

/** Of a call that was cut nothing can be read as a whole. */
function inputOf(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return {};
  }
}

function emptyBlock(piece: ChatEvent): object {
  if (piece.type === 'call') {
    return { type: 'tool_use', id: piece.id, name: piece.name, input: {} };
  }
  if (piece.type === 'content') return blockText('');
  return { type: 'thinking', thinking: '', signature: '' };
}

/** Blocks one after another, each with a beginning and an end. */
export class MessageEvents {
  readonly #id: string;
  readonly #model: string;
  readonly #usage = new Usage();
  readonly #turn = new Turn();
  #ending: object = {};
  /** Why it ended with an error. */
  #failure: object | null = null;
  /** The block that is being told. */
  #open: TurnPart | null = null;
  #index = -1;

  constructor(id: string, model: string) {
    this.#id = id;
    this.#model = model;
  }

  of(event: GenerationEvent): object[] {
    this.#usage.add(event);
    if (event.type === 'start') return [this.#begin()];
    if (event.type === 'delta') return event.pieces.flatMap((piece) => this.#pieceOf(piece));
    if (event.type === 'end') {
      this.#ending = ending(event);
      if (event.problem !== undefined) this.#failure = anthropicError(event.problem);
      // Clients read the first block of an answer, whatever it says.
      const nothing = { type: 'content', text: '' } as const;
      const before = this.#index < 0 ? this.#pieceOf(nothing) : [];
      return [...before, ...this.#close()];
    }
    const usage = this.#usage.anthropic;
    // Clients take an error for the end; whoever goes on reading has heard of it already.
    const failure = this.#failure;
    const last = failure === null ? { type: 'message_stop' } : { type: 'error', error: failure };
    return [{ type: 'message_delta', delta: this.#ending, usage }, last];
  }

  #begin(): object {
    const message = {
      id: this.#id,
      type: 'message',
      role: 'assistant',
      model: this.#model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: this.#usage.anthropic,
    };
    return { type: 'message_start', message };
  }

  #pieceOf(piece: ChatEvent): object[] {
    const part = this.#turn.add(piece);
    if (piece.type === 'call-end') return part === this.#open ? this.#close() : [];
    const events: object[] = [];
    if (part !== this.#open) {
      events.push(...this.#close());
      this.#open = part;
      this.#index++;
      const content_block = emptyBlock(piece);
      events.push({ type: 'content_block_start', index: this.#index, content_block });
    }
    if (piece.type === 'content' && piece.text !== '') {
      events.push(this.#delta({ type: 'text_delta', text: piece.text }));
    } else if (piece.type === 'reasoning') {
      events.push(this.#delta({ type: 'thinking_delta', thinking: piece.text }));
    } else if (piece.type === 'arguments') {
      events.push(this.#delta({ type: 'input_json_delta', partial_json: piece.json }));
    }
    return events;
  }

  #delta(delta: object): object {
    return { type: 'content_block_delta', index: this.#index, delta };
  }

  #close(): object[] {
    const open = this.#open;
    if (open === null) return [];
    this.#open = null;
    const signature = open.kind === 'reasoning' && signatureOf(open.text);
    return [
      ...(signature ? [this.#delta({ type: 'signature_delta', signature })] : []),
      { type: 'content_block_stop', index: this.#index },
    ];
  }
}

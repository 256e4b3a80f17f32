/** Events of a generation as those of the Responses API, and the response that they make up. */
import type { ChatEvent } from '../tools/types.js';
import type { DeltaEvent, EndEvent, GenerationEvent } from './engine-events.js';
import type { TokenWriter } from './logprobs.js';
import type { Problem } from './problem.js';
import { type ItemStatus, type ItemStyle, itemOf, type OutputItem } from './response-output.js';
import type { WireMessage } from './schemas/chat.js';
import type { ResponseBody } from './schemas/responses.js';
import { seconds } from './service.js';
import { Turn, type TurnPart } from './turn.js';
import { Usage } from './usage.js';

export interface ResponseHead extends ItemStyle {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly body: ResponseBody;
  readonly temperature: number;
  readonly topP: number;
  /** Null where no logprobs are asked for. */
  readonly writer: TokenWriter | null;
}

export class ResponseEvents {
  readonly #head: ResponseHead;
  readonly #usage = new Usage();
  readonly #turn = new Turn();
  /** With how each has ended. */
  readonly #items: { readonly item: OutputItem; status: ItemStatus }[] = [];
  /** What the last item is about, while it grows. */
  #open: TurnPart | null = null;
  #status: ItemStatus | 'failed' = 'in_progress';
  #problem: Problem | null = null;
  #completed: number | null = null;
  #sequence = 0;

  constructor(head: ResponseHead) {
    this.#head = head;
  }

  get id(): string {
    return this.#head.id;
  }

  /** What was said, as a message of the conversation. */
  get said(): WireMessage {
    const { content, reasoning, calls } = this.#turn;
    const tool_calls = calls.map(({ id, name, json }) => ({
      id,
      type: 'function',
      function: { name, arguments: json },
    }));
    return {
      role: 'assistant',
      content: content === '' && calls.length > 0 ? null : content,
      ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
      ...(calls.length === 0 ? {} : { tool_calls }),
    };
  }

  /** The frames of an event: each with its number, in the order that clients insist on. */
  of(event: GenerationEvent): object[] {
    this.#usage.add(event);
    if (event.type === 'start') {
      return ['response.created', 'response.in_progress'].map((type) =>
        this.#event(type, { response: this.response() }),
      );
    }
    if (event.type === 'delta') return this.#delta(event);
    if (event.type === 'end') return this.#end(event);
    this.#completed = seconds();
    return [this.#event(`response.${this.#status}`, { response: this.response() })];
  }

  #event(type: string, members: object): object {
    return { type, ...members, sequence_number: this.#sequence++ };
  }

  /** What is told of tokens stands with the first text that comes of them. */
  #delta({ pieces, logprobs = [] }: DeltaEvent): object[] {
    const { writer } = this.#head;
    let entries = writer === null ? [] : logprobs.map((one) => writer.chat(one));
    const frames: object[] = [];
    for (const piece of pieces) {
      frames.push(...this.#piece(piece, piece.type === 'content' ? entries : []));
      if (piece.type === 'content') entries = [];
    }
    // Text of these may come with later ones.
    const isSaying = this.#open === null || this.#open.kind === 'content';
    if (entries.length > 0 && isSaying && pieces.length === 0) {
      frames.push(...this.#piece({ type: 'content', text: '' }, entries));
    }
    return frames;
  }

  #piece(piece: ChatEvent, entries: readonly object[]): object[] {
    const part = this.#turn.add(piece);
    if (piece.type === 'call-end') return part === this.#open ? this.#close('completed') : [];
    const frames: object[] = [];
    if (part !== this.#open) {
      frames.push(...this.#close('completed'));
      this.#open = part;
      const item = itemOf(part, this.#items.length, this.#head);
      this.#items.push({ item, status: 'in_progress' });
      frames.push(...this.#told(item.begin()));
    }
    const { item } = this.#items[this.#items.length - 1];
    const text = piece.type === 'arguments' ? piece.json : piece.type === 'call' ? '' : piece.text;
    frames.push(...this.#told(item.add(text, entries)));
    return frames;
  }

  #told(events: readonly { readonly type: string }[]): object[] {
    return events.map(({ type, ...members }) => this.#event(type, members));
  }

  #close(status: ItemStatus): object[] {
    if (this.#open === null) return [];
    this.#open = null;
    const last = this.#items[this.#items.length - 1];
    last.status = status;
    return this.#told(last.item.end(status));
  }

  #end({ reason, problem }: EndEvent): object[] {
    const isCut = reason === 'length' || reason === 'error';
    const status = isCut ? 'incomplete' : 'completed';
    this.#status = reason === 'error' ? 'failed' : status;
    this.#problem = problem ?? null;
    // Clients read the text of a message, whether it says anything.
    const nothing: ChatEvent = { type: 'content', text: '' };
    const before = this.#items.length === 0 ? this.#piece(nothing, []) : [];
    return [...before, ...this.#close(status)];
  }

  /** As far as it has come. */
  response(): object {
    const { id, created, model, body, temperature, topP } = this.#head;
    const isOpen = this.#status === 'in_progress';
    return {
      id,
      object: 'response',
      created_at: created,
      completed_at: this.#completed ?? (isOpen ? null : seconds()),
      status: this.#status,
      background: false,
      // One of the codes there are: another try with the same request is of no use.
      error: this.#problem && { code: 'invalid_prompt', message: this.#problem.message },
      incomplete_details: this.#status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
      instructions: body.instructions ?? null,
      max_output_tokens: body.max_output_tokens ?? null,
      max_tool_calls: body.max_tool_calls ?? null,
      metadata: body.metadata ?? {},
      model,
      output: isOpen ? [] : this.#items.map(({ item, status }) => item.json(status)),
      parallel_tool_calls: body.parallel_tool_calls ?? true,
      previous_response_id: body.previous_response_id ?? null,
      reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
      service_tier: 'default',
      store: body.store ?? true,
      temperature,
      text: { format: body.text?.format ?? { type: 'text' } },
      tool_choice: body.tool_choice ?? 'auto',
      tools: body.tools ?? [],
      top_logprobs: body.top_logprobs ?? 0,
      top_p: topP,
      truncation: body.truncation ?? 'disabled',
      usage: isOpen ? null : this.#usage.responses,
      user: null,
    };
  }

  /** For what goes wrong after the first event. */
  error({ error }: { error?: { message: string; param: string | null; code: number } }): object {
    const { message = '', param = null, code = 500 } = error ?? {};
    return this.#event('error', { code: String(code), message, param });
  }
}

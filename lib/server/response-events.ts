/** Events of a generation as those of the Responses API, and the response that they make up. */
import type { DeltaEvent, EndEvent, GenerationEvent } from './engine-events.js';
import type { TokenWriter } from './logprobs.js';
import type { ResponseBody } from './schemas/responses.js';
import { seconds } from './service.js';
import { Usage } from './usage.js';

interface ResponseHead {
  readonly id: string;
  readonly itemId: string;
  readonly created: number;
  readonly model: string;
  readonly body: ResponseBody;
  readonly temperature: number;
  readonly topP: number;
  /** Null where no logprobs are asked for. */
  readonly writer: TokenWriter | null;
}

type Status = 'in_progress' | 'completed' | 'incomplete';

export class ResponseEvents {
  readonly #head: ResponseHead;
  readonly #usage = new Usage();
  readonly #logprobs: object[] = [];
  text = '';
  #status: Status = 'in_progress';
  #completed: number | null = null;
  #sequence = 0;

  constructor(head: ResponseHead) {
    this.#head = head;
  }

  get id(): string {
    return this.#head.id;
  }

  /** The frames of an event: each with its number, in the order that clients insist on. */
  of(event: GenerationEvent): object[] {
    this.#usage.add(event);
    if (event.type === 'start') return this.#begin();
    if (event.type === 'delta') return this.#delta(event);
    if (event.type === 'end') return this.#end(event);
    this.#completed = seconds();
    const last = this.#status === 'incomplete' ? 'response.incomplete' : 'response.completed';
    return [this.#event(last, { response: this.response() })];
  }

  #event(type: string, members: object): object {
    return { type, ...members, sequence_number: this.#sequence++ };
  }

  #begin(): object[] {
    const { itemId } = this.#head;
    const part = { type: 'output_text', text: '', annotations: [], logprobs: [] };
    return [
      this.#event('response.created', { response: this.response() }),
      this.#event('response.in_progress', { response: this.response() }),
      this.#event('response.output_item.added', {
        output_index: 0,
        item: {
          id: itemId,
          type: 'message',
          role: 'assistant',
          status: 'in_progress',
          content: [],
        },
      }),
      this.#event('response.content_part.added', { ...this.#place, part }),
    ];
  }

  get #place() {
    return { item_id: this.#head.itemId, output_index: 0, content_index: 0 };
  }

  #delta({ text, logprobs = [] }: DeltaEvent): object[] {
    const { writer } = this.#head;
    const entries = writer === null ? [] : logprobs.map((one) => writer.chat(one));
    this.text += text;
    this.#logprobs.push(...entries);
    if (text === '' && entries.length === 0) return [];
    const delta = { ...this.#place, delta: text, logprobs: entries };
    return [this.#event('response.output_text.delta', delta)];
  }

  #end({ reason }: EndEvent): object[] {
    this.#status = reason === 'length' ? 'incomplete' : 'completed';
    const { text } = this;
    return [
      this.#event('response.output_text.done', { ...this.#place, text, logprobs: this.#logprobs }),
      this.#event('response.content_part.done', { ...this.#place, part: this.#part() }),
      this.#event('response.output_item.done', { output_index: 0, item: this.#item() }),
    ];
  }

  #part(): object {
    return { type: 'output_text', text: this.text, annotations: [], logprobs: this.#logprobs };
  }

  #item(): object {
    const status = this.#status;
    const content = [this.#part()];
    return { id: this.#head.itemId, type: 'message', role: 'assistant', status, content };
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
      error: null,
      incomplete_details: this.#status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
      instructions: body.instructions ?? null,
      max_output_tokens: body.max_output_tokens ?? null,
      metadata: body.metadata ?? {},
      model,
      output: isOpen ? [] : [this.#item()],
      parallel_tool_calls: body.parallel_tool_calls ?? true,
      previous_response_id: body.previous_response_id ?? null,
      reasoning: { effort: null, summary: null },
      service_tier: 'default',
      store: body.store ?? true,
      temperature,
      text: { format: { type: 'text' } },
      tool_choice: 'auto',
      tools: [],
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

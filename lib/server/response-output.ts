/** Items that a response consists of, and the events that tell of each as it grows. */
import { encodeThought } from './response-items.js';
import { newId } from './service.js';
import { customInput, type Toolbox } from './toolbox.js';
import type { CallPart, TextPart, TurnPart } from './turn.js';

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

/** An event without its number. */
export interface ItemEvent {
  readonly type: string;
  readonly [member: string]: unknown;
}

export interface ItemStyle {
  readonly toolbox: Toolbox;
  /** Whether clients that keep nothing want reasoning in a form to send back. */
  readonly withEncrypted: boolean;
}

/** One item of `output`, at a place of its own. */
export interface OutputItem {
  /** Where it has begun, with nothing in it. */
  begin(): ItemEvent[];
  /** What is new: text, or JSON of arguments. */
  add(text: string, logprobs: readonly object[]): ItemEvent[];
  end(status: ItemStatus): ItemEvent[];
  /** As it is. */
  json(status: ItemStatus): object;
}

export function itemOf(part: TurnPart, index: number, style: ItemStyle): OutputItem {
  if (part.kind === 'call') return new CallItem(part, index, style.toolbox);
  return new TextItem(part, index, style);
}

const added = (output_index: number, item: object): ItemEvent => ({
  type: 'response.output_item.added',
  output_index,
  item,
});

const done = (output_index: number, item: object): ItemEvent => ({
  type: 'response.output_item.done',
  output_index,
  item,
});

/** A message, or reasoning: one part of text. */
class TextItem implements OutputItem {
  readonly #part: TextPart;
  readonly #index: number;
  readonly #style: ItemStyle;
  readonly #id: string;
  readonly #logprobs: object[] = [];

  constructor(part: TextPart, index: number, style: ItemStyle) {
    this.#part = part;
    this.#index = index;
    this.#style = style;
    this.#id = newId(part.kind === 'content' ? 'msg_' : 'rs_');
  }

  get #isMessage(): boolean {
    return this.#part.kind === 'content';
  }

  get #place() {
    return { item_id: this.#id, output_index: this.#index, content_index: 0 };
  }

  /** Of an event about the text, which a message has logprobs beside. */
  #textEvent(what: string, members: object, logprobs: readonly object[]): ItemEvent {
    const type = `response.${this.#isMessage ? 'output_text' : 'reasoning_text'}.${what}`;
    const more = this.#isMessage ? { logprobs } : {};
    return { type, ...this.#place, ...members, ...more };
  }

  #content(text: string, logprobs: readonly object[]): object {
    if (!this.#isMessage) return { type: 'reasoning_text', text };
    return { type: 'output_text', text, annotations: [], logprobs };
  }

  #item(status: ItemStatus, content: readonly object[]): object {
    const id = this.#id;
    if (this.#isMessage) return { id, type: 'message', role: 'assistant', status, content };
    const { withEncrypted } = this.#style;
    const encrypted_content = withEncrypted ? encodeThought(this.#part.text) : null;
    return { id, type: 'reasoning', summary: [], content, encrypted_content, status };
  }

  begin(): ItemEvent[] {
    const part = this.#content('', []);
    return [
      added(this.#index, this.#item('in_progress', [])),
      { type: 'response.content_part.added', ...this.#place, part },
    ];
  }

  add(delta: string, logprobs: readonly object[]): ItemEvent[] {
    this.#logprobs.push(...logprobs);
    if (delta === '' && logprobs.length === 0) return [];
    return [this.#textEvent('delta', { delta }, logprobs)];
  }

  end(status: ItemStatus): ItemEvent[] {
    const { text } = this.#part;
    const part = this.#content(text, this.#logprobs);
    return [
      this.#textEvent('done', { text }, this.#logprobs),
      { type: 'response.content_part.done', ...this.#place, part },
      done(this.#index, this.json(status)),
    ];
  }

  json(status: ItemStatus): object {
    return this.#item(status, [this.#content(this.#part.text, this.#logprobs)]);
  }
}

/** A call of a function, or of a custom tool, whose input is known only as a whole. */
class CallItem implements OutputItem {
  readonly #part: CallPart;
  readonly #index: number;
  readonly #id: string;
  readonly #isCustom: boolean;
  readonly #named: object;

  constructor(part: CallPart, index: number, toolbox: Toolbox) {
    const { kind, name, namespace } = toolbox.find(part.name);
    this.#part = part;
    this.#index = index;
    this.#isCustom = kind === 'custom';
    this.#named = { name, ...(namespace === undefined ? {} : { namespace }) };
    this.#id = newId(this.#isCustom ? 'ctc_' : 'fc_');
  }

  get #place() {
    return { item_id: this.#id, output_index: this.#index };
  }

  #item(status: ItemStatus, json: string): object {
    const head = { id: this.#id, call_id: this.#part.id, ...this.#named, status };
    if (!this.#isCustom) return { ...head, type: 'function_call', arguments: json };
    return { ...head, type: 'custom_tool_call', input: json === '' ? '' : customInput(json) };
  }

  begin(): ItemEvent[] {
    return [added(this.#index, this.#item('in_progress', ''))];
  }

  add(delta: string): ItemEvent[] {
    if (this.#isCustom || delta === '') return [];
    return [{ type: 'response.function_call_arguments.delta', ...this.#place, delta }];
  }

  end(status: ItemStatus): ItemEvent[] {
    const { json } = this.#part;
    const item = done(this.#index, this.json(status));
    if (!this.#isCustom) {
      const type = 'response.function_call_arguments.done';
      return [{ type, ...this.#place, ...this.#named, arguments: json }, item];
    }
    const input = customInput(json);
    return [
      { type: 'response.custom_tool_call_input.delta', ...this.#place, delta: input },
      { type: 'response.custom_tool_call_input.done', ...this.#place, input },
      item,
    ];
  }

  json(status: ItemStatus): object {
    return this.#item(status, this.#part.json);
  }
}

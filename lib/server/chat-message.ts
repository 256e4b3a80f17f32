/** Reasoning, content and calls as chat completions tell them, whole and in pieces. */
import type { FinishReason } from '../engine/outputs.js';
import type { ChatEvent } from '../tools/types.js';
import type { ServerConfig } from './options.js';
import { customInput, type Toolbox } from './toolbox.js';
import type { CallPart, Turn } from './turn.js';

export interface ChatStyle {
  readonly toolbox: Toolbox;
  /** Whether calls are told as `function_call`, as before there were tools. */
  readonly isOld: boolean;
  /** Whether the request named the one tool that is called. */
  readonly isNamed: boolean;
  readonly withReasoning: boolean;
  readonly reasoningField: ServerConfig['reasoningField'];
}

/** Reasoning under the names that clients look for. */
function reasoned({ withReasoning, reasoningField: field }: ChatStyle, text: string): object {
  if (!withReasoning || text === '') return {};
  return {
    ...(field === 'reasoning_content' ? {} : { reasoning: text }),
    ...(field === 'reasoning' ? {} : { reasoning_content: text }),
  };
}

/** The message of an answer. @param echoed what of the request's last message it repeats */
export function messageOf(turn: Turn, style: ChatStyle, echoed = ''): object {
  const { calls } = turn;
  const content = echoed + turn.content;
  const message = {
    role: 'assistant',
    content: content === '' && calls.length > 0 ? null : content,
    refusal: null,
    ...reasoned(style, turn.reasoning),
  };
  if (calls.length === 0) return message;
  if (style.isOld) return { ...message, function_call: oldCall(calls[0]) };
  return { ...message, tool_calls: calls.map((call) => callOf(call, style.toolbox)) };
}

const oldCall = ({ name, json }: CallPart) => ({ name, arguments: json });

function callOf({ id, name: called, json }: CallPart, toolbox: Toolbox): object {
  const { kind, name } = toolbox.find(called);
  if (kind === 'function') return { id, type: 'function', function: { name, arguments: json } };
  return { id, type: 'custom', custom: { name, input: customInput(json) } };
}

/**
 * Why it ended. A tool that was named is no choice of the model's, and its call is a plain end, as
 * OpenAI says it.
 */
export function finishOf(reason: FinishReason, { isOld, isNamed }: ChatStyle): string {
  if (reason !== 'tool_calls') return reason;
  return isNamed ? 'stop' : isOld ? 'function_call' : reason;
}

/** Deltas of one sample. Clients merge calls by their index; id, type and name are told once. */
export class ChatDeltas {
  readonly #style: ChatStyle;
  /** Of calls of custom tools, whose input is known only as a whole. */
  readonly #inputs = new Map<number, string>();

  constructor(style: ChatStyle) {
    this.#style = style;
  }

  /** Null for what says nothing by itself. */
  of(piece: ChatEvent): object | null {
    if (piece.type === 'content') return { content: piece.text };
    if (piece.type === 'reasoning') {
      const delta = reasoned(this.#style, piece.text);
      return Object.keys(delta).length === 0 ? null : delta;
    }
    if (piece.type === 'call') return this.#begin(piece);
    return piece.type === 'arguments' ? this.#go(piece) : this.#end(piece.index);
  }

  #begin({ index, id, name: called }: Extract<ChatEvent, { type: 'call' }>): object {
    const { toolbox, isOld } = this.#style;
    const { kind, name } = toolbox.find(called);
    if (isOld) return { function_call: { name, arguments: '' } };
    if (kind === 'function') {
      const begun = { index, id, type: 'function', function: { name, arguments: '' } };
      return { tool_calls: [begun] };
    }
    this.#inputs.set(index, '');
    return { tool_calls: [{ index, id, type: 'custom', custom: { name, input: '' } }] };
  }

  #go({ index, json }: Extract<ChatEvent, { type: 'arguments' }>): object | null {
    const before = this.#inputs.get(index);
    if (before !== undefined) {
      this.#inputs.set(index, before + json);
      return null;
    }
    if (this.#style.isOld) return { function_call: { arguments: json } };
    return { tool_calls: [{ index, function: { arguments: json } }] };
  }

  #end(index: number): object | null {
    const json = this.#inputs.get(index);
    if (json === undefined) return null;
    this.#inputs.delete(index);
    return { tool_calls: [{ index, custom: { input: customInput(json) } }] };
  }
}

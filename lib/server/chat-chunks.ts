/** Events of a generation as chunks of chat completions. */
import { failureOf } from './answering.js';
import { type ChatCall, echoed, FINGERPRINT, promptParts } from './chat-call.js';
import { ChatDeltas, finishOf } from './chat-message.js';
import type { DeltaEvent, GenerationEvent, StartEvent } from './engine-events.js';
import { TokenWriter } from './logprobs.js';
import type { ChatBody } from './schemas/chat.js';
import { seconds } from './service.js';
import { Usage } from './usage.js';

/** A role, pieces of what is said, a reason, for each choice. */
export class ChatChunks {
  readonly #call: ChatCall;
  readonly #body: ChatBody;
  readonly #writer: TokenWriter;
  readonly #head: object;
  readonly #usage = new Usage();
  readonly #withUsage: boolean;
  /** By sample. */
  readonly #deltas = new Map<number, ChatDeltas>();

  constructor(call: ChatCall, withUsage: boolean) {
    const { id, body, model } = call;
    this.#call = call;
    this.#body = body;
    this.#withUsage = withUsage;
    this.#writer = new TokenWriter(model.llm.tokenizer, body.return_tokens_as_token_ids);
    this.#head = {
      id,
      object: 'chat.completion.chunk',
      created: seconds(),
      model: body.model ?? model.name,
      system_fingerprint: FINGERPRINT,
    };
  }

  of(event: GenerationEvent): object[] | Promise<object[]> {
    this.#usage.add(event);
    if (event.type === 'done') return [];
    if (event.type === 'start') return this.#begin(event);
    if (event.type === 'delta') return this.#deltasOf(event);
    const { sample: index, stopReason } = event;
    const reason = finishOf(event.reason, this.#call.style);
    const last = { index, delta: {}, logprobs: null, finish_reason: reason };
    return [this.#chunk({ ...last, stop_reason: stopReason, ...failureOf(event) })];
  }

  /** A chunk for each piece; what is told of tokens stands in the first. */
  #deltasOf({ sample: index, pieces, tokenIds, logprobs: entries }: DeltaEvent): object[] {
    const { return_token_ids: withIds, logprobs: withLogprobs } = this.#body;
    const writer = this.#writerOf(index);
    const deltas = pieces.map((piece) => writer.of(piece)).filter((delta) => delta !== null);
    // Tokens whose text is held back are told only where somebody counts them.
    if (deltas.length === 0 && (withIds || withLogprobs)) deltas.push({ content: '' });
    const content = withLogprobs ? (entries?.map((one) => this.#writer.chat(one)) ?? []) : null;
    return deltas.map((delta, i) => {
      const logprobs = content && i === 0 ? { content, refusal: null } : null;
      const choice = { index, delta, logprobs, finish_reason: null };
      return this.#chunk({ ...choice, ...(withIds ? { token_ids: i === 0 ? tokenIds : [] } : {}) });
    });
  }

  #writerOf(sample: number): ChatDeltas {
    const known = this.#deltas.get(sample) ?? new ChatDeltas(this.#call.style);
    this.#deltas.set(sample, known);
    return known;
  }

  async #begin(start: StartEvent): Promise<object[]> {
    const content = echoed(this.#body);
    const parts = await promptParts(this.#call, start);
    return Array.from({ length: this.#body.n ?? 1 }, (_, index) => {
      const delta = { role: 'assistant', content };
      const first = this.#chunk({ index, delta, logprobs: null, finish_reason: null });
      return index === 0 ? { ...first, ...parts } : first;
    });
  }

  #chunk(choice: object): object {
    const chunk = { ...this.#head, choices: [choice] };
    if (!this.#withUsage) return chunk;
    const isContinuous = this.#body.stream_options?.continuous_usage_stats;
    return { ...chunk, usage: isContinuous ? this.#usage.openai : null };
  }

  usageChunk(): object {
    return { ...this.#head, choices: [], usage: this.#usage.openai };
  }
}

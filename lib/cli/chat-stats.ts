/** Figures of the answers of a chat, as whoever reads them meets them. */
import type { LLM } from '../engine/llm.js';
import type { EngineEvent } from '../engine/outputs.js';
import type { Conversation } from './conversation.js';
import { count } from './report.js';

/** Of one answer. */
export class AnswerFigures {
  numPromptTokens = 0;
  numCachedTokens = 0;
  numTokens = 0;
  isCut = false;
  readonly #begun = performance.now();
  #first = 0;
  #last = 0;
  readonly #onEnd: (figures: AnswerFigures) => void;

  constructor(onEnd: (figures: AnswerFigures) => void) {
    this.#onEnd = onEnd;
  }

  setPrompt(numTokens: number, numCached: number): void {
    this.numPromptTokens = numTokens;
    this.numCachedTokens = numCached;
  }

  /** So many tokens have come. */
  add(numTokens: number): void {
    if (numTokens === 0) return;
    this.#last = performance.now();
    if (this.numTokens === 0) this.#first = this.#last;
    this.numTokens += numTokens;
  }

  end(): void {
    if (this.numTokens > 0) this.#onEnd(this);
  }

  /** From the question to the first token, in ms. */
  get ttftMs(): number {
    return this.#first - this.#begun;
  }

  /** Tokens a second behind the first; null where there is no second. */
  get rate(): number | null {
    const ms = this.#last - this.#first;
    return this.numTokens > 1 && ms > 0 ? (1000 * (this.numTokens - 1)) / ms : null;
  }
}

type Row = [name: string, text: string];

export class ChatStats {
  readonly #llm: LLM;
  readonly #events: AsyncGenerator<EngineEvent, void, void>;
  #last: AnswerFigures | null = null;
  #numAnswers = 0;
  #numTokens = 0;
  /** Blocks that hold prefixes which can be found. */
  #numCachedBlocks = 0;

  constructor(llm: LLM) {
    this.#llm = llm;
    this.#events = llm.events();
    void this.#listen();
  }

  async #listen(): Promise<void> {
    for await (const { numBlocksCached } of this.#events) this.#numCachedBlocks = numBlocksCached;
  }

  begin(): AnswerFigures {
    return new AnswerFigures((answer) => {
      this.#last = answer;
      this.#numAnswers++;
      this.#numTokens += answer.numTokens;
    });
  }

  rows(conversation: Conversation): Row[] {
    const { info } = this.#llm;
    const { peakKvCacheUsage, prefixCacheHits, prefixCacheQueries } = this.#llm.stats();
    const numBlocks = info.numBlocks - 1; // the null block is nobody's
    const numUsed = Math.round(peakKvCacheUsage * numBlocks);
    const { numForgotten } = conversation;
    const forgotten = numForgotten > 0 ? `, the oldest ${count(numForgotten)} left out` : '';
    return [
      ...this.#answerRows(),
      ['answers', `${count(this.#numAnswers)}, ${count(this.#numTokens)} tokens`],
      ['messages', `${count(conversation.messages.length)}${forgotten}`],
      [
        'KV blocks',
        `${count(numUsed)} of ${count(numBlocks)} at most, ` +
          `${count(this.#numCachedBlocks)} hold prefixes`,
      ],
      ['prefix hits', `${count(prefixCacheHits)} of ${count(prefixCacheQueries)} prompt tokens`],
    ];
  }

  #answerRows(): Row[] {
    if (this.#last === null) return [];
    const { numTokens, rate, ttftMs, isCut, numPromptTokens, numCachedTokens } = this.#last;
    const cut = isCut ? ', cut at --max-tokens or the context’s end' : '';
    const speed = rate === null ? '-' : rate.toFixed(1);
    return [
      ['last answer', `${count(numTokens)} tokens, ${speed} tokens/s${cut}`],
      ['TTFT', `${ttftMs.toFixed(1)} ms`],
      ['its prompt', `${count(numPromptTokens)} tokens, ${count(numCachedTokens)} of them found`],
    ];
  }

  close(): void {
    void this.#events.return();
  }
}

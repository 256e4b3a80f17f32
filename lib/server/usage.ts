/** Tokens of a request, counted from its events. */
import type { GenerationEvent } from './engine-events.js';

export class Usage {
  promptTokens = 0;
  cachedTokens = 0;
  completionTokens = 0;
  /** By sample of a prompt. */
  readonly #reasoning = new Map<string, number>();

  add(event: GenerationEvent): void {
    if (event.type === 'start') {
      this.promptTokens += event.tokenIds.length;
      this.cachedTokens += event.numCachedTokens;
    } else if (event.type === 'delta') {
      this.completionTokens += event.tokenIds.length;
      const { prompt, sample, numReasoningTokens } = event;
      if (numReasoningTokens > 0) this.#reasoning.set(`${prompt} ${sample}`, numReasoningTokens);
    }
  }

  /** Of completionTokens, those that were reasoning. */
  get reasoningTokens(): number {
    let sum = 0;
    for (const count of this.#reasoning.values()) sum += count;
    return sum;
  }

  /** As chat and text completions say it. */
  get openai() {
    return {
      prompt_tokens: this.promptTokens,
      total_tokens: this.promptTokens + this.completionTokens,
      completion_tokens: this.completionTokens,
      prompt_tokens_details: { cached_tokens: this.cachedTokens },
      completion_tokens_details: { reasoning_tokens: this.reasoningTokens },
    };
  }

  get responses() {
    return {
      input_tokens: this.promptTokens,
      input_tokens_details: { cached_tokens: this.cachedTokens, cache_write_tokens: 0 },
      output_tokens: this.completionTokens,
      output_tokens_details: { reasoning_tokens: this.reasoningTokens },
      total_tokens: this.promptTokens + this.completionTokens,
    };
  }

  get anthropic() {
    return {
      input_tokens: this.promptTokens - this.cachedTokens,
      output_tokens: this.completionTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: this.cachedTokens,
    };
  }
}

/** Tokens of a request, counted from its events. */
import type { GenerationEvent } from './engine-events.js';

export class Usage {
  promptTokens = 0;
  cachedTokens = 0;
  completionTokens = 0;

  add(event: GenerationEvent): void {
    if (event.type === 'start') {
      this.promptTokens += event.tokenIds.length;
      this.cachedTokens += event.numCachedTokens;
    } else if (event.type === 'delta') this.completionTokens += event.tokenIds.length;
  }

  /** As chat and text completions say it. */
  get openai() {
    return {
      prompt_tokens: this.promptTokens,
      total_tokens: this.promptTokens + this.completionTokens,
      completion_tokens: this.completionTokens,
      prompt_tokens_details: { cached_tokens: this.cachedTokens },
      completion_tokens_details: { reasoning_tokens: 0 },
    };
  }

  get responses() {
    return {
      input_tokens: this.promptTokens,
      input_tokens_details: { cached_tokens: this.cachedTokens, cache_write_tokens: 0 },
      output_tokens: this.completionTokens,
      output_tokens_details: { reasoning_tokens: 0 },
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

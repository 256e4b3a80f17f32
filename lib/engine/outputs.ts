/** The shapes of what comes back; names are vLLM's in camelCase. */

import type { TokenLogprob } from '../core/token-logprobs.js';
import type { OctavoError } from '../errors.js';
import type { ChatEvent, ToolCall } from '../tools/types.js';

export type { TokenLogprob };

/** How a sequence ends. */
export type EndReason = 'stop' | 'length' | 'abort' | 'error';

/** `tool_calls`: the answer of a conversation ended by itself, and called tools. */
export type FinishReason = EndReason | 'tool_calls';

/** What is told of the answer of a conversation. */
export interface ChatAnswer {
  /** Its text without reasoning and calls; undefined where the prompt was no conversation. */
  readonly content?: string;
  /** Undefined where there was none. */
  readonly reasoning?: string;
  /** Undefined where there are none. */
  readonly toolCalls?: readonly ToolCall[];
  /** Tokens of its reasoning. */
  readonly numReasoningTokens?: number;
}

/** One of the n samples of a request, or one of its beams. `T`: of its `json`. */
export interface CompletionOutput<T = unknown> extends ChatAnswer {
  /** 0 … n − 1; of beams, 0 is the best. */
  readonly index: number;
  /** All text so far; never contains the token that ended the sequence. */
  readonly text: string;
  /** Text that is new since the last output this stream gave; the whole text for `generate()`. */
  readonly delta: string;
  /** All ids so far, an EOS or stop id that ended the sequence included. */
  readonly tokenIds: readonly number[];
  /**
   * Sum of the raw logprobs of tokenIds, in nats; 0 for those that joined because a grammar left no
   * choice (engine option `enableJumpForward`).
   */
  readonly cumulativeLogprob: number;
  /** Of a beam: cumulativeLogprob / tokenIds.length ^ lengthPenalty. */
  readonly score?: number;
  /** One entry per token of tokenIds, if `logprobs` was asked for. */
  readonly logprobs?: readonly TokenLogprob[];
  /**
   * null while it runs. `stop`: EOS, a stop id or a stop string; `length`: maxTokens or the
   * context's end; `error`: its grammar left nothing to go on with, as `error` says.
   */
  readonly finishReason: FinishReason | null;
  /** ERR_GRAMMAR, of a sample that ended with `error`; what it has by then stays. */
  readonly error?: OctavoError;
  /** The stop string or stop id that ended it; null for EOS. */
  readonly stopReason: string | number | null;
  /**
   * The value of the text, where `structuredOutputs` asked for JSON and it has ended with `stop`;
   * by a zod schema what that makes of it. Undefined where it has none.
   */
  readonly json?: T;
}

/**
 * A sample as a stream gives it: what is new beside what there is. The members that hold everything
 * so far (`tokenIds`, `logprobs`) are put together when they are read, and so is `deltaLogprobs`:
 * a reader of deltas pays for what is new alone, however long the output has become.
 */
export interface StreamedCompletion<T = unknown> extends CompletionOutput<T> {
  /** Of a conversation with `chat` options: what is new, told apart. */
  readonly events?: readonly ChatEvent[];
  /** The ids that are new since the last output this stream gave. */
  readonly deltaTokenIds: readonly number[];
  /** One entry per token of deltaTokenIds, if `logprobs` was asked for. */
  readonly deltaLogprobs?: readonly TokenLogprob[];
}

/** What is new of a sample since its stream's reader last heard of it. */
export interface CompletionDelta {
  /** 0 … n − 1. */
  readonly index: number;
  /** Its new text. */
  readonly newText: string;
  /** Its new ids. */
  readonly newTokenIds: readonly number[];
  /** One entry per token of newTokenIds, if `logprobs` was asked for. */
  readonly newLogprobs?: readonly TokenLogprob[];
  /** As in CompletionOutput. */
  readonly finishReason: FinishReason | null;
  /** As in CompletionOutput. */
  readonly stopReason: string | number | null;
  /** As in CompletionOutput. */
  readonly error?: OctavoError;
  /** Of a conversation with `chat` options: the new text told apart. */
  readonly events?: readonly ChatEvent[];
  /** Tokens of reasoning so far. */
  readonly numReasoningTokens?: number;
}

/** What `streamDeltas()` gives. */
export interface DeltaOutput {
  /** As in RequestOutput. */
  readonly requestId: string;
  /** As in RequestOutput. */
  readonly prompt: string | null;
  /** As in RequestOutput. */
  readonly promptTokenIds: readonly number[];
  /** As in RequestOutput. */
  readonly promptLogprobs?: readonly (TokenLogprob | null)[];
  /** As in RequestOutput. */
  readonly seed: number;
  /** As in RequestOutput. */
  readonly numCachedTokens: number;
  /** The samples of which something is new. */
  readonly outputs: readonly CompletionDelta[];
  /** Nothing comes after it. */
  readonly finished: boolean;
  /** Null until it has finished. */
  readonly metrics: RequestMetrics | null;
  /** As in RequestOutput. */
  readonly warnings?: readonly string[];
}

/** Times of one request, in milliseconds, and what it met on its way. */
export interface RequestMetrics {
  /** Date.now() when it was accepted. */
  readonly arrivalTime: number;
  /** From acceptance to the first step that computed something of it. */
  readonly queueMs: number | null;
  /** From acceptance to its first token (TTFT). */
  readonly timeToFirstTokenMs: number | null;
  /** From the first step that computed something of it to its first token. */
  readonly prefillMs: number | null;
  /** From its first to its last token. */
  readonly decodeMs: number | null;
  /** Between one step that drew tokens of it and the next, in their order; empty until it has
   * finished. */
  readonly interTokenMs: readonly number[];
  /** Tokens of its prompt. */
  readonly numPromptTokens: number;
  /** Of these, tokens whose KV the prefix cache had. */
  readonly numCachedTokens: number;
  /** Tokens drawn for it, of all samples. */
  readonly numGeneratedTokens: number;
  /** How often it was preempted. */
  readonly numPreemptions: number;
  /** From acceptance to now, or to the end once finished. */
  readonly elapsedMs: number;
}

/** State or result of one request. */
export interface RequestOutput<T = unknown> {
  /** As it was given, or made up. */
  readonly requestId: string;
  /** The text, if the prompt came as text or messages (then after the template). */
  readonly prompt: string | null;
  /** What the prompt became. */
  readonly promptTokenIds: readonly number[];
  /** Entry i belongs to prompt token i; the first is null. Only if `promptLogprobs` was asked. */
  readonly promptLogprobs?: readonly (TokenLogprob | null)[];
  /** Its samples, or its beams, the best first. */
  readonly outputs: readonly CompletionOutput<T>[];
  /** Whether all samples have ended. */
  readonly finished: boolean;
  /** The seed that sample 0 drew with; sample i used seed + i. */
  readonly seed: number;
  /** Prompt tokens whose KV came from the prefix cache. */
  readonly numCachedTokens: number;
  /** Most blocks of this request that had more than one user, at any time. */
  readonly numSharedBlocks: number;
  /** Blocks copied because a sequence wrote into a shared one. */
  readonly numBlockCopies: number;
  /** How often it was preempted. */
  readonly numPreemptions: number;
  /** How many of these times its KV was swapped, not computed again. */
  readonly numSwaps: number;
  /** Its times, and what it met on its way. */
  readonly metrics: RequestMetrics;
  /** What of its tools, schema or reasoning is not enforced or has no effect, if anything. */
  readonly warnings?: readonly string[];
}

/** A sample of {@link LLM.chat}: its answer is always told apart. */
export interface ChatCompletion<T = unknown> extends CompletionOutput<T> {
  /** The text without reasoning and calls; '' where there is nothing else. */
  readonly content: string;
}

/** What {@link LLM.chat} gives. */
export interface ChatOutput<T = unknown> extends RequestOutput<T> {
  /** Its samples, or its beams, the best first. */
  readonly outputs: readonly ChatCompletion<T>[];
}

/** What a stream gives: a state that stays as it was, whatever comes after it. */
export interface StreamOutput<T = unknown> extends RequestOutput<T> {
  /** Its samples, each with what is new. */
  readonly outputs: readonly StreamedCompletion<T>[];
}

/** What {@link LLM.events} gives: the figures after a step. */
export interface EngineEvent extends EngineStats {
  /** Date.now() after the step. */
  readonly time: number;
  /** Blocks of the KV pool in use. */
  readonly numBlocksUsed: number;
  /** Blocks that nothing uses; those with a cached prefix among them. */
  readonly numBlocksFree: number;
  /** Blocks, free or in use, with a prefix that can be hit. */
  readonly numBlocksCached: number;
  /** Blocks named by all block tables: what would be in use if nothing were shared. */
  readonly numTableEntries: number;
  /** Blocks of the swap space in use. */
  readonly numHostBlocksUsed: number;
  /** States of recurrent layers there. */
  readonly numHostStatesUsed: number;
  /** What the step did. */
  readonly step: {
    /** From its submission to the end of its commit. */
    readonly ms: number;
    /** How long of that the forward pass and the sampling took. */
    readonly computeMs: number;
    /** Sequences that it computed. */
    readonly numSeqs: number;
    /** Tokens computed, prompts' and generated. */
    readonly numTokens: number;
    /** Blocks that it copied, for copy-on-write. */
    readonly numBlockCopies: number;
    /** Blocks that it moved to the swap space. */
    readonly numBlocksSwappedOut: number;
    /** Blocks that it moved back. */
    readonly numBlocksSwappedIn: number;
  };
}

/** Counters since load, and gauges now. */
export interface EngineStats {
  /** Requests that run. */
  readonly numRequestsRunning: number;
  /** Requests that wait for their turn. */
  readonly numRequestsWaiting: number;
  /** Preempted, their KV and states in the swap space. */
  readonly numRequestsSwapped: number;
  /** Share of the pool's blocks in use, 0 … 1. */
  readonly kvCacheUsage: number;
  /** The most that it was. */
  readonly peakKvCacheUsage: number;
  /** Steps computed. */
  readonly numSteps: number;
  /** Tokens of the prompts whose computation began. */
  readonly promptTokens: number;
  /** Tokens drawn, whatever came of them. */
  readonly generationTokens: number;
  /** Of promptTokens, those whose KV the prefix cache had when they began. */
  readonly promptTokensCached: number;
  /** Prompt tokens looked up in the prefix cache. */
  readonly prefixCacheQueries: number;
  /** Of these, tokens that were found. */
  readonly prefixCacheHits: number;
  /** States of recurrent layers that sequences use. 0 = there are no such layers. */
  readonly numStatesUsed: number;
  /** States that the prefix cache has. */
  readonly numStatesCached: number;
  /** How often one of these was found. */
  readonly numStateHits: number;
  /** How often a request was preempted. */
  readonly numPreemptions: number;
  /** Blocks copied because a sequence wrote into a shared one. */
  readonly numBlockCopies: number;
  /** Blocks moved to the swap space. */
  readonly numBlocksSwappedOut: number;
  /** Blocks moved back. */
  readonly numBlocksSwappedIn: number;
  /** States of recurrent layers moved there. */
  readonly numStatesSwappedOut: number;
  /** States moved back. */
  readonly numStatesSwappedIn: number;
  /** Draws that a grammar had made a mask for. */
  readonly numMasks: number;
  /** Of generationTokens, those that a grammar left no choice about, and that were not drawn. */
  readonly numTokensForced: number;
  /** Requests that ended by themselves. */
  readonly numRequestsFinished: number;
  /** Requests that were ended: by their caller, a deadline, close() or a failure. */
  readonly numRequestsAborted: number;
  /**
   * Requests that have ended, each once: `length` where a sample met its limit, else `stop`;
   * `abort` by the caller, a deadline, drain() or close(); `error` by a failure, of a sample too.
   */
  readonly numRequestsBy: Readonly<Record<EndReason, number>>;
}

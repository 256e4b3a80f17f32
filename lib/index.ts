/** octavo: LLM inference inside a Node process, around PagedAttention. */
export type { EngineOptions } from './config.js';
export type { BeamSearchParams } from './core/beam-params.js';
export type { SamplingParams, SamplingParamsInput } from './core/sampling-params.js';
export type { GenerateParams } from './engine/gate.js';
export { type BatchOptions, LLM, type ModelInfo } from './engine/llm.js';
export type {
  CompletionOutput,
  EngineEvent,
  EngineStats,
  FinishReason,
  RequestMetrics,
  RequestOutput,
  TokenLogprob,
} from './engine/outputs.js';
export type { Prompt } from './engine/prompts.js';
export type { RequestOptions } from './engine/request.js';
export { ERRORS, type ErrorCode, isOctavoError, type OctavoError } from './errors.js';
export type { ChatMessage, RenderOptions } from './text/chat-template.js';
export type { DecodeOptions, EncodeOptions, Tokenizer } from './text/tokenizer.js';

/**
 * octavo: LLM inference inside a Node process, around PagedAttention.
 * @module octavo
 */

export type { KvEventsOptions } from './config/kv-events.js';
export type { EngineOptions } from './config/options.js';
export type { BeamSearchParams } from './core/beam-params.js';
export type { SamplingParams } from './core/sampling-params.js';
export type { StructuredOutputs, ZodSchema } from './core/structured.js';
export type { BatchOptions, EncodeCallOptions } from './engine/call-options.js';
export type { ChatCallOptions } from './engine/chat-tools.js';
export type { CompiledGrammar } from './engine/compiled-grammar.js';
export type { EventOptions } from './engine/events.js';
export type { LoadOptions } from './engine/find-model.js';
export type { GenerateParams } from './engine/gate.js';
export { LLM } from './engine/llm.js';
export type { ModelInfo, WeightKind } from './engine/load.js';
export type { DrainOptions, DrainResult } from './engine/open-calls.js';
export type {
  ChatAnswer,
  ChatCompletion,
  ChatOutput,
  CompletionDelta,
  CompletionOutput,
  DeltaOutput,
  EndReason,
  EngineEvent,
  EngineStats,
  FinishReason,
  RequestMetrics,
  RequestOutput,
  StreamedCompletion,
  StreamOutput,
  TokenLogprob,
} from './engine/outputs.js';
export type { KvGroupInfo } from './engine/plan.js';
export type { PoolingInfo } from './engine/pooling-info.js';
export type {
  ClassifyOptions,
  EmbedOptions,
  RankOptions,
  ScoreOptions,
  TruncateOptions,
} from './engine/pooling-options.js';
export type {
  ClassifyOutput,
  EmbeddingOutput,
  RankOutput,
  ScoreOutput,
} from './engine/pooling-outputs.js';
export type { PoolingPrompt } from './engine/pooling-texts.js';
export type { Prompt } from './engine/prompts.js';
export type { RequestOptions, TraceHeaders } from './engine/request.js';
export { ERRORS, type ErrorCode, isOctavoError, type OctavoError } from './errors.js';
export type { DownloadProgress } from './hub/fetch-model.js';
export type { ChatPart } from './text/chat-messages.js';
export type { ChatMessage, RenderOptions } from './text/chat-template.js';
export type { DecodeOptions, EncodeOptions, Tokenizer } from './text/tokenizer.js';
export type {
  ChatEvent,
  ChatOptions,
  ReasoningOptions,
  ToolCall,
  ToolChoice,
  ToolDefinition,
} from './tools/types.js';

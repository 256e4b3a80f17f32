/**
 * `octavo/server`: serve a model to clients that know OpenAI's or Anthropic's API.
 * @module octavo/server
 */
export { createServer, type Handler } from './handler.js';
export { jsonLines, type Logger } from './logs.js';
export type { ServerOptions } from './options.js';
export { type ListenOptions, type RunningServer, serve } from './serve.js';

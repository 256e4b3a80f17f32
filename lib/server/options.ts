/** What a server may be told: checked whole, frozen. */
import { z } from 'zod';
import { octavoError } from '../errors.js';
import { CALL_NAMES, REASONING_NAMES } from '../tools/named.js';
import type { Logger } from './logs.js';

/** Of `createServer()` and `serve()`. */
export interface ServerOptions {
  /** Names that requests may call the model by; `*` takes any. Default: its folder's or file's.
   * For a server of one model. */
  readonly servedModelName?: string | readonly string[];
  /** Keys that requests must bring one of, as `Authorization: Bearer` or `x-api-key`. */
  readonly apiKey?: string | readonly string[];
  /** Origins whose pages may read answers; `*` is any. Default: pages of this machine. */
  readonly allowedOrigins?: readonly string[];
  /** A path in front of every route, stripped before or not; what the server says of itself has
   * it. Express tells by itself where it has mounted a handler. */
  readonly rootPath?: string;
  /** A chat template (its text) in place of the model's. */
  readonly chatTemplate?: string;
  /** Whether requests may bring a `chat_template` of their own. Default false. */
  readonly trustRequestChatTemplate?: boolean;
  /** Requests may ask for fewer `dimensions` although the model's files do not say that it was
   * trained for them. Default false. */
  readonly matryoshka?: boolean;
  /** Longest body of a request. Default 16 MiB. */
  readonly maxBodyBytes?: number;
  /** Messages of a conversation, their parts and calls of tools counted, too: a template goes over
   * them in one go, 10,000 in about 0.3 s. Default 10,000. */
  readonly maxMessages?: number;
  /** What the bodies of all requests under way may have together; beyond, 503. Default 256 MiB. */
  readonly maxTotalBodyBytes?: number;
  /** Names that a `Host` header may have; `*` is any. IP addresses and `localhost` always may.
   * Default: not looked at by `createServer()`; by `serve()` none where it listens on loopback
   * without a key, so that a page whose name leads there cannot ask. */
  readonly allowedHosts?: readonly string[];
  /** A request that takes longer ends with 408; one may ask for less with
   * `x-request-timeout-ms`. Default: no limit. */
  readonly requestTimeoutMs?: number;
  /** A comment keeps a silent stream open this often. Default 5,000; 0: never. */
  readonly pingIntervalMs?: number;
  /** Tokens of a sample in each frame of a stream after the first one; more cost server and client
   * less. Default 1. */
  readonly streamInterval?: number;
  /** What may wait for a reader that does not read; then the request ends. Default 1 MiB. */
  readonly maxBufferedBytes?: number;
  /** Responses kept for `previous_response_id`, the newest. Default 256; 0: none. */
  readonly maxStoredResponses?: number;
  /** Bytes of JSON that they may have together. Default 64 MiB. */
  readonly maxStoredBytes?: number;
  /** Whether answers say `x-request-id`. Default true. */
  readonly enableRequestIdHeaders?: boolean;
  /** Streams end with their usage, asked for or not. Default false. */
  readonly enableForceIncludeUsage?: boolean;
  /** Sampling values of generation_config.json where a request has none. Default true. */
  readonly useModelDefaults?: boolean;
  /** The form in which the model calls tools, by vLLM's name (`hermes`, say). Default: what its
   * chat template shows. */
  readonly toolCallParser?: string;
  /** The form in which it reasons. Default: what its chat template shows; `none` takes reasoning
   * for content. */
  readonly reasoningParser?: string;
  /** Under which names chat completions tell reasoning: clients know one or the other. Default
   * both. */
  readonly reasoningField?: 'both' | 'reasoning' | 'reasoning_content';
  /** Whether /metrics is there. Default true. */
  readonly metrics?: boolean;
  /** Whether /dashboard is there: a live page of what the engine does, for whoever has a key. It
   * tells of everybody's requests: ids, times, texts of beams. Default false. */
  readonly enableDashboard?: boolean;
  /** Takes a line for each request. Default: none is written. */
  readonly logger?: Logger;
}

const list = z
  .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
  .transform((value) => (typeof value === 'string' ? [value] : value));
/** What a header can bring. */
const KEY = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
const key = z
  .string()
  .regex(KEY, 'a key is ASCII, without line ends, and without spaces at its ends');
const keys = z
  .union([key, z.array(key).min(1)])
  .transform((value) => (typeof value === 'string' ? [value] : value));
const ms = z
  .number()
  .min(0)
  .max(2 ** 31 - 1);
const bytes = z
  .int()
  .min(1)
  .max(2 ** 40);

const schema = z.strictObject({
  servedModelName: list.optional(),
  apiKey: keys.optional(),
  allowedOrigins: z.array(z.string().min(1)).optional(),
  rootPath: z
    .string()
    .default('')
    .transform((path) => path.replace(/\/+$/, ''))
    .refine((path) => path === '' || path.startsWith('/'), 'must begin with a slash'),
  chatTemplate: z.string().optional(),
  trustRequestChatTemplate: z.boolean().default(false),
  matryoshka: z.boolean().default(false),
  maxBodyBytes: bytes.default(2 ** 24),
  maxMessages: z
    .int()
    .min(1)
    .max(2 ** 31 - 1)
    .default(10_000),
  maxTotalBodyBytes: bytes.default(2 ** 28),
  allowedHosts: z.array(z.string().min(1)).optional(),
  requestTimeoutMs: ms.min(1).optional(),
  pingIntervalMs: ms.default(5000),
  streamInterval: z
    .int()
    .min(1)
    .max(2 ** 31 - 1)
    .default(1),
  maxBufferedBytes: bytes.default(2 ** 20),
  maxStoredResponses: z.int().min(0).default(256),
  maxStoredBytes: bytes.default(2 ** 26),
  enableRequestIdHeaders: z.boolean().default(true),
  enableForceIncludeUsage: z.boolean().default(false),
  useModelDefaults: z.boolean().default(true),
  toolCallParser: z.enum(['auto', ...CALL_NAMES]).optional(),
  reasoningParser: z.enum(['auto', 'none', ...REASONING_NAMES]).optional(),
  reasoningField: z.enum(['both', 'reasoning', 'reasoning_content']).default('both'),
  metrics: z.boolean().default(true),
  enableDashboard: z.boolean().default(false),
  logger: z.custom<Logger>((value) => typeof value === 'object' && value !== null).optional(),
});

const checked = schema.refine(
  ({ maxBodyBytes, maxTotalBodyBytes }) => maxBodyBytes <= maxTotalBodyBytes,
  { path: ['maxTotalBodyBytes'], message: 'must be at least maxBodyBytes' },
);

type Open =
  | 'allowedOrigins'
  | 'allowedHosts'
  | 'chatTemplate'
  | 'requestTimeoutMs'
  | 'toolCallParser'
  | 'reasoningParser'
  | 'logger';
type Lists = 'servedModelName' | 'apiKey';

/** Checked, complete, lists as lists. */
export type ServerConfig = Readonly<
  Required<Omit<ServerOptions, Open | Lists>> &
    Pick<ServerOptions, Open> & { [name in Lists]?: readonly string[] }
>;

const NAMES = Object.keys(schema.shape);

/** @throws ERR_INVALID_OPTION naming the option */
export function serverConfig(options: ServerOptions = {}): ServerConfig {
  const parsed = checked.safeParse(options);
  if (parsed.success) return Object.freeze(parsed.data);
  const [issue] = parsed.error.issues;
  const param = issue.code === 'unrecognized_keys' ? issue.keys[0] : issue.path.join('.');
  const sentence =
    issue.code === 'unrecognized_keys'
      ? `there is no server option ${param}; the options are ${NAMES.join(', ')}`
      : `server option ${param}: ${issue.message}`;
  throw octavoError('ERR_INVALID_OPTION', sentence, { param });
}

/** What belongs to a call rather than to the drawing of tokens: checked whole, taken once. */
import { z } from 'zod';
import { readArgument, takeObject, unknownName } from '../arguments.js';
import { octavoError } from '../errors.js';
import { callFields } from './call-fields.js';
import type { RequestOutput } from './outputs.js';
import type { RequestOptions } from './request.js';

/** Of a batch. `timeoutMs` is the time of all of it, `signal` ends all of it. */
export interface BatchOptions extends RequestOptions {
  /**
   * Called with each output as it ends, and its place in the batch. Outputs do not wait for each
   * other's promises, the batch does for all; one that rejects ends the batch with its error.
   */
  readonly onOutput?: (output: RequestOutput, index: number) => unknown;
}

/** Of any call. */
export type SignalOptions = Pick<RequestOptions, 'signal' | 'timeoutMs'>;

/** Of `encode()`, which draws no tokens. */
export interface EncodeCallOptions extends SignalOptions {
  /** Most tokens; a text that has more is refused, untouched where its length tells. Default: the
   * model's context. */
  readonly maxTokens?: number;
  /** Whether the BOS (and EOS) that the tokenizer asks for are added. Default: of a text yes, of a
   * conversation no, whose template writes its own. */
  readonly addSpecialTokens?: boolean;
}

/** Options of a call, checked. */
export interface CallOptions extends BatchOptions {
  readonly priority: number;
  readonly useModelDefaults: boolean;
}

const maxTokensSentence = 'maxTokens must be an integer above 0';

const encode = callFields.pick({ signal: true, timeoutMs: true }).extend({
  maxTokens: z.int(maxTokensSentence).min(1, maxTokensSentence).optional(),
  addSpecialTokens: z.boolean('addSpecialTokens must be true or false').optional(),
});

const batch = callFields.extend({
  onOutput: z
    .custom<BatchOptions['onOutput']>((f) => typeof f === 'function', 'onOutput must be a function')
    .optional(),
});

/** @throws ERR_INVALID_PARAM naming the option, also for a name that is none */
export function callOptions(options: unknown, kind: 'single' | 'batch' = 'single'): CallOptions {
  return checked(options, kind === 'batch' ? batch : callFields);
}

/** @throws ERR_INVALID_PARAM as {@link callOptions} */
export function encodeOptions(options: unknown): EncodeCallOptions {
  return checked(options, encode);
}

function checked<S extends z.ZodObject>(options: unknown, schema: S): z.output<S> {
  const given = takeObject(options, 'request options', 'options');
  // Only a signal is looked into.
  const unreadable = () => invalid('signal', 'signal must be an AbortSignal');
  const parsed = readArgument(() => schema.safeParse(given), unreadable);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue.code !== 'unrecognized_keys') throw invalid(String(issue.path[0]), issue.message);
  const [name] = issue.keys;
  throw unknownName('a request has no option', name, Object.keys(schema.shape));
}

function invalid(param: string, message: string): Error {
  return octavoError('ERR_INVALID_PARAM', message, { param });
}

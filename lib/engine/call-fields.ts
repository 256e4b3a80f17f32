/** The options that several calls have, each checked. */
import { z } from 'zod';
import type { TraceHeaders } from './request.js';

/** setTimeout takes no more. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

const idSentence = 'requestId must be a string that is not empty';
const prioritySentence = 'priority must be an integer from -2^31 to 2^31 - 1';
const timeoutSentence = `timeoutMs must be a number from 1 to ${MAX_TIMEOUT_MS}`;

const headersSentence = 'traceHeaders must be {traceparent, tracestate}, both strings';
const HEADERS = ['traceparent', 'tracestate'];

/** Of a request, the names that other calls have too included. */
export const callFields = z.strictObject({
  signal: z.custom<AbortSignal>(isSignal, 'signal must be an AbortSignal').optional(),
  requestId: z.string(idSentence).min(1, idSentence).optional(),
  priority: z
    .int(prioritySentence)
    .min(-(2 ** 31), prioritySentence)
    .max(2 ** 31 - 1, prioritySentence)
    .default(0),
  timeoutMs: z
    .number(timeoutSentence)
    .min(1, timeoutSentence)
    .max(MAX_TIMEOUT_MS, timeoutSentence)
    .optional(),
  traceHeaders: z.custom<TraceHeaders>(isTraceHeaders, headersSentence).optional(),
  useModelDefaults: z.boolean('useModelDefaults must be true or false').default(false),
});

/** Both may be absent; a `Headers`, of which no name can be seen, is none. */
function isTraceHeaders(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return false;
  return Object.entries(value).every(
    ([name, text]) => HEADERS.includes(name) && (text === undefined || typeof text === 'string'),
  );
}

/** What is asked of a signal; one of another realm, or a library's own, will do. */
function isSignal(value: unknown): boolean {
  const { aborted, addEventListener, removeEventListener } = (value ?? {}) as Partial<AbortSignal>;
  return (
    typeof aborted === 'boolean' &&
    typeof addEventListener === 'function' &&
    typeof removeEventListener === 'function'
  );
}

/** The options that several calls have, each checked. */
import { z } from 'zod';

/** setTimeout takes no more. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

const idSentence = 'requestId must be a string that is not empty';
const prioritySentence = 'priority must be an integer from -2^31 to 2^31 - 1';
const timeoutSentence = `timeoutMs must be a number from 1 to ${MAX_TIMEOUT_MS}`;

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
  useModelDefaults: z.boolean('useModelDefaults must be true or false').default(false),
});

/** What is asked of a signal; one of another realm, or a library's own, will do. */
function isSignal(value: unknown): boolean {
  const { aborted, addEventListener, removeEventListener } = (value ?? {}) as Partial<AbortSignal>;
  return (
    typeof aborted === 'boolean' &&
    typeof addEventListener === 'function' &&
    typeof removeEventListener === 'function'
  );
}

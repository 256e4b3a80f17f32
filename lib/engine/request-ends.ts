/** How requests end: the reason under which one counts, and the errors that engines make. */
import type { SequenceGroup } from '../core/sequence.js';
import { isOctavoError, octavoError } from '../errors.js';
import type { Request } from './request.js';

/** Ended so, a request has not failed. */
export const ABORTING: ReadonlySet<string> = new Set([
  'ERR_ABORTED',
  'ERR_TIMEOUT',
  'ERR_DRAINING',
  'ERR_CLOSED',
]);

/** After these the executor is no longer to be trusted. */
export const FATAL: ReadonlySet<string> = new Set([
  'ERR_DEVICE_LOST',
  'ERR_INTERNAL',
  'ERR_CLOSED',
]);

/** What is not an error of this package is a mistake in it. */
export function coded(error: unknown): Error & { code?: string } {
  if (isOctavoError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return octavoError('ERR_INTERNAL', `internal error: ${message}`, { cause: error });
}

export function closedError(): Error {
  return octavoError('ERR_CLOSED', 'the model was closed; load it anew');
}

/** Under which reason a request counts. */
export function endOf(
  { group }: Request,
  error: (Error & { code?: string }) | null,
): 'stop' | 'length' | 'abort' | 'error' {
  if (error !== null) return ABORTING.has(error.code ?? '') ? 'abort' : 'error';
  if (!group.finished) return 'abort';
  const ends = group.beams?.finished ?? group.sequences;
  return ends.some(({ finishReason }) => finishReason === 'length') ? 'length' : 'stop';
}

/** A row of logits had no finite one that may be drawn. */
export function nothingToDraw({ sequences, params }: SequenceGroup): Error {
  const sequence = sequences.find((s) => s.finishReason === 'error') ?? sequences[0];
  const banned = new Set(params.badWordIds.flatMap((word) => word.slice(-1)));
  if (sequence.numTokens < sequence.mayStopAt) for (const id of params.endTokenIds) banned.add(id);
  if (params.allowedIds?.every((id) => banned.has(id))) {
    return octavoError(
      'ERR_INVALID_PARAM',
      'nothing is left to draw: each of allowedTokenIds is banned by badWords, or would end the ' +
        'output before minTokens are there; allow more, or ban less',
      { param: 'allowedTokenIds' },
    );
  }
  return octavoError(
    'ERR_NON_FINITE',
    `the model gave no finite logit to draw token ${sequence.numOutputTokens} of the output ` +
      'from: its weights are damaged or overflow in this dtype, a penalty is extreme, or bad ' +
      'words, stop ids and allowed tokens left nothing',
  );
}

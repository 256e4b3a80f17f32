/** How requests end: the reason under which one counts, and the errors that engines make. */
import type { Sequence, SequenceGroup } from '../core/sequence.js';
import { isOctavoError, octavoError } from '../errors.js';
import type { GrammarConstraint } from './constraint.js';
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

/** Nothing is left of what its grammar allows. */
function isDeadEnd({ constraint, group }: Sequence, banned: ReadonlySet<number>): boolean {
  if (constraint === null) return false;
  const { allowedIds } = group.params;
  const allowed = (constraint as GrammarConstraint).allowed();
  return allowed.every((id) => banned.has(id) || allowedIds?.includes(id) === false);
}

function deadEnd(sequence: Sequence): Error {
  const { constraint, numOutputTokens, numTokens, mayStopAt, group } = sequence;
  const { failure } = (constraint as GrammarConstraint).matcher;
  const { allowedIds, badWordIds } = group.params;
  const others = [
    ...(badWordIds.length > 0 ? ['badWords'] : []),
    ...(allowedIds !== null ? ['allowedTokenIds'] : []),
    ...(numTokens < mayStopAt ? ['minTokens'] : []),
  ];
  const why = failure
    ? failure
    : others.length > 0
      ? `${others.join(' and ')} forbid all that the grammar allows there; loosen one of them`
      : 'no token of the vocabulary continues what the grammar asks for';
  return octavoError(
    'ERR_GRAMMAR',
    `the output cannot go on after ${numOutputTokens} tokens: ${why}`,
    { param: 'structuredOutputs' },
  );
}

/** A row of logits had no finite one that may be drawn. */
export function nothingToDraw({ sequences, params }: SequenceGroup): Error {
  const sequence = sequences.find((s) => s.finishReason === 'error') ?? sequences[0];
  const banned = new Set(params.badWordIds.flatMap((word) => word.slice(-1)));
  if (sequence.numTokens < sequence.mayStopAt) for (const id of params.endTokenIds) banned.add(id);
  const dead = sequences.find((s) => isDeadEnd(s, banned));
  if (dead !== undefined) return deadEnd(dead);
  if (sequence.constraint !== null) {
    // Its mask was not found within the limits, which other texts may have used up meanwhile.
    return octavoError(
      'ERR_GRAMMAR',
      `the output cannot go on after ${sequence.numOutputTokens} tokens: what its grammar allows ` +
        'there takes more work than grammarMaxCompileMs, grammarMaxStates or grammarCacheBytes ' +
        'grant (or the model gave no finite logit); make the grammar simpler',
      { param: 'structuredOutputs' },
    );
  }
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

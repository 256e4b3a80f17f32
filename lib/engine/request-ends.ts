/** How requests end: the reason under which one counts, and the errors that engines make. */
import type { Sequence, SequenceGroup } from '../core/sequence.js';
import { isOctavoError, type OctavoError, octavoError } from '../errors.js';
import type { GrammarConstraint } from './constraint.js';
import type { Request } from './request.js';
import { recordOf } from './snapshot.js';

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
  const ends = (group.beams?.finished ?? group.sequences).map(({ finishReason }) => finishReason);
  if (ends.includes('error')) return 'error';
  return ends.includes('length') ? 'length' : 'stop';
}

/**
 * What ends the request of a group that has ended, none where it has outputs. A sample whose
 * grammar left nothing to go on with keeps what it has and tells of it itself, unless no sample has
 * anything.
 */
export function failureOf({ beams, sequences }: SequenceGroup): Error | null {
  const failed = sequences.filter((sequence) => sequence.finishReason === 'error');
  if (failed.length === 0) return null;
  if (beams !== null) return nothingToDraw(sequences.find(isDeadEnd) ?? failed[0]);
  const errors = failed.flatMap((sequence) => recordOf(sequence).error ?? []);
  const isEmpty = sequences.every((sequence) => sequence.numOutputTokens === 0);
  return errors.find(({ code }) => isEmpty || code !== 'ERR_GRAMMAR') ?? null;
}

/** What else than its grammar forbids where a sequence is. */
function bannedFor({ group, numTokens, mayStopAt }: Sequence): ReadonlySet<number> {
  const { badWordIds, endTokenIds } = group.params;
  const banned = new Set(badWordIds.flatMap((word) => word.slice(-1)));
  if (numTokens < mayStopAt) for (const id of endTokenIds) banned.add(id);
  return banned;
}

/** Nothing is left of what its grammar allows. */
function isDeadEnd(sequence: Sequence): boolean {
  const { constraint, group } = sequence;
  if (constraint === null) return false;
  const banned = bannedFor(sequence);
  const { allowedIds } = group.params;
  const allowed = (constraint as GrammarConstraint).allowed();
  return allowed?.every((id) => banned.has(id) || allowedIds?.includes(id) === false) ?? false;
}

function deadEnd(sequence: Sequence): string {
  const { numTokens, mayStopAt, group } = sequence;
  const { allowedIds, badWordIds } = group.params;
  const others = [
    ...(badWordIds.length > 0 ? ['badWords'] : []),
    ...(allowedIds !== null ? ['allowedTokenIds'] : []),
    ...(numTokens < mayStopAt ? ['minTokens'] : []),
  ];
  return others.length > 0
    ? `${others.join(' and ')} forbid all that the grammar allows there; loosen one of them`
    : 'no token of the vocabulary continues what the grammar asks for';
}

/** Its mask was not found within the limits, which other texts may have used up meanwhile. */
const TOO_MUCH_WORK =
  'what its grammar allows there takes more work than grammarMaxCompileMs, grammarMaxStates or ' +
  'grammarCacheBytes grant (or the model gave no finite logit); make the grammar simpler';

/** Why a sequence had no finite logit that may be drawn, or its grammar refused what was. */
export function nothingToDraw(sequence: Sequence): OctavoError {
  const { constraint, group, numOutputTokens } = sequence;
  if (constraint !== null) {
    const { failure } = (constraint as GrammarConstraint).matcher;
    const why = failure || (isDeadEnd(sequence) ? deadEnd(sequence) : TOO_MUCH_WORK);
    return octavoError(
      'ERR_GRAMMAR',
      `the output cannot go on after ${numOutputTokens} tokens: ${why}`,
      { param: 'structuredOutputs' },
    );
  }
  if (group.params.allowedIds?.every((id) => bannedFor(sequence).has(id))) {
    return octavoError(
      'ERR_INVALID_PARAM',
      'nothing is left to draw: each of allowedTokenIds is banned by badWords, or would end the ' +
        'output before minTokens are there; allow more, or ban less',
      { param: 'allowedTokenIds' },
    );
  }
  return octavoError(
    'ERR_NON_FINITE',
    `the model gave no finite logit to draw token ${numOutputTokens} of the output ` +
      'from: its weights are damaged or overflow in this dtype, a penalty is extreme, or bad ' +
      'words, stop ids and allowed tokens left nothing',
  );
}

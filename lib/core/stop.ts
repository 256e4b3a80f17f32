/**
 * When a sequence ends. Order: the minTokens gate (never of length) → EOS → stop ids → length →
 * stop strings. The text lives with the engine, so it is asked for those; they come last but
 * outrank length, because text never runs past a stop string.
 */
import type { Sequence } from './sequence.js';

/**
 * Asked once for every token that joins the text, in order: all accepted tokens but an EOS or stop
 * id that ends the sequence. The token is the last of the sequence; `at` is its place in the
 * step's result. Returns the stop string that its text now holds, or null; the answer counts only
 * where `mayStop` (minTokens are there).
 */
export type FindStop = (sequence: Sequence, at: number, mayStop: boolean) => string | null;

/** Decides after a token was appended; sets finishReason and stopReason. True: it has ended. */
export function decideEnd(sequence: Sequence, at: number, findStop: FindStop): boolean {
  const mayStop = sequence.numTokens >= sequence.mayStopAt;
  if (mayStop && endsByToken(sequence)) return true;
  const byLength = sequence.numTokens >= sequence.endsAt;
  const stop = findStop(sequence, at, mayStop);
  if (stop !== null && mayStop) {
    sequence.finishReason = 'stop';
    sequence.stopReason = stop;
    return true;
  }
  if (byLength) sequence.finishReason = 'length';
  return byLength;
}

function endsByToken(sequence: Sequence): boolean {
  const token = sequence.lastToken;
  const { eosTokenIds, stopTokenIds } = sequence.group.params;
  for (let i = 0; i < eosTokenIds.length; i++) {
    if (eosTokenIds[i] !== token) continue;
    sequence.finishReason = 'stop';
    return true;
  }
  for (let i = 0; i < stopTokenIds.length; i++) {
    if (stopTokenIds[i] !== token) continue;
    sequence.finishReason = 'stop';
    sequence.stopReason = token;
    return true;
  }
  return false;
}

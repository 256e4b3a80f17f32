/**
 * What a step of a beam search does to its group: dropped beams give their blocks back, survivors
 * that share a parent are forked from it. A parent goes on as its own last child, which spares that
 * child the copy of a begun block; nothing is ever computed again.
 */
import type { Survivor } from './beam-search.js';
import type { SchedulerState } from './scheduler-state.js';
import type { Sequence, SequenceGroup } from './sequence.js';
import type { StepResult } from './step-result.js';

/** Keeps the list of a beam's next tokens, which stands beside one token of the result. */
export function takeCandidates(
  sequence: Sequence,
  { topAt, topTokenIds, topLogprobs }: StepResult,
  token: number,
): void {
  const [from, to] = [topAt[token], topAt[token + 1]];
  sequence.bring({
    tokenIds: topTokenIds.slice(from, to),
    logprobs: topLogprobs.slice(from, to),
  });
}

/** What became of a group in {@link growBeams}; 'changed': other sequences of it run now. */
export type Growth = 'same' | 'changed' | 'over';

/** One step of the search, once all live beams have brought their candidates. */
export function growBeams(state: SchedulerState, group: SequenceGroup): Growth {
  const beams = group.beams!;
  const before = beams.live;
  const survivors = beams.advance();
  if (survivors === null) return 'over';
  const lastChild = new Map<Sequence, number>();
  survivors.forEach(({ parent }, i) => {
    lastChild.set(parent, i);
  });
  const dropped = before.filter((sequence) => !lastChild.has(sequence));
  for (const sequence of dropped) setAside(state, sequence);
  const spares = group.sequences.filter((sequence) => sequence.isSpare);
  // Children are copied before any parent moves on.
  const live = survivors.map(({ parent }, i) => {
    if (lastChild.get(parent) === i) return parent;
    const child = spares.shift()!;
    forkInto(state, parent, child);
    return child;
  });
  let isAllowed = true;
  live.forEach((sequence, i) => {
    if (!moveOn(sequence, survivors[i])) isAllowed = false;
  });
  if (!isAllowed) return 'over';
  beams.goOn(live);
  if (lastChild.size < live.length) state.countShared(group);
  const same = live.length === before.length && live.every((s) => before.includes(s));
  return same ? 'same' : 'changed';
}

function setAside(state: SchedulerState, sequence: Sequence): void {
  state.releaseComputed(sequence);
  sequence.becomeSpare();
}

function forkInto(state: SchedulerState, parent: Sequence, spare: Sequence): void {
  spare.becomeForkOf(parent);
  state.fork(parent, spare);
}

/** False: its constraint does not take the token after all, a limit say; it ends in error. */
function moveOn(sequence: Sequence, { token, cumulativeLogprob }: Survivor<Sequence>): boolean {
  sequence.append(token);
  const isAllowed = sequence.advanceConstraint();
  if (!isAllowed) sequence.finishReason = 'error';
  sequence.endBeamStep(cumulativeLogprob);
  return isAllowed;
}

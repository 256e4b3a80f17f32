/**
 * What a step of a beam search does to its group: dropped beams give their blocks back, survivors
 * that share a parent are forked from it. A parent goes on as its own last child, which spares that
 * child the copy of a begun block; nothing is ever computed again.
 */
import type { Survivor } from './beam-search.js';
import type { SchedulerState } from './scheduler-state.js';
import type { Sequence, SequenceGroup } from './sequence.js';
import type { StepResult } from './step.js';

/** Keeps the list of a beam's next tokens, result.top…[from … to). */
export function takeCandidates(
  sequence: Sequence,
  result: StepResult,
  from: number,
  to: number,
): void {
  sequence.candidates = {
    tokenIds: result.topTokenIds.slice(from, to),
    logprobs: result.topLogprobs.slice(from, to),
  };
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
  for (const sequence of dropped) fallAsleep(state, sequence);
  const bodies = group.sequences.filter((sequence) => sequence.asleep);
  // Children are copied before any parent moves on.
  const live = survivors.map(({ parent }, i) => {
    if (lastChild.get(parent) === i) return parent;
    const child = bodies.shift()!;
    wake(state, parent, child);
    return child;
  });
  live.forEach((sequence, i) => {
    moveOn(sequence, survivors[i]);
  });
  beams.live = live;
  if (lastChild.size < live.length) state.countShared(group);
  const same = live.length === before.length && live.every((s) => before.includes(s));
  return same ? 'same' : 'changed';
}

function fallAsleep(state: SchedulerState, sequence: Sequence): void {
  state.tables.release(sequence);
  sequence.asleep = true;
  sequence.candidates = null;
}

function wake(state: SchedulerState, parent: Sequence, child: Sequence): void {
  child.asleep = false;
  child.forkAt = parent.numComputed;
  child.copyTokens(parent);
  state.fork(parent, child);
}

function moveOn(sequence: Sequence, { token, cumulativeLogprob }: Survivor): void {
  sequence.append(token);
  sequence.cumulativeLogprob = cumulativeLogprob;
  sequence.candidates = null;
}

/**
 * The tree in which a group's sequences are computed: each stretch that several share once, then
 * forked. Every sequence but the first hangs on an earlier one, at the length up to which both have
 * the same tokens (`forkAt`); it waits until its parent has computed exactly that many, then takes
 * over the parent's table and catches up its own tokens. A query of the parent therefore ends at
 * the next `forkAt`.
 *
 * The samples of a new request are the simplest such tree: all hang on the first at the length of
 * the prompt, have nothing of their own to catch up, and so draw from the parent's last row: the
 * prompt is computed once and n first tokens come from one row of logits. A group that was
 * preempted is the general case, beams of a search among them.
 */
import type { Sequence, SequenceGroup } from './sequence.js';

/** Hangs the group's unfinished sequences on each other. The first of them is the root. */
export function plantForks(group: SequenceGroup): void {
  const { sequences } = group;
  for (let i = 0; i < sequences.length; i++) {
    const child = sequences[i];
    child.forkParent = null;
    child.waitingForks = null;
    if (child.finishReason !== null || child.asleep) continue;
    let parent: Sequence | null = null;
    let length = -1;
    for (let j = 0; j < i; j++) {
      if (sequences[j].finishReason !== null || sequences[j].asleep) continue;
      const common = commonLength(sequences[j], child);
      if (common <= length) continue;
      parent = sequences[j];
      length = common;
    }
    if (parent !== null) hang(child, parent, length);
  }
}

function hang(child: Sequence, parent: Sequence, at: number): void {
  child.forkParent = parent;
  child.forkAt = at;
  (parent.waitingForks ??= []).push(child);
}

/** The child no longer waits: it was forked, or needs no fork. */
export function unhang(child: Sequence): void {
  const parent = child.forkParent;
  if (parent === null) return;
  child.forkParent = null;
  const rest = parent.waitingForks!.filter((other) => other !== child);
  parent.waitingForks = rest.length > 0 ? rest : null;
}

/** Where this sequence's query must end at the latest: its tokens, or the next fork. */
export function nextStop(sequence: Sequence): number {
  let stop = sequence.numTokens;
  const forks = sequence.waitingForks;
  if (forks === null) return stop;
  for (const child of forks) stop = Math.min(stop, child.forkAt);
  return stop;
}

/** Both begin with the group's prompt; counts how far they stay equal. */
function commonLength(a: Sequence, b: Sequence): number {
  const end = Math.min(a.numTokens, b.numTokens);
  let length = a.numPromptTokens;
  while (length < end && a.tokens[length] === b.tokens[length]) length++;
  return length;
}

/**
 * The tree in which a group's sequences are computed: each stretch that several share once, then
 * forked. Every sequence but the first waits for an earlier one, up to the length at which both
 * have the same tokens (`forkAt`). Once its parent has computed exactly that many, it takes over
 * the parent's table and catches up its own tokens. A query of the parent therefore ends at the
 * next `forkAt`.
 *
 * The samples of a new request are the simplest such tree: all wait for the first at the length of
 * the prompt, have nothing of their own to catch up, and so draw from the parent's last row: the
 * prompt is computed once and n first tokens come from one row of logits. A group that was
 * preempted is the general case, beams of a search among them.
 */
import type { Sequence, SequenceGroup } from './sequence.js';

/** Makes the group's unfinished sequences wait for each other. The first of them is the root. */
export function plantForks(group: SequenceGroup): void {
  const planted: Sequence[] = [];
  for (const child of group.sequences) {
    child.leaveTree();
    if (child.finishReason !== null || child.isSpare) continue;
    let parent: Sequence | null = null;
    let length = -1;
    for (const other of planted) {
      // Most differ in the very token that would make them agree for longer.
      if (parent !== null && !agreeAt(other, child, length)) continue;
      const common = commonLength(other, child);
      if (common <= length) continue;
      parent = other;
      length = common;
    }
    if (parent !== null) child.waitFor(parent, length);
    planted.push(child);
  }
}

/** Where this sequence's query must end at the latest: its tokens, or the next fork. */
export function nextStop(sequence: Sequence): number {
  let stop = sequence.numTokens;
  const forks = sequence.waitingForks;
  if (forks === null) return stop;
  for (const child of forks) stop = Math.min(stop, child.forkAt);
  return stop;
}

function agreeAt(a: Sequence, b: Sequence, at: number): boolean {
  return at < a.numTokens && at < b.numTokens && a.tokens[at] === b.tokens[at];
}

/** How many first tokens are equal, the prompt's among them. */
function commonLength(a: Sequence, b: Sequence): number {
  const end = Math.min(a.numTokens, b.numTokens);
  let length = a.numPromptTokens;
  while (length < end && a.tokens[length] === b.tokens[length]) length++;
  return length;
}

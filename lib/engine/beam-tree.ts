/**
 * The hypotheses of a beam search that was watched, as a tree: each step's live beams, and those
 * that finished. Made of what the search has after a step; who fell out is seen by its absence.
 */
import type { Sequence, SequenceGroup } from '../core/sequence.js';
import type { BeamNode, BeamsFrame } from './watch-frames.js';

/** More than a page shows. */
const MOST_NODES = 4000;

export class BeamTree {
  readonly #nodes: BeamNode[] = [[-1, -1, 0]];
  readonly #children: Map<number, number>[] = [new Map()];
  #live: number[] = [];
  #finished: (readonly [number, number])[] = [];
  /** Whose live beam ended with which node after the last step. */
  #holders = new Map<number, number>();
  #numHidden = 0;

  /** After a step of the search; returns [parent, child] for each beam that was forked by it. */
  grow({ beams }: SequenceGroup): [parent: number, child: number][] {
    if (beams === null) return [];
    const before = this.#holders;
    const forks: [number, number][] = [];
    this.#holders = new Map();
    this.#live = [];
    for (const sequence of beams.live) {
      const node = this.#insert(sequence.outputTokens, sequence.cumulativeLogprob);
      if (node < 0) continue;
      this.#live.push(node);
      this.#holders.set(node, sequence.index);
      const parent = this.#parentOf(sequence, node, before);
      if (parent !== null) forks.push([parent, sequence.index]);
    }
    this.#finished = beams.finished.flatMap(({ tokens, cumulativeLogprob, score }) => {
      const node = this.#insert(tokens, cumulativeLogprob);
      return node < 0 ? [] : [[node, score] as const];
    });
    return forks;
  }

  /** The search is over: nothing is live. */
  end(group: SequenceGroup): void {
    this.grow(group);
    this.#live = [];
  }

  /** @param first nodes before it are known */
  frame(first: number): BeamsFrame {
    return {
      first,
      nodes: this.#nodes.slice(first),
      live: this.#live,
      finished: this.#finished,
      numHidden: this.#numHidden,
    };
  }

  get numNodes(): number {
    return this.#nodes.length;
  }

  #parentOf({ index }: Sequence, node: number, before: ReadonlyMap<number, number>): number | null {
    const holder = before.get(this.#nodes[node][0]);
    return holder === undefined || holder === index ? null : holder;
  }

  /** The node that a hypothesis ends with; −1: there is no room for it. */
  #insert(tokens: Int32Array, cumulativeLogprob: number): number {
    let node = 0;
    for (let i = 0; i < tokens.length; i++) {
      let next = this.#children[node].get(tokens[i]);
      if (next === undefined) {
        if (this.#nodes.length === MOST_NODES) {
          this.#numHidden++;
          return -1;
        }
        next = this.#nodes.push([node, tokens[i], cumulativeLogprob]) - 1;
        this.#children.push(new Map());
        this.#children[node].set(tokens[i], next);
      }
      node = next;
    }
    return node;
  }
}

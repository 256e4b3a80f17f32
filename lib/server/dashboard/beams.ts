/** The tree of a beam search: what was tried, what fell out, what is left. */
import { byId, count, say, shape, tag } from './dom.js';
import type { BeamsView, SpanView } from './state.js';

const ROW = 22;
const CHAR = 7.2;
const PAD = 14;
/** Of dropped branches: more would hide those that live. */
const MOST_LEAVES = 60;
const MOST_CHARS = 36;

type Fate = 'dropped' | 'live' | 'finished';

/** A stretch of the tree without a fork. */
interface Branch {
  readonly words: string[];
  readonly end: number;
  readonly fate: Fate;
  readonly children: Branch[];
}

/** Which nodes lead to a live or a finished hypothesis. */
function fatesOf({ nodes, live, finished }: BeamsView): Fate[] {
  const fates: Fate[] = nodes.map(() => 'dropped');
  const mark = (end: number, fate: Fate) => {
    for (let node = end; node >= 0 && fates[node] !== fate; node = nodes[node].parent) {
      fates[node] = fate;
    }
  };
  for (const end of live) mark(end, 'live');
  for (const [end] of finished) mark(end, 'finished');
  return fates;
}

function branchesOf(view: BeamsView): Branch {
  const fates = fatesOf(view);
  const children: number[][] = view.nodes.map(() => []);
  view.nodes.forEach(({ parent }, node) => {
    if (parent >= 0) children[parent].push(node);
  });
  const dropped = view.nodes.filter((_, i) => fates[i] === 'dropped' && children[i].length === 0);
  const hidesDropped = dropped.length > MOST_LEAVES;
  const make = (start: number): Branch => {
    const words = [view.nodes[start].word];
    let end = start;
    const next = () => children[end].filter((one) => !hidesDropped || fates[one] !== 'dropped');
    let below = next();
    while (below.length === 1 && fates[below[0]] === fates[start] && start > 0) {
      end = below[0];
      words.push(view.nodes[end].word);
      below = next();
    }
    return { words, end, fate: fates[start], children: below.map(make) };
  };
  return make(0);
}

const shownText = (text: string) => {
  const plain = text.replace(/\n/g, '↵').replace(/ /g, '·');
  return plain.length <= MOST_CHARS ? plain : `${plain.slice(0, MOST_CHARS - 1)}…`;
};

/** Draws a branch and what is behind it; returns the row of its middle and how far it reaches. */
function draw(
  branch: Branch,
  x: number,
  rows: { next: number },
  into: SVGElement[],
): { y: number; right: number } {
  const text = branch.words.length === 1 && branch.words[0] === '' ? '●' : branch.words.join('');
  const shown = shownText(text);
  const right = x + shown.length * CHAR + 6;
  const drawn = branch.children.map((child) => draw(child, right + 2 * PAD, rows, into));
  const y = drawn.length === 0 ? rows.next++ : (drawn[0].y + drawn[drawn.length - 1].y) / 2;
  const middle = (row: number) => row * ROW + ROW / 2;
  drawn.forEach((child, i) => {
    const [from, to] = [middle(y), middle(child.y)];
    const bend = right + PAD;
    const d = `M${right} ${from}C${bend} ${from} ${bend} ${to} ${right + 2 * PAD - 4} ${to}`;
    into.push(shape('path', { d, class: `edge ${branch.children[i].fate}` }));
  });
  const label = shape('text', { x, y: middle(y) + 4, class: branch.fate }, shown);
  label.append(shape('title', {}, text));
  into.push(label);
  return { y, right: Math.max(right, ...drawn.map((child) => child.right)) };
}

export class BeamPane {
  #drawn = '';

  /** Another model is watched. */
  clear(): void {
    this.#drawn = '';
    byId('beams').replaceChildren();
    byId('hypotheses').replaceChildren();
    byId('beams').setAttribute('aria-label', 'No beam search yet');
    say(byId('beams-note'), 'The next beam search shows here.');
  }

  show(span: SpanView | null): void {
    const view = span?.beams ?? null;
    if (span === null || view === null || view.nodes.length === 0) return;
    const state = [span.key, view.nodes.length, view.live.join(), view.finished.length].join(' ');
    if (state === this.#drawn) return;
    this.#drawn = state;
    const marks: SVGElement[] = [];
    const rows = { next: 0 };
    const { right } = draw(branchesOf(view), 6, rows, marks);
    const [width, height] = [Math.ceil(right + PAD), Math.max(1, rows.next) * ROW];
    const pane = byId('beams');
    const isAtEnd = pane.scrollLeft + pane.clientWidth >= pane.scrollWidth - 4;
    pane.replaceChildren(
      shape('svg', { width, height, viewBox: `0 0 ${width} ${height}` }, ...marks),
    );
    if (isAtEnd && span.last.ended === null) pane.scrollLeft = pane.scrollWidth;
    const { head } = span;
    const hidden = view.numHidden > 0 ? `, ${count(view.numHidden)} without room` : '';
    const tried = `${count(view.nodes.length - 1)} tokens tried`;
    const left = `${view.live.length} beams live, ${view.finished.length} finished`;
    const sentence = `${head.id}: ${tried}, ${left}${hidden}`;
    say(byId('beams-note'), sentence);
    pane.setAttribute('aria-label', `Tree of the beam search ${sentence}`);
    Object.assign(pane.dataset, { nodes: view.nodes.length, finished: view.finished.length });
    this.#list(view);
  }

  #list(view: BeamsView): void {
    const { finished, live, nodes } = view;
    const rows = [
      ...finished.map(([node, score]) => ({ node, fate: 'finished', score })),
      ...live.map((node) => ({ node, fate: 'live', score: nodes[node].logprob })),
    ];
    byId('hypotheses').replaceChildren(
      ...rows.slice(0, 12).map(({ node, fate, score }) => {
        const words: string[] = [];
        for (let at = node; at > 0; at = nodes[at].parent) words.unshift(nodes[at].word);
        const what = fate === 'finished' ? 'score' : 'logprob';
        const figure = tag('small', '', `${fate}, ${what} ${score.toFixed(3)}`);
        return tag('li', fate, tag('q', '', words.join('')), ' ', figure);
      }),
    );
  }
}

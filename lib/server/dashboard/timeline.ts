/** Requests over time: a row each, in it a bar for each sample, with forks and preemptions. */
import { ACTS, type Segment } from '../../engine/watch-frames.js';
import { byId, count, pairs, say, shape, tag, time } from './dom.js';
import { hasBegun, type LiveState, type SpanView } from './state.js';

const NAMES = ['queued', 'prefill', 'decode', 'preempted', 'swapped'] as const;

const MOST_ROWS = 24;
const MOST_LANES = 16;
const LANE = 8;

/** What ran last is what began less than so long before the next. */
const GAP_MS = 1500;
const LONGEST_MS = 60_000;
const LEAST_MS = 20;

interface Window {
  readonly from: number;
  readonly to: number;
}

export class Timeline {
  readonly #list = byId('timeline');
  readonly #window = byId<HTMLSelectElement>('window');
  readonly #rows = new Map<number, HTMLButtonElement>();
  #selected: number | null = null;
  #state: LiveState | null = null;
  /** Called with a request that is picked. */
  onPick: (span: SpanView) => void = () => {};

  constructor() {
    byId('acts').append(...NAMES.map((name) => tag('li', '', tag('i', `swatch ${name}`), name)));
    this.#window.addEventListener('change', () => this.draw());
    this.#list.addEventListener('keydown', (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (by === undefined) return;
      const rows = [...this.#list.querySelectorAll<HTMLButtonElement>('button')];
      const next = rows[rows.indexOf(document.activeElement as HTMLButtonElement) + by];
      if (next === undefined) return;
      event.preventDefault();
      next.focus();
    });
    this.#list.addEventListener('focusin', ({ target }) => this.#rove(target as HTMLElement));
  }

  show(state: LiveState): void {
    if (state !== this.#state) {
      this.#state = state;
      this.#selected = null;
      this.#rows.clear();
      this.#list.replaceChildren();
      byId('span').replaceChildren();
    }
    this.draw();
  }

  /** Whether it looks other in a moment. */
  get isMoving(): boolean {
    if (this.#state?.isLive !== true) return false;
    if (this.#window.value !== 'auto') return true;
    return [...(this.#state?.spans.values() ?? [])].some(({ last }) => last.ended === null);
  }

  draw(): void {
    const state = this.#state;
    if (state === null) return;
    const all = inOrder(state.spans.values());
    const { from, to } = this.#windowOf(all, state.now);
    const inside = all.filter(({ head, last }) => head.arrived <= to && (last.ended ?? to) >= from);
    const shown = inside.slice(0, MOST_ROWS);
    const keys = new Set(shown.map(({ key }) => key));
    const focused = document.activeElement;
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.parentElement!.remove();
      this.#rows.delete(key);
    }
    shown.forEach((span, i) => {
      const row = this.#rowOf(span);
      const item = row.parentElement!;
      if (this.#list.children[i] !== item) {
        this.#list.insertBefore(item, this.#list.children[i] ?? null);
      }
      this.#fill(row, span, { from, to }, state.now);
    });
    // One that has moved has lost it.
    if (this.#list.contains(focused)) (focused as HTMLElement).focus({ preventScroll: true });
    const first = this.#list.querySelector('button');
    if (first !== null && !this.#list.querySelector('button[tabindex="0"]')) this.#rove(first);
    this.#tell({ from, to }, inside.length - shown.length);
    const picked = this.#selected === null ? undefined : state.spans.get(this.#selected);
    if (picked !== undefined) describe(picked, state.now);
  }

  #windowOf(all: readonly SpanView[], now: number): Window {
    const chosen = this.#window.value;
    if (chosen !== 'auto') return { from: now - Number(chosen), to: now };
    const to = Math.max(...all.map(({ last }) => last.ended ?? now), 0) || now;
    let from = to - LEAST_MS;
    for (const { head, last } of all.slice(0, MOST_ROWS)) {
      const end = last.ended ?? now;
      if (end < from - GAP_MS) break;
      from = Math.max(to - LONGEST_MS, Math.min(from, head.arrived));
    }
    return { from, to };
  }

  #tell({ from, to }: Window, numMore: number): void {
    const state = this.#state!;
    const { frame } = state;
    const clock = (at: number) => {
      const date = new Date(state.wall(at) * 1000);
      const ms = String(date.getMilliseconds()).padStart(3, '0');
      return `${date.toLocaleTimeString('en-GB')}.${ms}`;
    };
    say(byId('from'), this.#rows.size === 0 ? '' : clock(from));
    say(byId('to'), this.#rows.size === 0 ? '' : `${time(to - from)} later`);
    const numHidden = numMore + (frame?.type === 'frame' ? frame.numHidden : 0);
    const more = numHidden > 0 ? `${count(numHidden)} more are not shown.` : '';
    say(byId('timeline-note'), this.#rows.size === 0 ? 'No request in this window.' : more);
  }

  #rowOf(span: SpanView): HTMLButtonElement {
    let row = this.#rows.get(span.key);
    if (row !== undefined) return row;
    row = document.createElement('button');
    row.type = 'button';
    row.tabIndex = -1;
    const label = tag('span', 'label', tag('b', '', ''), tag('small', '', ''));
    row.append(label, shape('svg', { preserveAspectRatio: 'none', 'aria-hidden': 'true' }));
    row.addEventListener('click', () => this.#pick(span));
    tag('li', '', row);
    this.#rows.set(span.key, row);
    return row;
  }

  #pick(span: SpanView): void {
    this.#selected = span.key;
    this.onPick(span);
    this.draw();
  }

  #rove(target: HTMLElement): void {
    for (const button of this.#list.querySelectorAll('button')) {
      button.tabIndex = button === target ? 0 : -1;
    }
  }

  #fill(row: HTMLButtonElement, span: SpanView, { from, to }: Window, now: number): void {
    const { head, last, key } = span;
    row.setAttribute('aria-pressed', String(key === this.#selected));
    const [label, svg] = row.children;
    say(label.children[0], shortId(head.id));
    say(label.children[1], factsOf(span));
    const sentence = sentenceOf(span);
    if (row.getAttribute('aria-label') !== sentence) row.setAttribute('aria-label', sentence);
    Object.assign(row.dataset, {
      lanes: span.lanes.size,
      forks: last.forks.length,
      preemptions: last.numPreemptions,
      reason: last.reason ?? '',
    });
    const lanes = [...span.lanes.values()].slice(0, MOST_LANES);
    const height = Math.max(2, lanes.length) * LANE;
    svg.setAttribute('viewBox', `0 0 1000 ${height}`);
    (svg as SVGElement).style.height = `${height}px`;
    const x = (at: number) =>
      (Math.max(0, Math.min(1, (at - from) / (to - from))) * 1000).toFixed(1);
    const place = new Map(lanes.map(({ index }, i) => [index, i]));
    const marks: SVGElement[] = [];
    lanes.forEach(({ segments }, i) => {
      const y = lanes.length === 1 ? LANE / 2 : i * LANE + 1;
      for (const [act, start, end] of segments) {
        const stop = end < 0 ? now : end;
        if (stop < from || start > to) continue;
        const width = Math.max(2, Number(x(stop)) - Number(x(start)));
        const at = { x: x(start), y, width, height: LANE - 2, class: NAMES[act] };
        marks.push(shape('rect', at));
      }
    });
    for (const [at, parent, child] of last.forks) {
      const [a, b] = [place.get(parent), place.get(child)];
      if (a === undefined || b === undefined || at < from || at > to) continue;
      const line = { x1: x(at), x2: x(at), y1: a * LANE + 4, y2: b * LANE + 4, class: 'fork' };
      marks.push(shape('line', line));
    }
    svg.replaceChildren(...marks);
  }
}

/** Those that run, or did and wait to go on, before those that wait and that have ended. */
function inOrder(spans: Iterable<SpanView>): SpanView[] {
  const rank = (span: SpanView) => (span.last.ended === null && hasBegun(span) ? 0 : 1);
  return [...spans].sort((a, b) => rank(a) - rank(b) || b.key - a.key);
}

function shortId(id: string): string {
  return id.length <= 18 ? id : `${id.slice(0, 9)}…${id.slice(-6)}`;
}

function factsOf({ head, last }: SpanView): string {
  const facts = [`${count(last.numGeneratedTokens)} tok`];
  if (head.isBeamSearch) facts.push(`${head.n} beams`);
  else if (head.n > 1) facts.push(`n=${head.n}`);
  if (head.isStructured) facts.push('grammar');
  if (last.numPreemptions > 0) facts.push(`${last.numPreemptions}× preempted`);
  if (last.reason !== null && last.reason !== 'stop') facts.push(last.reason);
  return facts.join(' · ');
}

function sentenceOf(span: SpanView): string {
  const { head, last } = span;
  const state = last.reason === null ? stateOf(span) : `ended: ${last.reason}`;
  const kind = head.isBeamSearch ? `${head.n} beams` : `${head.n} sample${head.n > 1 ? 's' : ''}`;
  const facts = `${last.forks.length} forks, ${last.numPreemptions} preemptions`;
  return `${head.id}, ${kind}, ${facts}, ${state}`;
}

function stateOf({ lanes }: SpanView): string {
  const last = lanes.get(0)?.segments.at(-1);
  return last === undefined ? 'new' : NAMES[last[0]];
}

/** Time in each act, of its first lane. */
function spent(segments: readonly Segment[], act: number, now: number): number {
  return segments.reduce(
    (sum, [one, from, to]) => sum + (one === act ? (to < 0 ? now : to) - from : 0),
    0,
  );
}

function describe({ head, last, lanes }: SpanView, now: number): void {
  let list = byId('span').firstElementChild as HTMLElement | null;
  if (list === null) {
    list = tag('dl', 'pairs columns');
    byId('span').append(list);
  }
  const segments = lanes.get(0)?.segments ?? [];
  pairs(list, {
    Request: head.id,
    Prompt: `${count(head.numPromptTokens)} tokens, ${count(last.numCachedTokens)} cached`,
    Generated: `${count(last.numGeneratedTokens)} tokens of at most ${count(head.maxTokens)} each`,
    'In the queue': time(spent(segments, ACTS.queued, now)),
    'First token': last.ttftMs === null ? '–' : time(last.ttftMs),
    'In all': time((last.ended ?? now) - head.arrived),
    Preempted: `${last.numPreemptions}×, ${last.numSwaps} of them swapped`,
    'Blocks copied': count(last.numBlockCopies),
    Ended: last.reason ?? 'not yet',
  });
}

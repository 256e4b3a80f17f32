/** How long things took: bars over bounds, and the quantiles that people ask for. */
import { quantileMs } from '../../engine/durations.js';
import type { LiveFrame } from '../live-frames.js';
import { byId, count, say, shape, tag, time } from './dom.js';

const NAMES = {
  ttft: 'Time to first token',
  itl: 'Between tokens',
  queue: 'In the queue',
  step: 'Step',
} as const;

const HEIGHT = 56;

export function drawHistograms(frame: LiveFrame, boundsMs: readonly number[]): void {
  for (const name of Object.keys(NAMES) as (keyof typeof NAMES)[]) {
    draw(name, frame.durations[name], boundsMs);
  }
}

function draw(name: keyof typeof NAMES, counts: readonly number[], bounds: readonly number[]) {
  const figure = figureOf(name);
  const total = counts.reduce((sum, one) => sum + one, 0);
  figure.dataset.total = String(total);
  const [svg, caption, range] = figure.children;
  const quantiles = [0.5, 0.95, 0.99].map((part) => quantileMs(counts, part));
  const told = ['p50', 'p95', 'p99'].map((label, i) => {
    const ms = quantiles[i];
    return `${label} ${ms === null ? '–' : time(ms)}`;
  });
  const sentence = `${NAMES[name]}, ${count(total)}: ${told.join(', ')}`;
  if (svg.getAttribute('aria-label') === sentence) return;
  svg.setAttribute('aria-label', sentence);
  say(caption.children[0], NAMES[name]);
  say(caption.children[1], told.join(' · '));
  const first = Math.max(0, counts.findIndex((one) => one > 0) - 1);
  const last = Math.min(counts.length, counts.findLastIndex((one) => one > 0) + 2);
  const shown = total === 0 ? [] : counts.slice(first, last);
  const most = Math.max(1, ...shown);
  const width = 100 / Math.max(1, shown.length);
  svg.replaceChildren(
    ...shown.map((number, i) => {
      const height = number === 0 ? 0 : Math.max(1.5, (number / most) * HEIGHT);
      const at = { x: i * width + 0.3, y: HEIGHT - height, width: width - 0.6, height };
      const bound = bounds[first + i];
      const title = bound === undefined ? 'beyond' : `up to ${time(bound)}`;
      return shape('rect', { ...at, class: 'bar' }, shape('title', {}, `${title}: ${number}`));
    }),
  );
  say(range.children[0], total === 0 ? '' : time(first === 0 ? 0 : bounds[first - 1]));
  say(range.children[1], total === 0 ? '' : time(bounds[Math.min(last, bounds.length) - 1]));
}

function figureOf(name: string): HTMLElement {
  const id = `histogram-${name}`;
  const found = document.getElementById(id);
  if (found !== null) return found;
  const view = { viewBox: `0 0 100 ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' };
  const svg = shape('svg', view);
  const caption = tag('figcaption', '', tag('b', '', ''), tag('span', '', ''));
  const range = tag('p', 'axis', tag('span', '', ''), tag('span', '', ''));
  const figure = tag('figure', '', svg, caption, range);
  figure.id = id;
  byId('histograms').append(figure);
  return figure;
}

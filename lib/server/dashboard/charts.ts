/** Rates and step times over the last minutes. */
import uPlot from 'uplot';
import { byId, colour, count, time } from './dom.js';
import type { Point } from './state.js';

interface Line {
  readonly label: string;
  readonly colour: string;
  readonly of: (point: Point) => number | null;
}

const RATES: readonly Line[] = [
  { label: 'generated', colour: 'decode', of: ({ generated }) => generated },
  { label: 'prompt', colour: 'prefill', of: ({ prompt }) => prompt },
];

const STEPS: readonly Line[] = [
  { label: 'step', colour: 'decode', of: ({ stepMs }) => stepMs },
  { label: 'of it computing', colour: 'shared2', of: ({ computeMs }) => computeMs },
];

const clock = (seconds: number) => new Date(1000 * seconds).toLocaleTimeString('en-GB');

class Chart {
  #plot: uPlot | null = null;
  readonly #parent: HTMLElement;

  constructor(
    id: string,
    readonly lines: readonly Line[],
    readonly format: (value: number) => string,
  ) {
    this.#parent = byId(id);
    new ResizeObserver(() => {
      const width = this.#parent.clientWidth;
      if (width > 0) this.#plot?.setSize({ width, height: this.#height });
    }).observe(this.#parent);
  }

  get #height(): number {
    return 150;
  }

  /** With the colours that hold now. */
  make(): void {
    this.#plot?.destroy();
    const [ink, line] = [colour('muted'), colour('line')];
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const font = '11px system-ui, sans-serif';
    this.#plot = new uPlot(
      {
        width: Math.max(100, this.#parent.clientWidth),
        height: this.#height,
        legend: { live: true },
        cursor: { y: false, drag: { x: false, y: false } },
        scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.1, 1)] } },
        axes: [
          {
            ...{ ...axis, font, space: 80, size: 30 },
            values: (_, splits) => splits.map(clock),
          },
          {
            ...{ ...axis, font, size: 56, space: 34 },
            values: (_, splits) => splits.map((one) => this.format(one)),
          },
        ],
        series: [
          { label: 'at' },
          ...this.lines.map(({ label, colour: name }) => ({
            ...{ label, stroke: colour(name), width: 1.5, points: { show: false } },
            value: (_: uPlot, value: number | null) => (value == null ? '–' : this.format(value)),
          })),
        ],
      },
      [[], ...this.lines.map(() => [])],
      this.#parent,
    );
  }

  show(points: readonly Point[]): void {
    const data = [points.map(({ at }) => at), ...this.lines.map(({ of }) => points.map(of))];
    const plot = this.#plot;
    if (plot === null) return;
    plot.setData(data as uPlot.AlignedData);
    // Where nobody points, the newest.
    if (plot.cursor.idx == null) plot.setLegend({ idx: points.length - 1 }, false);
  }
}

export class Charts {
  readonly #charts = [new Chart('rate', RATES, count), new Chart('steps', STEPS, time)];

  constructor() {
    const make = () => {
      for (const chart of this.#charts) chart.make();
    };
    make();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', make);
  }

  show(points: readonly Point[]): void {
    for (const chart of this.#charts) chart.show(points);
  }
}

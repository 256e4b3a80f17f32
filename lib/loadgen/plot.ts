/**
 * A run as an SVG: how latencies are spread, and what ran in each second. echarts draws it; it is
 * large, so it is an optional peer of this package and looked for only when a plot is asked for.
 */
import { octavoError } from '../errors.js';
import type { BenchRun } from './bench.js';
import { runningPerSecond, tokensPerSecond } from './metrics.js';

const WIDTH = 960;
const HEIGHT = 760;

/** What takes less is drawn here: a log axis has no zero. */
const LEAST_MS = 0.1;

/** Points of a curve at most. */
const POINTS = 200;

/** @throws ERR_INVALID_PARAM where echarts is not installed */
export async function plotOf(run: BenchRun, title: string): Promise<string> {
  const echarts = await loadEcharts();
  const canvas = echarts.init(null, null, {
    renderer: 'svg',
    ssr: true,
    width: WIDTH,
    height: HEIGHT,
  });
  const axis = { nameLocation: 'middle' as const, nameGap: 32, type: 'value' as const };
  const done = run.results.filter(({ success }) => success);
  const lines = (grid: number, list: readonly (readonly [string, Point[], number?])[]) =>
    list.map(([name, data, yAxisIndex = grid]) => ({
      ...{ name, data, type: 'line' as const, showSymbol: false, xAxisIndex: grid, yAxisIndex },
    }));
  canvas.setOption({
    animation: false,
    backgroundColor: '#fff',
    title: { text: title, left: 'center', textStyle: { fontSize: 15 } },
    legend: { bottom: 0 },
    grid: [
      { left: 70, right: 70, top: 50, height: 270 },
      { left: 70, right: 70, top: 400, height: 270 },
    ],
    xAxis: [
      { ...axis, type: 'log' as const, name: 'ms' },
      { ...axis, gridIndex: 1, name: 'seconds since the first request' },
    ],
    yAxis: [
      { ...axis, name: '% at most so long', max: 100, nameGap: 45 },
      { ...axis, gridIndex: 1, name: 'output tokens a second', nameGap: 45 },
      { ...axis, gridIndex: 1, name: 'requests running', nameGap: 45, position: 'right' as const },
    ],
    series: [
      ...lines(0, [
        ['TTFT', spread(done.map(({ ttft }) => ttft))],
        ['ITL', spread(done.flatMap(({ itl }) => itl as number[]))],
        ['E2EL', spread(done.map(({ latency }) => latency))],
      ]),
      ...lines(1, [
        ['output tokens/s', bySecond(tokensPerSecond(done))],
        ['requests running', bySecond(runningPerSecond(done)), 2],
      ]),
    ],
  });
  const svg = canvas.renderToSVGString();
  canvas.dispose();
  return svg;
}

type Point = [number, number];

/** @throws ERR_INVALID_PARAM where it is not installed */
export async function loadEcharts() {
  try {
    return await import('echarts');
  } catch (cause) {
    throw octavoError('ERR_INVALID_PARAM', '--plot needs echarts: npm install echarts', {
      param: 'plot',
      cause,
    });
  }
}

/** How many percent took at most so many milliseconds. */
export function spread(values: readonly number[]): Point[] {
  const sorted = Float64Array.from(values).sort();
  const count = Math.min(POINTS, sorted.length);
  return Array.from({ length: count }, (_, i): Point => {
    const at = Math.ceil(((i + 1) / count) * sorted.length) - 1;
    return [Math.max(LEAST_MS, sorted[at] * 1000), (100 * (at + 1)) / sorted.length];
  });
}

function bySecond(counts: readonly number[]): Point[] {
  return counts.map((count, second) => [second, count]);
}

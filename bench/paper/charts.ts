/**
 * Figures as SVG and PNG: echarts draws on the server side, resvg rasterises. Both are well kept
 * and need no browser; the font comes with the package dejavu-fonts-ttf, so a bare machine has one.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Resvg } from '@resvg/resvg-js';
import * as echarts from 'echarts';

export interface Series {
  readonly name: string;
  /** [x, y]. */
  readonly points: readonly (readonly [number, number])[];
}

export interface Chart {
  /** File name without ending. */
  readonly name: string;
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly kind: 'line' | 'bars';
  readonly series: readonly Series[];
  /** Of bars: the name of each place on the x axis. */
  readonly categories?: readonly string[];
  readonly yMax?: number;
  readonly stacked?: boolean;
}

const WIDTH = 720;
const HEIGHT = 420;
const FONT = 'DejaVu Sans';

export function drawCharts(charts: readonly Chart[], folder: string): void {
  mkdirSync(folder, { recursive: true });
  const fonts = join(
    dirname(createRequire(import.meta.url).resolve('dejavu-fonts-ttf/package.json')),
    'ttf',
  );
  const fontFiles = ['DejaVuSans.ttf', 'DejaVuSans-Bold.ttf'].map((file) => join(fonts, file));
  for (const chart of charts) {
    const svg = draw(chart);
    writeFileSync(join(folder, `${chart.name}.svg`), svg);
    const font = { fontFiles, loadSystemFonts: false, defaultFontFamily: FONT };
    writeFileSync(join(folder, `${chart.name}.png`), new Resvg(svg, { font }).render().asPng());
  }
}

function draw(chart: Chart): string {
  const canvas = echarts.init(null, null, {
    renderer: 'svg',
    ssr: true,
    width: WIDTH,
    height: HEIGHT,
  });
  const axis = { nameLocation: 'middle' as const, nameGap: 30 };
  canvas.setOption({
    animation: false,
    backgroundColor: '#fff',
    textStyle: { fontFamily: FONT },
    title: { text: chart.title, left: 'center', textStyle: { fontSize: 15, fontFamily: FONT } },
    legend: { bottom: 0, textStyle: { fontFamily: FONT } },
    grid: { left: 65, right: 25, top: 45, bottom: 80 },
    xAxis:
      chart.kind === 'bars'
        ? { ...axis, type: 'category', name: chart.x, data: [...(chart.categories ?? [])] }
        : { ...axis, type: 'value', name: chart.x, scale: true },
    yAxis: { ...axis, type: 'value', name: chart.y, nameGap: 45, max: chart.yMax },
    series: chart.series.map(({ name, points }) =>
      chart.kind === 'bars'
        ? {
            name,
            type: 'bar' as const,
            data: points.map(([, y]) => y),
            ...(chart.stacked ? { stack: 'all' } : {}),
          }
        : { name, type: 'line' as const, data: points.map((p) => [...p]), symbolSize: 5 },
    ),
  });
  const svg = canvas.renderToSVGString();
  canvas.dispose();
  return svg;
}

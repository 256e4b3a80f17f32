/**
 * The experiments of the PagedAttention paper with this engine's own block manager and scheduler,
 * on a simulated clock (paper/cost.ts), beside contiguous allocation (paper/contiguous.ts). Prints
 * our figure beside the paper's and draws the plots into `--out FOLDER` (default docs/paper).
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drawCharts } from './paper/charts.js';
import {
  figure2,
  figure12,
  figure13,
  figure16,
  figure17,
  figure18,
  figure19,
  figures14and15,
} from './paper/figures.js';
import { report } from './support/report.js';

const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, out: { type: 'string' }, json: { type: 'string' } },
});
const effort = { seconds: values.quick ? 200 : 900 };
const all = [figure2, figure12, figure13, figures14and15, figure16, figure17, figure18, figure19];
const figures = all.map((figure) => {
  const start = performance.now();
  const made = figure(effort);
  console.error(`${figure.name}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return made;
});
const out = values.out ?? join('docs', 'paper');
mkdirSync(out, { recursive: true });
const rows = figures.flatMap((figure) =>
  figure.rows.map(({ figure: number, what, unit, ours, paper }) => ({
    name: `Fig. ${number}`,
    what,
    value: ours,
    unit,
    paper,
  })),
);
report({
  bench: 'paper',
  rows,
  json: values.json ?? join(out, 'paper.json'),
  device: `simulated clock, ${effort.seconds} s of arrivals`,
});
const charts = figures.flatMap((figure) => figure.charts);
drawCharts(charts, out);
writeFileSync(join(out, 'figures.md'), markdown());
console.log(`plots: ${out}`);

/** The table and the plots as one page. */
function markdown(): string {
  const lines = rows.map(({ name, what, value, unit, paper }) => {
    const ours = `${Number(value.toPrecision(4))} ${unit}`.trim();
    return `| ${name.replace('Fig. ', '')} | ${what} | ${ours} | ${paper ?? ''} |`;
  });
  const date = new Date().toISOString().slice(0, 10);
  return [
    `Made by \`npm run bench -- paper\` on ${date}: ${effort.seconds} s of arrivals a run.`,
    '',
    '| figure | what | ours | the paper |',
    '|---|---|---|---|',
    ...lines,
    '',
    ...charts.map(({ name, title }) => `![${title}](${name}.svg)\n`),
  ].join('\n');
}

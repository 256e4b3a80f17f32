/** The rows of `npm run bench -- serving` as one page. */
import type { Chart } from '../paper/charts.js';
import type { BenchRow } from '../support/report.js';

export interface Effort {
  readonly effort: string;
  /** Times the latency of the fastest with one request at a time. */
  readonly limit: number;
}

const digits = (value: unknown, n = 3) =>
  typeof value === 'number' ? `${Number(value.toPrecision(n))}` : `${value ?? ''}`;

const percent = (share: unknown) => `${Math.round(100 * Number(share))} %`;

export function markdown(
  rows: readonly BenchRow[],
  charts: readonly Chart[],
  { effort, limit }: Effort,
): string {
  const date = new Date().toISOString().slice(0, 10);
  const groups = [...new Set(rows.map(({ model, weights }) => `${model}, ${weights}`))];
  return [
    `Made by \`npm run bench -- serving\` on ${date}: ${effort}. The sustained rate is`,
    `where the mean normalized latency is ${limit} times that of the slowest server with one`,
    'request at a time.',
    '',
    ...groups.flatMap((group) => {
      const own = rows.filter(({ model, weights }) => `${model}, ${weights}` === group);
      const chart = charts.find(({ title }) => title.startsWith(group));
      const plot = chart ? [`![${chart.title}](${chart.name}.svg)`, ''] : [];
      return [`## ${group}`, '', ...summary(own), '', ...plot, ...curves(own), '', ...given(own)];
    }),
  ].join('\n');
}

/** What matters, an engine a column. */
function summary(rows: readonly BenchRow[]): string[] {
  const engines = [...new Set(rows.map(({ engine }) => String(engine)))];
  const of = (name: string, engine: string) =>
    rows.find((row) => row.name === name && row.engine === engine);
  const names = [...new Set(rows.map(({ name }) => name))];
  const shown = names.filter((name) => name !== 'normalized latency');
  const lines = shown.map((name) => {
    const unit = rows.find((row) => row.name === name)!.unit;
    const limitMs = rows.find((row) => row.name === name)!.limitMs;
    const at = limitMs === undefined ? '' : ` at ${digits(limitMs)} ms a token`;
    const cells = engines.map((engine) => {
      const row = of(name, engine);
      if (!row) return '–';
      if (row.refused !== undefined) return `refused: ${row.refused}`;
      const times = row.octavoTimes ?? row.octavoFaster;
      const ratio = times === undefined || engine === 'octavo' ? '' : ` (${digits(times)} ×)`;
      return digits(row.value) + ratio;
    });
    return `| ${name}${at}, ${unit} | ${cells.join(' | ')} |`;
  });
  return [
    `| in brackets: how much better octavo is | ${engines.join(' | ')} |`,
    `|---|${engines.map(() => '---|').join('')}`,
    ...lines,
  ];
}

function curves(rows: readonly BenchRow[]): string[] {
  const lines = rows
    .filter(({ name }) => name === 'normalized latency')
    .map((row) => {
      const cells = [
        ...[row.engine, row.rate, row.requests, digits(row.value), digits(row.normalizedP90Ms)],
        ...[digits(row.ttftMs), digits(row.outputPerSecond), row.promptTokens, row.outputTokens],
        ...[row.failed, digits(row.serverCores), percent(row.clientCores), digits(row.latestMs)],
      ];
      return `| ${cells.join(' | ')} |`;
    });
  const heads = [
    ...['', 'requests/s', 'requests', 'ms/token, mean', 'p90', 'TTFT ms, mean', 'tokens/s'],
    ...['prompt tokens', 'output tokens', 'failed', "server's cores", "client's share of one"],
    'sent late at most, ms',
  ];
  return [`| ${heads.join(' | ')} |`, `|${heads.map(() => '---|').join('')}`, ...lines];
}

/** Versions, and the commands word by word. */
function given(rows: readonly BenchRow[]): string[] {
  return rows
    .filter(({ name }) => name === 'start')
    .flatMap(({ engine, version, arithmetic, given: command }) => [
      ...[`**${engine}** ${version}, ${arithmetic}:`, '', '```', String(command), '```', ''],
    ]);
}

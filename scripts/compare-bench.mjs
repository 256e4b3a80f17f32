// Compares two results of gpu-check (kernels.json or engine.json) as ratios to each run's own copy
// rate, so that another device of the same kind or another day does not count. Exit code 1 when
// something got slower by more than the limit.
//   node scripts/compare-bench.mjs OLD.json NEW.json [--limit 5]     limit in percent
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** Name of a row → speed in units of the run's copy rate; more is better. */
export function speeds(result) {
  const copy =
    result.machine?.copyGBps ?? result.rows.find((r) => r.name === 'machine: copy')?.value;
  if (!(copy > 0)) throw new Error('no copy rate in this result');
  const out = new Map();
  for (const row of result.rows) {
    if (row.bench === 'machine' || row.name.startsWith('machine')) continue;
    if (row.us > 0) out.set(`${row.bench} ${row.name}`, 1e3 / (row.us * copy));
    else if (row.unit === 'tok/s') {
      out.set(`${row.name} ${row.model} x ${row.concurrent}`, row.value / copy);
    }
  }
  return out;
}

/** [{name, change}] with change in percent, negative = slower; only rows that both runs have. */
export function changes(before, after) {
  const old = speeds(before);
  return [...speeds(after)]
    .filter(([name]) => old.has(name))
    .map(([name, speed]) => ({ name, change: 100 * (speed / old.get(name) - 1) }));
}

function main() {
  const { values, positionals } = parseArgs({
    options: { limit: { type: 'string', default: '5' } },
    allowPositionals: true,
  });
  const limit = Number(values.limit);
  if (positionals.length !== 2 || !(limit >= 0)) {
    console.error('usage: compare-bench.mjs OLD.json NEW.json [--limit PERCENT]');
    process.exit(2);
  }
  const [before, after] = positionals.map((path) => JSON.parse(readFileSync(path, 'utf8')));
  const all = changes(before, after).sort((a, b) => a.change - b.change);
  const slower = all.filter(({ change }) => change < -limit);
  for (const { name, change } of slower) console.log(`slower  ${name}: ${change.toFixed(1)} %`);
  const faster = all.filter(({ change }) => change > limit);
  for (const { name, change } of faster) console.log(`faster  ${name}: +${change.toFixed(1)} %`);
  console.log(
    `${all.length} rows, ${slower.length} slower and ${faster.length} faster by ${limit} %`,
  );
  if (all.length === 0) console.error('the two results have no row in common');
  process.exit(slower.length > 0 || all.length === 0 ? 1 : 0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();

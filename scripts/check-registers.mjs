// Compares what ptxas says of every kernel (a build's log with -Xptxas=-v) with its budget in
// native/kernels/registers.json: no spills, no more registers than there on any target.
//   node scripts/check-registers.mjs LOG [--write]     --write makes the budget what LOG says
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from './stamp.mjs';

const BUDGET = join(ROOT, 'native', 'kernels', 'registers.json');

/** [{kernel, target, registers, spilled}] of a log; kernels are demangled without parameters. */
export function parseLog(log) {
  const found = [];
  let now;
  for (const line of log.split('\n')) {
    const [, mangled, target] = /Compiling entry function '(\S+)' for '(\w+)'/.exec(line) ?? [];
    if (mangled) now = { mangled, target, spilled: 0 };
    const [, stores, loads] = /(\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line) ?? [];
    if (stores && now) now.spilled = Number(stores) + Number(loads);
    const [, registers] = /Used (\d+) registers/.exec(line) ?? [];
    if (registers && now) {
      found.push({ ...now, registers: Number(registers) });
      now = undefined;
    }
  }
  if (found.length === 0) return [];
  const input = found.map((f) => f.mangled).join('\n');
  const names = execFileSync('c++filt', { input, encoding: 'utf8' }).split('\n');
  return found.map(({ target, registers, spilled }, i) => ({
    kernel: shortName(names[i]),
    target,
    registers,
    spilled,
  }));
}

function shortName(name) {
  const plain = name.replace(/^void /, '').replaceAll('octavo::device::', '');
  return plain.replace(/\(anonymous namespace\)::/g, '').replace(/\(.*$/, '');
}

/** Sentences about what is over its budget, or has none. */
export function overBudget(kernels, budget) {
  return kernels.flatMap(({ kernel, target, registers, spilled }) => {
    if (spilled > 0) return [`${kernel} spills ${spilled} bytes on ${target}`];
    if (budget[kernel] === undefined) return [`${kernel} has no budget`];
    if (registers <= budget[kernel]) return [];
    return [`${kernel} uses ${registers} registers on ${target}, its budget is ${budget[kernel]}`];
  });
}

function main(path, write) {
  const kernels = parseLog(readFileSync(path, 'utf8'));
  if (write) {
    const most = {};
    for (const { kernel, registers } of kernels) {
      most[kernel] = Math.max(most[kernel] ?? 0, registers);
    }
    const sorted = Object.fromEntries(Object.entries(most).sort(([a], [b]) => (a < b ? -1 : 1)));
    writeFileSync(BUDGET, `${JSON.stringify(sorted, null, 2)}\n`);
  }
  const budget = existsSync(BUDGET) ? JSON.parse(readFileSync(BUDGET, 'utf8')) : {};
  const wrong = overBudget(kernels, budget);
  for (const sentence of wrong) console.error(sentence);
  console.log(`${kernels.length} kernels compiled, ${wrong.length} over their budget or spilling`);
  process.exit(wrong.length > 0 ? 1 : 0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main(process.argv[2], process.argv.includes('--write'));
}

// The short table at the end of gpu-check: what was asked for in one screen.
//   node gpu-summary.mjs FOLDER
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.argv[2];
const read = (name) => {
  const path = join(folder, name);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
};

const checks = read('checks.json');
if (checks) {
  const bad = checks.results.filter((r) => !r.ok);
  console.log(
    `end to end: ${checks.results.length - bad.length} of ${checks.results.length} checks`,
  );
  for (const { name, said } of bad) console.log(`  FAILED ${name}: ${said.slice(0, 160)}`);
}
const kernels = read('kernels.json');
const sdpa = read('sdpa.json');
if (kernels) {
  console.log(`${kernels.device}: copy ${kernels.machine.copyGBps.toFixed(0)} GB/s`);
  const best = (name) =>
    Math.min(...(sdpa?.rows ?? []).filter((r) => r.name === name).map((r) => r.us));
  for (const r of kernels.rows) {
    const rate = r.tflops
      ? `${r.tflops.toFixed(0)} TFLOP/s`
      : `${(r.gbps ?? 0).toFixed(0)} GB/s ${(100 * (r.shareOfCopy ?? 0)).toFixed(0)}%`;
    const peer = best(r.name);
    const beside = Number.isFinite(peer) ? `  PyTorch ${peer.toFixed(1)} us` : '';
    const us = r.us.toFixed(1).padStart(9);
    console.log(`${r.bench.padEnd(8)} ${r.name.padEnd(44)} ${us} us ${rate}${beside}`);
  }
}
const engine = read('engine.json');
for (const r of engine?.rows ?? []) {
  const share = r.ratio ? ` (${(100 * r.ratio).toFixed(0)}% of the bound)` : '';
  const where = r.model ? ` ${r.model} x ${r.concurrent ?? 1}` : '';
  console.log(`engine   ${r.name}${where}: ${r.value.toFixed(1)} ${r.unit}${share}`);
}

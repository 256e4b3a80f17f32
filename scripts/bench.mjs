// npm run bench -- NAME [--json FILE] [flags of the bench]: builds what it needs, then runs it.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { hashOf, isCurrent, ROOT, writeStamp } from './stamp.mjs';

const BENCHES = {
  scheduler: 'schedule + encode + commit of one decode step at 64 … 4096 sequences',
  engine: 'prefill and decode tokens/s at 1/8/32 concurrent; flags: --quick --f32',
  'cpu-ops': 'every op of the CPU backend beside what this machine can do',
};
const [name, ...args] = process.argv.slice(2);

function run(program, programArgs) {
  const { status } = spawnSync(program, programArgs, { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

if (!Object.hasOwn(BENCHES, name)) {
  console.log('usage: npm run bench -- NAME [--json FILE]');
  for (const [bench, what] of Object.entries(BENCHES)) console.log(`  ${bench.padEnd(10)} ${what}`);
  process.exit(name === undefined ? 0 : 2);
}
run(process.execPath, [join('scripts', 'install.mjs'), '--bench']);
const program = join('build', 'testing', 'octavo_cpu_bench');
if (name === 'cpu-ops') {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  run(program, ['--version', version, ...args]);
} else {
  const out = join(ROOT, '.bench');
  const hash = hashOf(['lib', 'bench', 'tsconfig.json', 'tsconfig.bench.json']);
  if (!isCurrent(join(out, 'stamp'), hash)) {
    run(process.execPath, [
      join('node_modules', 'typescript', 'bin', 'tsc'),
      '-p',
      'tsconfig.bench.json',
    ]);
    writeStamp(join(out, 'stamp'), hash);
  }
  // Compiled code looks for addon and models from its own root.
  mkdirSync(out, { recursive: true });
  for (const folder of ['build', 'models']) {
    if (!existsSync(join(out, folder))) symlinkSync(join('..', folder), join(out, folder));
  }
  run(process.execPath, [join('.bench', 'bench', `${name}.js`), ...args]);
}

// npm run bench -- NAME [--json FILE] [flags of the bench]: builds what it needs, then runs it.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { hashOf, isCurrent, ROOT, writeStamp } from './stamp.mjs';

const BENCHES = {
  scheduler: 'schedule + encode + commit of one decode step at 64 … 4096 sequences',
  server: 'what HTTP costs beside calls, and the event loop under 256 streams; flags: --quick',
  'kv-groups': 'KV bytes per token of long sequences where layers have windows, beside uniform',
  engine: 'prefill and decode tokens/s with concurrent requests; flags: --quick --device cuda',
  sharing: 'parallel samples and beams beside independent requests; flags: --quick',
  paper: 'the experiments of the PagedAttention paper, simulated; flags: --quick',
  peers: 'octavo beside vLLM, OpenVINO and llama.cpp; flags: --quick --full --only TEXT and more',
  load: 'how long a model of 0.5B takes to be there beside node-llama-cpp; flags: --quick',
  embed: 'vectors of 1,000 texts beside @huggingface/transformers; flags: --quick',
  grammar:
    'structured output: compiling, masks, forks, tokens/s beside others; flags: --quick --peer',
  conformance: 'MaskBench and others beside llguidance, xgrammar; flags: --python PATH --every N',
  hybrid: 'layers that keep a state beside node-llama-cpp; flags: --quick --type Q4_K',
  gemma4:
    'two head sizes, shared KV, tables per layer beside node-llama-cpp; flags: --quick --type Q8_0',
  moe: 'a mixture of experts beside node-llama-cpp; flags: --quick --type Q8_0',
  serving: "octavo's server beside vLLM's and llama.cpp's; flags: --quick --full --only WEIGHTS",
  'cpu-ops': 'every op of the CPU backend beside what this machine can do; flags: --only NAME',
  kernels: 'the CUDA kernels beside the copy rate of device 0; flags: --only NAME',
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
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const program = (bench) => join('build', 'testing', bench);
const onDevice = name === 'kernels' || args.join(' ').includes('--device cuda');
if (onDevice && !existsSync(join(ROOT, program('octavo_kernel_bench')))) {
  console.error(
    `octavo: this build has no CUDA; ${name} needs an NVIDIA driver and nvcc when it is built`,
  );
  process.exit(1);
}
if (name === 'cpu-ops') {
  run(program('octavo_cpu_bench'), ['--version', version, ...args]);
} else if (name === 'kernels') {
  run(program('octavo_kernel_bench'), ['--version', version, ...args]);
  const torch = spawnSync('python3', ['-c', 'import torch'], { stdio: 'ignore' });
  if (torch.status === 0) run('python3', [join('bench', 'peers', 'sdpa.py')]);
  else console.log('no PyTorch here: nothing beside contiguous attention');
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
  // Compiled code looks for addon, models and version from its own root.
  mkdirSync(out, { recursive: true });
  for (const folder of ['build', 'models', 'package.json']) {
    if (!existsSync(join(out, folder))) symlinkSync(join('..', folder), join(out, folder));
  }
  run(process.execPath, [join('.bench', 'bench', `${name}.js`), ...args]);
}

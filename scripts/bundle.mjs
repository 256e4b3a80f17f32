// npm run bundle: packs into bundle/ what a bare NVIDIA host with a checkout of this repository
// still lacks (Node.js, the addon and test programs for one GPU, compiled JS, runtime packages),
// so that ./bundle/gpu-check runs there. Tracked files are not packed again.
//   --arch 90a-real   CMake's word for the GPU; default the H100's and H200's
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { findProgram } from './find-program.mjs';
import { ROOT } from './stamp.mjs';

const LIMIT = 60 * 2 ** 20;
const BUILD = join(ROOT, 'build-gpu');
const { values: args } = parseArgs({ options: { arch: { type: 'string', default: '90a-real' } } });

function run(program, programArgs, options = {}) {
  const { status } = spawnSync(program, programArgs, { cwd: ROOT, stdio: 'inherit', ...options });
  if (status !== 0) {
    console.error(`octavo: ${program} ${programArgs[0]} failed`);
    process.exit(1);
  }
}

function build() {
  const nvcc = findProgram('nvcc', '/usr/local/cuda/bin');
  if (!nvcc) {
    console.error('octavo: the bundle needs nvcc; install the CUDA toolkit');
    process.exit(1);
  }
  const cmakeJs = join('node_modules', 'cmake-js', 'bin', 'cmake-js');
  const env = { ...process.env, CUDACXX: nvcc };
  const flags = ['-O', BUILD, `--CDOCTAVO_CUDA_ARCHS=${args.arch}`, '-T', 'octavo'];
  run(process.execPath, [cmakeJs, 'compile', ...flags, '--log-level', 'error'], { env });
  const targets = ['octavo_kernel_test', 'octavo_kernel_bench'];
  run('cmake', ['--build', BUILD, '--target', ...targets]);
  run(process.execPath, [join('scripts', 'prepare.mjs'), '--force']);
  run(process.execPath, [
    join('node_modules', 'typescript', 'bin', 'tsc'),
    '-p',
    'tsconfig.bench.json',
  ]);
}

/** Folders of the packages that a running octavo imports, themselves and what they need. */
function runtimePackages() {
  const found = new Set();
  const visit = (name) => {
    const folder = join(ROOT, 'node_modules', name);
    if (found.has(folder) || !existsSync(folder)) return;
    found.add(folder);
    const { dependencies = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    for (const dependency of Object.keys(dependencies)) visit(dependency);
  };
  const BUILD_ONLY = ['cmake-js', 'node-addon-api', 'node-api-headers'];
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  for (const name of Object.keys(dependencies)) if (!BUILD_ONLY.includes(name)) visit(name);
  return [...found];
}

/** Of packages only what runs on Linux x64 with glibc. */
function wanted(path) {
  if (/\.(d\.ts|d\.cts|d\.mts|map|md)$/.test(path)) return false;
  return !path.endsWith('.node') || path.includes('linux-x64-gnu');
}

function collect(stage) {
  const put = (from, to) => {
    mkdirSync(dirname(join(stage, to)), { recursive: true });
    copyFileSync(from, join(stage, to));
  };
  const stripped = (from, to) => {
    put(from, to);
    run('strip', ['--strip-unneeded', join(stage, to)]);
  };
  stripped(join(BUILD, 'Release', 'octavo.node'), join('build', 'Release', 'octavo.node'));
  for (const program of ['octavo_kernel_test', 'octavo_kernel_bench']) {
    stripped(join(BUILD, 'testing', program), join('build', 'testing', program));
  }
  for (const folder of ['bench', 'lib', 'test']) {
    cpSync(join(ROOT, '.bench', folder), join(stage, '.bench', folder), { recursive: true });
  }
  cpSync(join(ROOT, 'dist'), join(stage, 'dist'), { recursive: true, filter: wanted });
  for (const folder of runtimePackages()) {
    cpSync(folder, join(stage, relative(ROOT, folder)), { recursive: true, filter: wanted });
  }
}

function pack() {
  const out = join(ROOT, 'bundle');
  const stage = mkdtempSync(join(tmpdir(), 'octavo-bundle-'));
  collect(stage);
  copyFileSync(realpathSync(process.execPath), join(stage, 'node'));
  chmodSync(join(stage, 'node'), 0o755);
  run('strip', ['--strip-unneeded', join(stage, 'node')]);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out);
  const env = { ...process.env, XZ_OPT: '-6 -T2' };
  run('tar', ['-C', stage, '-cJf', join(out, 'runtime.tar.xz'), ...readdirSync(stage)], { env });
  rmSync(stage, { recursive: true });
  copyFileSync(join(ROOT, 'scripts', 'gpu-check.sh'), join(out, 'gpu-check'));
  chmodSync(join(out, 'gpu-check'), 0o755);
  const tracked = execFileSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' });
  const sizes = tracked.split('\0').filter((name) => name && existsSync(join(ROOT, name)));
  const bytes = sizes.reduce((sum, name) => sum + statSync(join(ROOT, name)).size, 0);
  const packed = statSync(join(out, 'runtime.tar.xz')).size;
  const mib = (n) => (n / 2 ** 20).toFixed(1);
  console.log(`bundle/: ${mib(packed)} MiB, tracked files ${mib(bytes)} MiB, for ${args.arch}`);
  if (packed + bytes > LIMIT) {
    console.error('octavo: bundle and tracked files are more than 60 MiB together');
    process.exit(1);
  }
}

build();
pack();

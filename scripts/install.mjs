// npm's install script: makes sure that a native addon for this machine is there. A shipped
// prebuild that loads is enough; else it is compiled with cmake-js. A no-op when current.
//   --force    build even if current      --bench     also the C++ bench
//   --testing  also the test addon and the C++ test programs of `npm test`
//   --testing=all  and those of `npm run test:all`: the emulator under sanitizers
//   OCTAVO_CUDA = all | native | off     default: native where nvcc and an NVIDIA driver are found
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { findProgram } from './find-program.mjs';
import { hashOf, isCurrent, ROOT, writeStamp } from './stamp.mjs';

const require = createRequire(import.meta.url);
const args = new Set(process.argv.slice(2));
const ALL_ARCHS = '80-real;86-real;89-real;90a-real;90-virtual';

function fail(message) {
  console.error(`octavo: ${message}`);
  process.exit(1);
}

function checkPlatform() {
  const supported = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);
  if (!supported) {
    fail(`runs on Linux x64 and arm64 with glibc; this is ${process.platform} ${process.arch}`);
  }
  if (!process.report.getReport().header.glibcVersionRuntime) {
    fail('needs glibc; this Node.js is built for another C library (musl); use a Debian image');
  }
}

/** {archs: CMake's list or '', nvcc, why: a sentence} */
function chooseCuda() {
  const wish = process.env.OCTAVO_CUDA ?? '';
  if (!['', 'all', 'native', 'off'].includes(wish)) {
    fail(`OCTAVO_CUDA is "${wish}"; use all, native or off`);
  }
  if (wish === 'off') return { archs: '', why: 'CPU only (OCTAVO_CUDA=off)' };
  const nvcc = findProgram('nvcc', '/usr/local/cuda/bin');
  const driver = existsSync('/proc/driver/nvidia/version') || existsSync('/dev/nvidiactl');
  if (!nvcc) {
    if (wish) fail(`OCTAVO_CUDA=${wish} needs nvcc in PATH; install the CUDA toolkit`);
    return { archs: '', why: 'CPU only (no nvcc found)' };
  }
  if (wish === 'all') return { archs: ALL_ARCHS, nvcc, why: 'CPU and CUDA (all targets)' };
  if (!driver) {
    if (wish) fail('OCTAVO_CUDA=native needs an NVIDIA driver; use OCTAVO_CUDA=all without one');
    return { archs: '', why: 'CPU only (nvcc, but no NVIDIA driver; OCTAVO_CUDA=all builds CUDA)' };
  }
  return { ...nativeArch(), nvcc };
}

function nativeArch() {
  const smi = findProgram('nvidia-smi');
  if (!smi) return { archs: ALL_ARCHS, why: 'CPU and CUDA (all targets; no nvidia-smi to ask)' };
  const text = execFileSync(smi, ['--query-gpu=compute_cap', '--format=csv,noheader'], {
    encoding: 'utf8',
  });
  const sms = [
    ...new Set(
      text
        .trim()
        .split('\n')
        .map((s) => s.trim().replace('.', '')),
    ),
  ];
  const archs = sms.map((sm) => (sm === '90' ? '90a-real' : `${sm}-real`)).join(';');
  return { archs, why: `CPU and CUDA (sm ${sms.join(', ')})` };
}

function loads() {
  const test = join(require.resolve('node-gyp-build'), '..', 'build-test.js');
  return spawnSync(process.execPath, [test], { cwd: ROOT, stdio: 'ignore' }).status === 0;
}

function run(program, programArgs, env = {}) {
  const result = spawnSync(program, programArgs, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()), ...env },
  });
  if (result.status !== 0) {
    fail(`building the native addon failed (${program}). It needs cmake ≥ 3.22 and g++ ≥ 11`);
  }
}

function build(cuda) {
  for (const program of ['cmake', 'g++', 'make']) {
    if (!findProgram(program)) {
      fail(`${program} is missing. On Debian or Ubuntu: apt-get install -y cmake g++ make`);
    }
  }
  console.log(`octavo: building the native addon: ${cuda.why}`);
  const cli = join(require.resolve('cmake-js/package.json'), '..', 'bin', 'cmake-js');
  // Always given, so that a CUDA build can become a CPU build again in the same folder.
  run(process.execPath, [cli, 'compile', `--CDOCTAVO_CUDA_ARCHS=${cuda.archs}`], {
    ...(cuda.nvcc ? { CUDACXX: cuda.nvcc } : {}),
  });
}

checkPlatform();
const cuda = chooseCuda();
const hash = hashOf(['native', 'CMakeLists.txt'], cuda.archs, process.arch);
const stamp = join(ROOT, 'build', 'stamp');
const haveBuild = existsSync(join(ROOT, 'build', 'Release', 'octavo.node'));
const current = haveBuild ? isCurrent(stamp, hash) : existsSync(join(ROOT, 'prebuilds')) && loads();
if (args.has('--force') || !current) {
  build(cuda);
  if (!loads()) fail('the addon was built but does not load');
  writeStamp(stamp, hash);
}

/** What is built beside the addon. */
function extraTargets() {
  const targets = [];
  if (args.has('--bench')) targets.push('octavo_cpu_bench', 'octavo_grammar_bench');
  if (args.has('--bench') && cuda.archs) targets.push('octavo_kernel_bench');
  if (args.has('--testing') || args.has('--testing=all')) {
    targets.push('octavo_testing', 'octavo_cpu_test', 'octavo_model_test', 'octavo_sample_test');
    targets.push('octavo_grammar_test', 'octavo_simt_test');
  }
  if (args.has('--testing=all')) targets.push('octavo_simt_asan_test', 'octavo_simt_tsan_test');
  return targets;
}

const targets = extraTargets();
if (targets.length > 0) {
  if (!existsSync(join(ROOT, 'build', 'CMakeCache.txt'))) build(cuda);
  run('cmake', ['--build', 'build', '--target', ...targets]);
}

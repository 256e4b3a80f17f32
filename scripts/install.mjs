// npm's install script: makes sure that a native addon for this machine is there. A shipped
// prebuild that loads is enough, unless OCTAVO_CUDA asks for CUDA; else one is compiled with
// cmake-js, and a line says so. A no-op when current.
//   --force    build even if current      --bench     also the C++ bench
//   --testing  also the test addon and the C++ test programs of `npm test`
//   --testing=all  and those of `npm run test:all`: the emulator and grammars under sanitizers
//   OCTAVO_CUDA = all | native | off     default: native where nvcc and an NVIDIA driver are found
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { findProgram } from './find-program.mjs';
import { chooseCuda, hasDriver } from './install-cuda.mjs';
import { hashOf, isCurrent, ROOT, writeStamp } from './stamp.mjs';

const require = createRequire(import.meta.url);
const args = new Set(process.argv.slice(2));
const wish = process.env.OCTAVO_CUDA ?? '';

function fail(message, code = 'ERR_NATIVE_MISSING') {
  console.error(`octavo: ${message} (${code})`);
  process.exit(1);
}

const musl = !process.report.getReport().header.glibcVersionRuntime;
const machine = `${process.platform} ${process.arch}${musl ? ' with musl' : ''}`;

function checkPlatform() {
  const supported = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);
  if (!supported) fail(`runs on Linux x64 and arm64; this is ${process.platform} ${process.arch}`);
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

/** What is there already, in a word for the line that says why it is not enough. */
function shipped() {
  const folder = join(ROOT, 'prebuilds', `${process.platform}-${process.arch}`);
  return existsSync(folder) && readdirSync(folder).some((name) => name.endsWith('.node'));
}

/** `why` an addon is compiled at all, to be said to whoever waits. */
function build(cuda, why) {
  const missing = ['cmake', 'g++', 'make'].filter((program) => !findProgram(program));
  if (missing.length > 0) {
    fail(
      `${why}, and to compile one ${missing.join(', ')} is missing. Debian, Ubuntu: apt-get ` +
        'install -y cmake g++ make; Fedora, RHEL: dnf install -y cmake gcc-c++ make; Alpine: ' +
        'apk add cmake g++ make. Then: npm rebuild octavo',
    );
  }
  console.log(`octavo: ${why}; compiling it (minutes): ${cuda.why}`);
  const cli = join(require.resolve('cmake-js/package.json'), '..', 'bin', 'cmake-js');
  // Always given, so that a CUDA build can become a CPU build again in the same folder.
  run(process.execPath, [cli, 'compile', `--CDOCTAVO_CUDA_ARCHS=${cuda.archs}`], {
    ...(cuda.nvcc ? { CUDACXX: cuda.nvcc } : {}),
  });
}

checkPlatform();
const cuda = chooseCuda(wish, (message) => fail(message, 'ERR_INVALID_OPTION'));
const hash = hashOf(['native', 'CMakeLists.txt'], cuda.archs, process.arch);
const stamp = join(ROOT, 'build', 'stamp');
const haveBuild = existsSync(join(ROOT, 'build', 'Release', 'octavo.node'));

/** Why there is to be another addon than what is here; undefined: it will do. */
function reason() {
  if (args.has('--force')) return 'a build of the native addon was asked for';
  if (haveBuild) return isCurrent(stamp, hash) ? undefined : 'the native addon is not current';
  if (!shipped()) return `no native addon for ${machine} is shipped here`;
  if (['all', 'native'].includes(wish)) return `the native addon is shipped without CUDA`;
  return loads() ? undefined : `no shipped native addon loads on ${machine}`;
}

const why = reason();
if (why) {
  build(cuda, why);
  if (!loads()) fail('the addon was built but does not load');
  writeStamp(stamp, hash);
} else if (!haveBuild && wish === '' && hasDriver()) {
  console.log(`octavo: a GPU is here; npm install ${cudaPackage()} computes on it`);
}

function cudaPackage() {
  const { version } = require('../package.json');
  return `@octavo/cuda-${process.platform}-${process.arch}@${version}`;
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
  if (args.has('--testing=all')) {
    targets.push('octavo_simt_asan_test', 'octavo_simt_tsan_test');
    targets.push('octavo_grammar_asan_test', 'octavo_grammar_tsan_test');
  }
  return targets;
}

const targets = extraTargets();
if (targets.length > 0) {
  if (!existsSync(join(ROOT, 'build', 'CMakeCache.txt'))) build(cuda, 'tests need a build');
  run('cmake', ['--build', 'build', '--target', ...targets]);
}

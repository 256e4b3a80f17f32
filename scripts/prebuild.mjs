// Makes addons for other machines than this one: prebuilds/PLATFORM-ARCH/octavo.LIBC.node, which is
// where node-gyp-build looks. They run with glibc 2.28 or musl 1.2, and hold their C++ library.
//   node scripts/prebuild.mjs [target…]     default: this machine's
//   targets: linux-x64, linux-arm64 (the other processor's with Debian's cross compiler);
//            linux-x64-musl, linux-arm64-musl each on such a machine only (Alpine)
//   --cuda   with all CUDA targets, to prebuilds-cuda/PLATFORM-ARCH/octavo.node (needs nvcc; for
//            this machine's processor)
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { findProgram } from './find-program.mjs';
import { ALL_ARCHS } from './install-cuda.mjs';
import { ROOT } from './stamp.mjs';

const require = createRequire(import.meta.url);
const MUSL = !process.report.getReport().header.glibcVersionRuntime;
const PROCESSORS = { x64: 'x86_64', arm64: 'aarch64' };

function fail(message) {
  console.error(`octavo: ${message}`);
  process.exit(1);
}

function run(program, args) {
  const { status, error } = spawnSync(program, args, { cwd: ROOT, stdio: ['ignore', 2, 2] });
  if (status !== 0) fail(`${program} ${args[0]} failed${error ? `: ${error.message}` : ''}`);
}

/** CMake's name for the compiler: a program, and its first arguments; '' = whatever it finds. */
function compiler(arch, musl) {
  const processor = PROCESSORS[arch];
  if (Boolean(musl) !== MUSL || (musl && arch !== process.arch)) {
    fail(`linux-${arch}${musl ?? ''} is not built on a machine with ${MUSL ? 'musl' : 'glibc'}`);
  }
  if (arch === process.arch) return '';
  const cross = `${processor}-linux-gnu-g++`;
  if (!findProgram(cross)) fail(`${cross} is missing. On Debian: apt-get install -y ${cross}`);
  return cross;
}

function prebuild(target, cuda) {
  const [, arch, musl] = /^linux-(x64|arm64)(-musl)?$/.exec(target) ?? [];
  if (!arch) fail(`no target is called "${target}"; see the top of scripts/prebuild.mjs`);
  if (cuda && (musl || arch !== process.arch)) fail(`CUDA is not built for ${target} here`);
  const folder = `build-prebuild-${target}${cuda ? '-cuda' : ''}`;
  const headers = [
    require('node-api-headers').include_dir,
    dirname(require.resolve('node-addon-api')),
  ];
  const cxx = compiler(arch, musl);
  run('cmake', [
    ...['-S', '.', '-B', folder, '-DCMAKE_BUILD_TYPE=Release', '-DOCTAVO_PORTABLE=ON'],
    `-DCMAKE_JS_INC=${headers.join(';')}`,
    ...(cxx ? [`-DCMAKE_CXX_COMPILER=${cxx}`] : []),
    `-DOCTAVO_MUSL=${musl ? 'ON' : 'OFF'}`,
    `-DOCTAVO_CUDA_ARCHS=${cuda ? ALL_ARCHS : ''}`,
    // Else CMake takes this machine's for granted.
    ...(arch !== process.arch
      ? ['-DCMAKE_SYSTEM_NAME=Linux', `-DCMAKE_SYSTEM_PROCESSOR=${PROCESSORS[arch]}`]
      : []),
  ]);
  run('cmake', [
    '--build',
    folder,
    '--parallel',
    String(availableParallelism()),
    '--target',
    'octavo',
  ]);
  const file = cuda
    ? join('prebuilds-cuda', `linux-${arch}`, 'octavo.node')
    : join('prebuilds', `linux-${arch}`, `octavo.${musl ? 'musl' : 'glibc'}.node`);
  mkdirSync(join(ROOT, dirname(file)), { recursive: true });
  copyFileSync(join(ROOT, folder, 'Release/octavo.node'), join(ROOT, file));
  console.log(`${file}: ${(statSync(join(ROOT, file)).size / 1e6).toFixed(1)} MB`);
}

const args = process.argv.slice(2);
const cuda = args.includes('--cuda');
const targets = args.filter((arg) => arg !== '--cuda');
if (targets.length === 0) targets.push(`linux-${process.arch}${MUSL ? '-musl' : ''}`);
for (const target of targets) prebuild(target, cuda);

// Packs what is published: octavo with its prebuilds, and a package with CUDA for each platform
// that an addon is given for, which octavo then names among its optional dependencies, by its own
// version. The package.json of the tree names none: they are made after it.
//   node scripts/pack.mjs FOLDER [--cuda linux-x64=prebuilds-cuda/linux-x64/octavo.node]…
// Prints the tarballs; dist and prebuilds must be there.
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './stamp.mjs';

/** A package may be larger for npm, but nobody waits for it gladly. */
const LIMIT = 64 * 2 ** 20;

function fail(message) {
  console.error(`octavo: ${message}`);
  process.exit(1);
}

const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));
const writeJson = (file, value) => writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);

/** Packs a folder as it is, without its scripts; the tarball's path. */
function pack(folder, target) {
  const args = ['pack', '--silent', '--ignore-scripts', '--pack-destination', target];
  const said = execFileSync('npm', args, { cwd: folder, encoding: 'utf8' });
  const path = join(target, said.trim().split('\n').at(-1));
  const { size } = statSync(path);
  if (size > LIMIT) fail(`${path} has ${size} bytes, more than ${LIMIT}`);
  return path;
}

/** The package with CUDA for a platform: {name, tarball}. */
function packCuda(platform, addon, main, work, target) {
  const [os, cpu] = platform.split('-');
  if (!main.os.includes(os) || !main.cpu.includes(cpu)) fail(`octavo does not run on ${platform}`);
  if (!existsSync(addon)) fail(`${addon} is missing; node scripts/prebuild.mjs --cuda makes it`);
  const name = `@octavo/cuda-${platform}`;
  const folder = join(work, `cuda-${platform}`);
  mkdirSync(folder);
  copyFileSync(addon, join(folder, 'octavo.node'));
  copyFileSync(join(ROOT, 'LICENSE'), join(folder, 'LICENSE'));
  writeJson(join(folder, 'package.json'), {
    name,
    version: main.version,
    description: `The native addon of octavo with CUDA, for ${platform} with glibc.`,
    license: main.license,
    main: './octavo.node',
    files: ['octavo.node'],
    os: [os],
    cpu: [cpu],
    libc: ['glibc'],
    engines: main.engines,
  });
  writeFileSync(
    join(folder, 'README.md'),
    `# ${name}\n\nThe native addon of octavo ${main.version} with CUDA kernels, for ${platform} ` +
      'with glibc: GPUs of compute\ncapability 8.0 and later, driver 580 or later. octavo loads ' +
      'it where it is installed and a driver is there.\n',
  );
  return { name, tarball: pack(folder, target) };
}

/** octavo itself: as npm would pack the tree, and the packages with CUDA named. */
function packMain(cudaNames, main, work, target) {
  const plain = pack(ROOT, work);
  execFileSync('tar', ['-xzf', plain, '-C', work]);
  const folder = join(work, 'package');
  if (!existsSync(join(folder, 'dist', 'index.js'))) fail('dist is missing; npm run build:ts');
  if (!existsSync(join(folder, 'prebuilds'))) fail('no prebuilds; node scripts/prebuild.mjs');
  const optionalDependencies = Object.fromEntries(cudaNames.map((name) => [name, main.version]));
  if (cudaNames.length > 0) {
    writeJson(join(folder, 'package.json'), { ...main, optionalDependencies });
  }
  return pack(folder, target);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cuda: { type: 'string', multiple: true, default: [] } },
});
if (positionals.length !== 1) fail('name the folder that the tarballs are to go to');
const target = resolve(positionals[0]);
mkdirSync(target, { recursive: true });
const work = mkdtempSync(join(tmpdir(), 'octavo-pack-'));
try {
  const main = readJson(join(ROOT, 'package.json'));
  const platforms = values.cuda.map((one) => {
    const [platform, addon] = one.split('=');
    if (!addon) fail(`--cuda is "${one}"; say PLATFORM=FILE`);
    return packCuda(platform, resolve(addon), main, work, target);
  });
  const names = platforms.map(({ name }) => name);
  for (const { tarball } of platforms) console.log(tarball);
  console.log(packMain(names, main, work, target));
} finally {
  rmSync(work, { recursive: true, force: true });
}

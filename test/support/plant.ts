/** Plants a bug in a copy of the kernels' sources and asks their tests whether they notice. */
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './addon.js';
import { program } from './programs.js';
import { temporaryFolder } from './write-model.js';

const KERNELS = join(ROOT, 'native', 'kernels');

/** How the tests run, cheapest first; a bug is noticed when one of them fails. */
const VARIANTS = [
  { name: 'simt', flags: [], effort: ['--small'], seeds: [0, 1, 2, 3, 4, 5] },
  {
    name: 'simt_asan',
    flags: ['-fsanitize=address,undefined'],
    effort: ['--small'],
    seeds: [0, 1],
  },
  { name: 'simt_tsan', flags: ['-fsanitize=thread'], effort: ['--small'], seeds: [0] },
  { name: 'simt', flags: [], effort: ['--cases', '80'], seeds: [0, 1, 2] },
];

/** The part of the suite that a file's kernels are in, and what has to be compiled for it. */
function affected(file: string): { only: string; units: string[] } {
  if (/^attention_any/.test(file)) return { only: 'attention', units: ['attention_any.cu'] };
  if (/^(attention|kv_tiles)/.test(file)) {
    return {
      only: 'attention',
      units: ['attention_64.cu', 'attention_128.cu', 'attention_256.cu'],
    };
  }
  if (/^(linear_attention|short_conv)/.test(file)) {
    return { only: 'recurrent', units: [`${file.split('.')[0]}.cu`] };
  }
  if (/^(matmul|packed|partial_sums)/.test(file)) {
    return { only: 'matmul', units: ['matmul.cu', 'packed_q6_k.cu'] };
  }
  if (file === 'experts.cuh') return { only: 'ops', units: ['experts.cu'] };
  return { only: file === 'sample.cu' ? 'sample' : 'ops', units: [file] };
}

/** Every place where a kernel waits for other threads or for its copies. */
export function syncPoints(): { file: string; line: number; call: string }[] {
  return readdirSync(KERNELS)
    .filter((file) => /\.cuh?$/.test(file) && !file.endsWith('mma.cuh'))
    .flatMap((file) =>
      readFileSync(join(KERNELS, file), 'utf8')
        .split('\n')
        .flatMap((text, i) => {
          const [call] =
            /(__syncthreads|__syncwarp|(async|wgmma)_wait<.*>|wgmma_sees_shared)\(\)/.exec(text) ??
            [];
          // What guards a helper against callers there are none of yet.
          if (text.includes('whoever used s before is done')) return [];
          return call === undefined ? [] : [{ file, line: i + 1, call }];
        }),
    );
}

/**
 * @param at a line from which the waiting is removed, or what is replaced where it stands first
 * @returns what noticed; '' when nothing did
 */
export function plant(file: string, at: number | RegExp, replacement: string): string {
  const folder = temporaryFolder();
  cpSync(join(ROOT, 'native'), join(folder, 'native'), { recursive: true });
  const path = join(folder, 'native', 'kernels', file);
  const text = readFileSync(path, 'utf8');
  const changed =
    typeof at === 'number'
      ? text
          .split('\n')
          .map((l, i) =>
            i === at - 1 ? l.replace(/(__sync\w+|\w+_wait<.*>|wgmma_sees_shared)\(\);/, ';') : l,
          )
          .join('\n')
      : text.replace(at, replacement);
  if (changed === text) throw new Error(`${file} has no ${at}`);
  writeFileSync(path, changed);
  const { only, units } = affected(file);
  for (const { name, flags, effort, seeds } of VARIANTS) {
    const tests = build(folder, name, flags, units);
    for (const seed of seeds) {
      const { status } = program(tests, [...effort, '--only', only, `${seed}`]);
      if (status !== 0) return `${name} ${effort.join(' ')} ${seed}`;
    }
  }
  return '';
}

/** The test program from the objects of the usual build, but for the changed units. */
function build(folder: string, variant: string, flags: string[], units: string[]): string {
  const objects = objectsOf(variant).filter((o) => !units.some((unit) => o.endsWith(`/${unit}.o`)));
  const out = join(folder, `octavo_${variant}_test`);
  const sources = units.flatMap((unit) => ['-xc++', join(folder, 'native', 'kernels', unit)]);
  const { status, stderr } = spawnSync(
    'g++',
    [
      ['-std=c++17', '-O1', '-w', '-DOCTAVO_SIMT', `-I${join(folder, 'native')}`, ...flags],
      [...sources, '-xnone', ...objects, '-pthread', '-o', out],
    ].flat(),
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  return out;
}

function objectsOf(variant: string): string[] {
  const build = join(ROOT, 'build');
  const folders =
    variant === 'simt'
      ? ['native/simt/CMakeFiles/octavo_simt.dir', 'CMakeFiles/octavo_simt_test.dir']
      : [`native/simt/CMakeFiles/octavo_${variant}_test.dir`];
  const objects = folders.flatMap((folder) =>
    readdirSync(join(build, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.o'))
      .map((name) => join(build, folder, name)),
  );
  // What the device backend takes of the rest.
  const base = ['quants', 'whole_blocks', 'grids'].map((name) =>
    join(build, `CMakeFiles/octavo_core.dir/native/base/${name}.cc.o`),
  );
  return variant === 'simt' ? [...objects, ...base] : objects;
}

import { describe, expect, it } from 'vitest';
import { ALL, itAll } from '../support/all.js';
import { plant, syncPoints } from '../support/plant.js';
import { program, run } from '../support/programs.js';
import { SEED } from '../support/seed.js';

/** The CUDA kernels on the emulator, and whether it and these tests would see a bug in them. */

// The seed chooses order of lanes (mod 3) and kind of asynchronous copies (mod 6): six small runs
// see every combination, one is as large as a random seed makes it.
describe('CUDA kernels on the emulator, beside float64 references', () => {
  it('a small run of any seed', () =>
    run('octavo_simt_test', ['--small', '--threads', '1', `${SEED}`]));

  itAll('every order of lanes and kind of copies', () => {
    for (let seed = 0; seed < 6; seed++) run('octavo_simt_test', ['--small', `${seed}`]);
    run('octavo_simt_test', [`${SEED}`]);
  });

  itAll('under ASan and UBSan', () => run('octavo_simt_asan_test', ['--small', `${SEED}`]));

  itAll('under TSan', () => run('octavo_simt_tsan_test', ['--small', '--cases', '3', `${SEED}`]));
});

describe('the emulator reports', () => {
  const DEADLOCK = 'deadlock: no thread can run';
  const PLACES = 'with different masks or at different call sites';

  function reports(program_: string, bug: string, message: string): void {
    for (const seed of ['0', '1', '2']) {
      const { status, stderr } = program(program_, ['--bug', bug, seed]);
      expect(stderr).toContain(message);
      expect(status).not.toBe(0);
    }
  }

  it.each([
    ['half-of-warp-shuffles', DEADLOCK],
    ['lane-leaves-before-a-shuffle', DEADLOCK],
    ['shuffles-at-two-places', PLACES],
    ['lane-outside-its-mask', 'not in the member mask'],
    ['barriers-at-two-places', '__syncthreads reached at different call sites'],
    ['misaligned-async-copy', 'cp.async: an address is not aligned to what is copied'],
    ['too-many-threads', 'illegal launch'],
    ['too-much-shared-memory', 'illegal launch'],
  ])('%s', (bug, message) => reports('octavo_simt_test', bug, message));

  itAll.each([
    ['no-syncwarp', 'tsan', 'data race'],
    ['no-syncthreads', 'tsan', 'data race'],
    ['shared-memory-overrun', 'asan', 'heap-buffer-overflow'],
    ['device-memory-overrun', 'asan', 'heap-buffer-overflow'],
    ['misaligned-vector', 'asan', 'misaligned address'],
  ])('%s under %s', (bug, sanitizer, message) =>
    reports(`octavo_simt_${sanitizer}_test`, bug, message),
  );

  // Copies are late with even seeds / 3: 0 to 2 late, 3 to 5 early.
  it.each([
    ['none', 0, 0, 0],
    ['no-syncwarp', 0, 16, 0],
    ['no-syncwarp', 1, 16, 0],
    ['read-before-wait', 0, 32, 0],
    ['read-before-wait', 3, 0, 0],
    ['target-still-read', 3, 32, 0],
    ['rows-in-one-bank', 0, 32, 28],
  ])('%s with seed %i by %i wrong values, %i bank conflicts', (bug, seed, wrong, conflicts) => {
    const { stdout, status } = program('octavo_simt_test', ['--bug', bug, `${seed}`]);
    expect(stdout).toContain(`${wrong} wrong, ${conflicts} bank conflicts`);
    expect(status).toBe(0);
  });
});

// Bugs planted in the kernels' own sources must make the suite above fail.
describe('the kernel tests notice', () => {
  const notices = (file: string, find: RegExp, replacement: string) =>
    expect(plant(file, find, replacement)).not.toBe('');

  // Files that compile in a few seconds, bugs that the plain build sees.
  it.each([
    ['a missing barrier', 'sample.cu', /__syncthreads\(\);(?=\s+best = s\.floats)/, ''],
    ['an index too far', 'cache.cu', /i < size(?=; i \+= 32\) row)/, 'i <= size'],
  ])('%s in %s', (_, ...bug) => notices(...bug));

  itAll.each([
    ['a missing barrier', 'kv_tiles.cuh', /__syncthreads\(\);(?= {2}\/\/ the tile is there)/, ''],
    ['a missing wait', 'kv_tiles.cuh', /async_wait<1>\(\);/, ''],
    ['a missing wait', 'matmul.cuh', /async_wait<Tile::kNumStages - 2>\(\);/, ''],
    ['a missing wait', 'matmul_warpgroup.cuh', /wgmma_wait<1>\(\);/, ''],
    ['a missing wait', 'attention_block.cuh', /wgmma_wait<0>\(\);(?=\s+} else)/, ''],
    ['a missing fence', 'matmul_warpgroup.cuh', /wgmma_sees_shared\(\);/, ''],
    [
      'no K step but the first in tiles of many rows',
      'experts.cu',
      /inside && row\[i\] >= 0;/,
      'inside && row[i] >= 0 && !(kCount == 64 && k0 >= 64);',
    ],
    ['an index too far', 'cache.cu', /i \* kThreads < words(?=\) to)/, 'i * kThreads <= words'],
  ])('%s in %s', (_, ...bug) => notices(...bug));

  // Each of them, one at a time.
  it.each(ALL ? syncPoints() : [])('that $call is missing in $file:$line', ({ file, line }) =>
    expect(plant(file, line, '')).not.toBe(''),
  );
});

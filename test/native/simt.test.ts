import { describe, expect, it } from 'vitest';
import { someOf } from '../support/all.js';
import { plant, syncPoints } from '../support/plant.js';
import { program, run } from '../support/programs.js';
import { SEED } from '../support/seed.js';

/** The CUDA kernels on the emulator, and whether it and these tests would see a bug in them. */

// The seed chooses order of lanes (mod 3) and kind of asynchronous copies (mod 6): six small runs
// see every combination, one is as large as a random seed makes it.
describe('CUDA kernels on the emulator, beside float64 references', () => {
  it('a small run of any seed', () =>
    run('octavo_simt_test', ['--small', '--threads', '1', `${SEED}`]));

  const every = [0, 1, 2, 3, 4, 5].map((seed) => ['--small', `${seed}`]);
  it.each(someOf([...every, [`${SEED}`]], 0).map((args) => [args.join(' '), args] as const))(
    'in every order of lanes and kind of copies: %s',
    (_, args) => run('octavo_simt_test', args),
  );

  const groups = ['ops', 'matmul', 'sample', 'recurrent', 'plan', 'faults', 'attention'];
  it.each(someOf(groups, 0))('%s under ASan and UBSan', (group) =>
    run('octavo_simt_asan_test', ['--small', '--only', group, `${SEED}`]),
  );
  it.each(someOf(groups, 0))('%s under TSan', (group) =>
    run('octavo_simt_tsan_test', ['--small', '--cases', '3', '--only', group, `${SEED}`]),
  );
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

  const underSanitizers = [
    ['no-syncwarp', 'tsan', 'data race'],
    ['no-syncthreads', 'tsan', 'data race'],
    ['shared-memory-overrun', 'asan', 'heap-buffer-overflow'],
    ['device-memory-overrun', 'asan', 'heap-buffer-overflow'],
    ['misaligned-vector', 'asan', 'misaligned address'],
  ] as const;
  it.each(someOf(underSanitizers, 0))('%s under %s', (bug, sanitizer, message) =>
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
    ['an index too far', 'cache.cu', /i < own(?=; i \+= 32)/, 'i <= own'],
    ['a mask that greedy draws pass by', 'sample.cu', /r\.mask_row < 0 &&/, ''],
    ['a token that fades itself', 'linear_attention.cuh', /i > j; i--/, 'i >= j; i--'],
    ['too short a ring of inputs', 'short_conv.cu', /kTokens \+ kChunk;/, 'kTokens + 2;'],
  ])('%s in %s', (_, ...bug) => notices(...bug));

  const bugs: [what: string, file: string, find: RegExp, replacement: string][] = [
    ['a missing barrier', 'kv_tiles.cuh', /__syncthreads\(\);(?= {2}\/\/ the tile is there)/, ''],
    ['a missing wait', 'kv_tiles.cuh', /async_wait<1>\(\);/, ''],
    ['a missing wait', 'matmul.cuh', /async_wait<Tile::kNumStages - 2>\(\);/, ''],
    ['a missing wait', 'matmul_warpgroup.cuh', /wgmma_wait<1>\(\);/, ''],
    ['a missing wait', 'attention_block.cuh', /wgmma_wait<0>\(\);(?=\s+} else)/, ''],
    ['a missing fence', 'matmul_warpgroup.cuh', /wgmma_sees_shared\(\);/, ''],
    ['a missing wait', 'matmul.cuh', /async_wait<Tile::kNumStages - 3>\(\);/, ''],
    ['a buffer that is still read', 'matmul.cuh', /step % 2(?= \* Tile::kWideBytes)/, '0'],
    ['a shift too far', 'packed.cuh', /high >> \(16 \+ high_at\)/, 'high >> (17 + high_at)'],
    ['a scale of other values', 'packed.cuh', /\[row \* 2 \+ q\](?=;\s+out\.scale)/, '[row * 2]'],
    ['tiles past the last', 'packed_tiles.cuh', /at, own < tiles\);/, 'at, true);'],
    [
      'no K step but the first in tiles of many rows',
      'experts.cuh',
      /inside && row\[i\] >= 0;/,
      'inside && row[i] >= 0 && !(kCount == 64 && k0 >= 64);',
    ],
    ['a column past its head', 'linear_attention.cuh', /if \(in_\) out\[/, 'out['],
    ['a state of the chunk before', 'linear_attention.cuh', /border_of\(q_\.end\);/, 'q_.end;'],
    [
      'a record of the token before',
      'short_conv.cu',
      /int32_t record = step\.new_records\[row\]/,
      'int32_t record = step.new_records[row - (row > 0)]',
    ],
    ['an index too far', 'cache.cu', /i \* kThreads < words(?=\) to)/, 'i * kThreads <= words'],
    // What lets a token be drawn that a grammar forbids.
    ['bits in the other order', 'sample.cu', /\(i % 32\)(?= & 1u\) != 0)/, '(31 - i % 32)'],
    ['the word before', 'sample.cu', /mask\[i \/ 32\]/, 'mask[i < 32 ? 0 : i / 32 - 1]'],
    ['the mask of another row', 'sample.cu', /r\.mask_row\)(?= \* words)/, 'blockIdx.x)'],
    [
      'a list that undoes the mask',
      'sample.cu',
      /values\[id\] = unmasked\(mask, id\)/,
      'values[id] = raw[id]',
    ],
    ['masks in the order of their updates', 'sample.cu', /a\.rows\[blockIdx\.x\]/, 'blockIdx.x'],
    [
      'words that stay as they were',
      'sample.cu',
      /i < a\.words(?=; i \+= kThreads\) to)/,
      'i < a.words - 1',
    ],
  ];
  it.each(someOf(bugs, 0))('%s in %s', (_, ...bug) => notices(...bug));

  // Each of them, one at a time.
  it.each(someOf(syncPoints(), 0))('that $call is missing in $file:$line', ({ file, line }) =>
    expect(plant(file, line, '')).not.toBe(''),
  );
});

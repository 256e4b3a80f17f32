import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, it } from 'vitest';
import { type Checkpoint, openCheckpoint } from '../../lib/model/checkpoint.js';
import { isGguf, oneModel } from '../../lib/model/gguf-parts.js';
import { ROOT } from '../support/addon.js';
import { type SplitKeys, splitGguf } from '../support/split-gguf.js';
import { refusal, temporaryFolder, write } from '../support/write-model.js';

const WHOLE = join(ROOT, 'test/fixtures/gguf/llama-q8_0.gguf');
const FIRST = 'token_embd.weight';
const base = temporaryFolder();
let folders = 0;

/** A folder of its own with the model in parts of 1, 7 and all other tensors. */
function parts(change?: (keys: SplitKeys) => SplitKeys): string[] {
  const folder = join(base, String(folders++));
  mkdirSync(folder);
  return splitGguf(WHOLE, folder, [1, 7], FIRST, change);
}

function contents({ files, tensors }: Checkpoint): Map<string, string> {
  const bytes = files.map((file) => readFileSync(file));
  return new Map(
    tensors.map(({ name, file, offset, bytes: length }) => [
      name,
      bytes[file].toString('base64', offset, offset + length),
    ]),
  );
}

it('a model in parts is the model, whichever part or folder is named', async () => {
  const whole = await openCheckpoint(WHOLE);
  const paths = parts();
  for (const path of [...paths, join(paths[0], '..')]) {
    const split = await openCheckpoint(path);
    expect(split.files).toEqual(paths);
    expect(split.spec).toEqual(whole.spec);
    expect(split.tokenizer).toEqual(whole.tokenizer);
    expect(split.weightBytes).toBe(whole.weightBytes);
    expect(contents(split)).toEqual(contents(whole));
  }
});

it('the first part may hold no tensors', async () => {
  const folder = join(base, 'empty-first');
  mkdirSync(folder);
  const [path] = splitGguf(WHOLE, folder, [0, 5], FIRST);
  expect((await openCheckpoint(path)).tensors.every(({ file }) => file > 0)).toBe(true);
});

it('a part that is missing is named', async () => {
  const paths = parts();
  rmSync(paths[1]);
  for (const path of [paths[0], paths[2], join(paths[0], '..')]) {
    const error = await refusal(openCheckpoint(path));
    expect(error.code).toBe('ERR_MODEL_NOT_FOUND');
    expect(error.message).toContain(`${paths[1]} is missing, one of the 3 files`);
  }
});

it.each<[string, (keys: SplitKeys) => SplitKeys, RegExp]>([
  [
    'another number',
    (k) => (k.no === 1 ? { ...k, no: 2 } : k),
    /00002-of-00003\.gguf: split\.no is 2/,
  ],
  [
    'another count',
    (k) => (k.no === 2 ? { ...k, count: 4 } : k),
    /00003-of-00003\.gguf: split\.count/,
  ],
  ['too few tensors', (k) => ({ ...k, tensors: 99 }), /split\.tensors\.count is 99/],
])('%s in a part is refused', async (_, change, why) => {
  const error = await refusal(openCheckpoint(parts(change)[0]));
  expect(error).toMatchObject({ code: 'ERR_MODEL_FORMAT' });
  expect(error.message).toMatch(why);
});

it('a part that says otherwise than the first is refused', async () => {
  const paths = parts();
  for (const [name, good] of [
    ['general.quantization_version'.slice(0, 16), false],
    ['split.some-remark'.slice(0, 16), true],
  ] as const) {
    const bytes = readFileSync(paths[1]);
    const key = Buffer.alloc(32); // as long as the data's alignment
    key.writeBigUInt64LE(16n, 0);
    key.write(name, 8);
    key.writeUInt32LE(4, 24);
    const changed = Buffer.concat([bytes.subarray(0, 24), key, bytes.subarray(24)]);
    changed.writeBigUInt64LE(bytes.readBigUInt64LE(16) + 1n, 16);
    const folder = join(base, String(folders++));
    mkdirSync(folder);
    for (const path of paths) {
      write(folder, basename(path), path === paths[1] ? changed : readFileSync(path));
    }
    const error = await refusal(openCheckpoint(folder));
    expect(error.code).toBe(good ? 'none' : 'ERR_MODEL_FORMAT');
    if (!good) expect(error.message).toMatch(/00002-of-.*general\.quantiza is not as in the first/);
  }
});

it('a part under another name is refused', async () => {
  const [path] = parts();
  const other = join(path, '..', 'model.gguf');
  renameSync(path, other);
  const error = await refusal(openCheckpoint(other));
  expect(error.code).toBe('ERR_MODEL_FORMAT');
  expect(error.message).toMatch(/split\.count is 3, .*-00001-of-00003\.gguf/);
});

it.each(['x.gguf.part1of2', 'x.gguf-split-a'])('%s is to be joined first', async (name) => {
  const folder = join(base, name);
  mkdirSync(folder);
  const path = write(folder, name, 'GGUF');
  for (const named of [path, folder]) {
    const error = await refusal(openCheckpoint(named));
    expect(error.code).toBe('ERR_MODEL_UNSUPPORTED');
    expect(error.message).toMatch(/cat .*x\.gguf\?\* > .*x\.gguf\)/);
  }
});

it('a folder has one model, in one file or in parts', () => {
  expect(isGguf('a.gguf') && isGguf('a.gguf.part2of3') && !isGguf('a.gguf.txt')).toBe(true);
  expect(oneModel(['a.gguf'])).toBe('a.gguf');
  expect(oneModel(['a-00002-of-00002.gguf', 'a-00001-of-00002.gguf'])).toBe(
    'a-00001-of-00002.gguf',
  );
  expect(oneModel(['a.gguf', 'b.gguf'])).toBeUndefined();
  expect(oneModel([])).toBeUndefined();
});

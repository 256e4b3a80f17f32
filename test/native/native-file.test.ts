/** Which addon is loaded, in packages made for it that hold this machine's own. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { nativeOf } from '../../lib/native.js';
import { nativeFile } from '../../lib/native-file.js';
import { ROOT } from '../support/addon.js';

const PLATFORM = `${process.platform}-${process.arch}`;
const CUDA = `@octavo/cuda-${PLATFORM}`;
const ADDON = join(ROOT, 'build', 'Release', 'octavo.node');
let root: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'octavo-file-')));
  write('package.json', JSON.stringify({ name: 'octavo', version: '1.2.3' }));
  const loader = 'node_modules/node-gyp-build';
  cpSync(join(ROOT, loader), join(root, loader), { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, text: string) {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), text);
}

function copyAddon(path: string): string {
  mkdirSync(join(root, path, '..'), { recursive: true });
  cpSync(ADDON, join(root, path));
  return join(root, path);
}

const cudaOf = (version: string) =>
  write(`node_modules/${CUDA}/package.json`, JSON.stringify({ name: CUDA, version }));

it('takes the prebuild of the C library, the package with CUDA where a driver is', () => {
  const own = copyAddon(`prebuilds/${PLATFORM}/octavo.glibc.node`);
  expect(nativeFile(root, true)).toEqual({ path: own });
  cudaOf('1.2.3');
  const cuda = copyAddon(`node_modules/${CUDA}/octavo.node`);
  expect(nativeFile(root, false)).toEqual({ path: own });
  expect(nativeFile(root, true)).toEqual({ path: cuda, from: CUDA });
  expect(nativeOf(root, true).isas).toContain('scalar');
});

it('what was compiled here comes before everything', () => {
  cudaOf('9.9.9');
  const built = copyAddon('build/Release/octavo.node');
  expect(nativeFile(root, true)).toEqual({ path: built });
});

it('refuses a package with CUDA of another version, by both versions, time and again', () => {
  copyAddon(`prebuilds/${PLATFORM}/octavo.glibc.node`);
  cudaOf('1.2.4');
  for (let i = 0; i < 2; i++) {
    expect(() => nativeOf(root, true)).toThrow(
      expect.objectContaining({
        code: 'ERR_NATIVE_MISMATCH',
        message: expect.stringMatching(/1\.2\.4, octavo 1\.2\.3; run "npm install .*@1\.2\.3"/),
      }),
    );
  }
  expect(nativeOf(root, false).isas).toContain('scalar');
});

it('says what to do about a package with CUDA that does not load, or an addon that is not there', () => {
  cudaOf('1.2.3');
  write(`node_modules/${CUDA}/octavo.node`, 'no addon');
  expect(() => nativeOf(root, true)).toThrow(
    expect.objectContaining({
      code: 'ERR_NATIVE_MISSING',
      message: expect.stringContaining(`npm uninstall ${CUDA}`),
    }),
  );
  expect(() => nativeOf(root, false)).toThrow(
    expect.objectContaining({
      code: 'ERR_NATIVE_MISSING',
      message: expect.stringContaining('npm rebuild octavo'),
    }),
  );
});

it.each([
  ['is the user’s', '{"name": "shop", "version": "1.2.3"}'],
  ['is not there', null],
])('out of a bundle, where package.json %s, it says to leave octavo out of it', (_, manifest) => {
  rmSync(join(root, 'package.json'));
  if (manifest !== null) write('package.json', manifest);
  expect(() => nativeOf(root, false)).toThrow(
    expect.objectContaining({
      code: 'ERR_NATIVE_MISSING',
      message: expect.stringMatching(/leave octavo out of the bundle(?!.*npm rebuild)/),
    }),
  );
});

it('an addon that speaks another language is refused, whichever package it is from', () => {
  cudaOf('1.2.3');
  // A module in place of an addon: Node.js loads it by its ending, so the ending is in the name.
  const loader = `module.exports.resolve = (root) => root + '/other.js';`;
  write('node_modules/node-gyp-build/node-gyp-build.js', loader);
  write('node_modules/node-gyp-build/index.js', loader);
  write(
    'other.js',
    'module.exports = { stepLayout: {}, pooledLayout: {}, dtypes: {}, errorCodes: [] };',
  );
  expect(() => nativeOf(root, false)).toThrow(
    expect.objectContaining({
      code: 'ERR_NATIVE_MISMATCH',
      message: expect.stringMatching(/step layout .*npm rebuild octavo/),
    }),
  );
});

it('bundled, octavo and its server say so when a model is loaded', async () => {
  write('package.json', '{"name": "shop", "type": "module"}');
  const source = `import { LLM } from '${ROOT}/dist/index.js';
import { createServer } from '${ROOT}/dist/server/index.js';
console.log(typeof createServer, await LLM.load({ device: 'cpu' }).catch(({ message }) => message));`;
  write('src.js', source);
  // Packages stay where they are.
  rmSync(join(root, 'node_modules'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  const { build } = await import('rolldown');
  const output = { file: join(root, 'dist', 'shop.js'), codeSplitting: false };
  await build({ input: join(root, 'src.js'), external: /^[^./]/, platform: 'node', output });
  const said = execFileSync(process.execPath, [output.file], { encoding: 'utf8' });
  expect(said).toMatch(/^function .*leave octavo out of the bundle/);
});

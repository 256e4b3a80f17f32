/**
 * Which addon is loaded: one that was compiled here, else the platform package with CUDA where it
 * is installed and an NVIDIA driver is there, else the prebuild for this machine.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { octavoError } from './errors.js';

/** Any of them: a driver is loaded. WSL's has a device of its own. */
const DRIVER = ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/dev/dxg'];

export interface NativeFile {
  readonly path: string;
  /** Name of the platform package that it is from; undefined: this package's own. */
  readonly from?: string;
}

/**
 * @param root the package's folder
 * @param driver whether an NVIDIA driver is there; default: looks for one
 * @throws ERR_NATIVE_MISMATCH where the platform package is another version's; whatever
 *   node-gyp-build throws where there is no addon at all
 */
export function nativeFile(
  root: string,
  driver = DRIVER.some((path) => existsSync(path)),
): NativeFile {
  const require = createRequire(join(root, 'package.json'));
  const own = require('node-gyp-build') as { resolve(root: string): string };
  if (!driver || existsSync(join(root, 'build', 'Release', 'octavo.node'))) {
    return { path: own.resolve(root) };
  }
  const name = `@octavo/cuda-${process.platform}-${process.arch}`;
  let manifest: string;
  try {
    manifest = require.resolve(`${name}/package.json`);
  } catch {
    return { path: own.resolve(root) };
  }
  const version = versionOf(join(root, 'package.json'));
  const theirs = versionOf(manifest);
  if (theirs !== version) {
    throw octavoError(
      'ERR_NATIVE_MISMATCH',
      `${name} is version ${theirs}, octavo ${version}; run "npm install ${name}@${version}"`,
    );
  }
  return { path: join(manifest, '..', 'octavo.node'), from: name };
}

const versionOf = (manifest: string): string =>
  String(JSON.parse(readFileSync(manifest, 'utf8')).version);

/** The files of deploy/kubernetes, read as kubectl reads them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { ROOT } from './addon.js';

export const DEPLOY = join(ROOT, 'deploy');
export const KUBERNETES = join(DEPLOY, 'kubernetes');

/** Whatever a manifest says. */
export type Manifest = ReturnType<typeof JSON.parse>;

/** The YAML files below a folder, as paths from deploy/kubernetes. */
export function yamlFiles(folder = KUBERNETES): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => relative(KUBERNETES, join(folder, name)))
    .sort();
}

/**
 * The documents of a text.
 * @throws what the parser has to complain about, a key that stands twice among it
 */
export function documentsOf(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => {
    const [trouble] = [...document.errors, ...document.warnings];
    if (trouble) throw trouble;
    return document.toJS();
  });
}

export function documentsIn(path: string): Manifest[] {
  return documentsOf(readFileSync(resolve(KUBERNETES, path), 'utf8'));
}

/** The one object of a kind in a file. */
export function objectIn(path: string, kind: string, name = 'octavo'): Manifest {
  const found = documentsIn(path).filter((one) => one.kind === kind && one.metadata.name === name);
  if (found.length !== 1) throw new Error(`${path} has ${found.length} of ${kind} ${name}`);
  return found[0];
}

// The test files of which OCTAVO_TEST_ALL=1 runs more: those that reach test/support/all.ts by
// their imports, one a line. The others would run a second time as they were.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const files = readdirSync('test', { recursive: true })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => join('test', file));
const importers = new Map(files.map((file) => [file, []]));
for (const file of files) {
  for (const [, path] of readFileSync(file, 'utf8').matchAll(/from '(\.{1,2}\/[^']+)\.js'/g)) {
    importers.get(`${join(dirname(file), path)}.ts`)?.push(file);
  }
}

const reached = new Set([join('test', 'support', 'all.ts')]);
for (const file of reached) for (const one of importers.get(file)) reached.add(one);
const tests = [...reached].filter((file) => file.endsWith('.test.ts')).sort();
if (tests.length === 0) throw new Error('no test reaches test/support/all.ts');
console.log(tests.join('\n'));

// npm's prepare script: compiles lib/ to dist/ with tsc, and puts the live page, its scripts and
// styles into one file there. A no-op when current.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { buildPage } from './build-page.mjs';
import { hashOf, isCurrent, ROOT, writeStamp } from './stamp.mjs';

const require = createRequire(import.meta.url);
const dist = join(ROOT, 'dist');
const hash = hashOf(['lib', 'tsconfig.json', 'scripts/build-page.mjs']);
const stamp = join(dist, '.stamp');
if (!process.argv.includes('--force') && isCurrent(stamp, hash)) process.exit(0);
if (!existsSync(join(ROOT, 'lib'))) process.exit(0); // a published package has dist only
let tsc;
try {
  tsc = join(require.resolve('typescript/package.json'), '..', 'bin', 'tsc');
} catch {
  console.error('octavo: typescript is not installed; run npm install with dev dependencies');
  process.exit(1);
}
rmSync(dist, { recursive: true, force: true });
const result = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.json'], {
  cwd: ROOT,
  stdio: 'inherit',
});
if (result.status !== 0) process.exit(result.status ?? 1);
await buildPage();
writeStamp(stamp, hash);

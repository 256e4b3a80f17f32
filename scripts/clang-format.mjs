// Checks the C++ and CUDA sources with clang-format, or formats them (--write).
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './stamp.mjs';

const files = ['native', 'test/native', 'test/reference', 'bench/native'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true })
    .filter((name) => /\.(h|cc|cu|cuh)$/.test(name))
    .map((name) => join(folder, name)),
);
const mode = process.argv.includes('--write') ? ['-i'] : ['--dry-run', '--Werror'];
const result = spawnSync('clang-format', [...mode, ...files], { cwd: ROOT, stdio: 'inherit' });
if (result.error) {
  console.error('octavo: clang-format is not installed (Debian: apt-get install clang-format)');
}
process.exit(result.status ?? 1);

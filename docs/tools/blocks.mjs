/** Checks the code of the pages by the types of the sources. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fencesOf } from './markdown.mjs';

/** First words behind a language that say where the code is from: files are checked elsewhere. */
const ELSEWHERE = ['example', 'file', 'node-llama-cpp'];

/**
 * Writes each block of JavaScript or TypeScript of the pages as a module beside them, and has the
 * compiler look at all. What blocks do not declare stands in docs/site/*.d.ts.
 * @returns what the compiler says, '' where nothing is wrong; and how many blocks there were
 */
export function checkBlocks(root, folder, names) {
  const blocks = join(folder, 'blocks');
  mkdirSync(blocks);
  let count = 0;
  for (const name of names) {
    for (const { language, rest, line, code } of fencesOf(
      readFileSync(join(folder, name), 'utf8'),
    )) {
      if (!['js', 'ts', 'mjs', 'javascript', 'typescript'].includes(language)) continue;
      if (ELSEWHERE.includes(rest)) continue;
      // Lines keep their numbers.
      const text = `${'\n'.repeat(line)}${code}\nexport {};\n`;
      writeFileSync(join(blocks, `${name.replace(/\.md$/, '')}.${line}.ts`), text);
      count++;
    }
  }
  const up = relative(blocks, root);
  const config = {
    extends: join(up, 'tsconfig.json'),
    compilerOptions: {
      ...{ noEmit: true, rootDir: up, declaration: false, sourceMap: false },
      paths: {
        octavo: [join(up, 'lib/index.ts')],
        'octavo/server': [join(up, 'lib/server/index.ts')],
      },
    },
    include: ['*.ts', join(up, 'docs/site/*.d.ts')],
  };
  writeFileSync(join(blocks, 'tsconfig.json'), JSON.stringify(config));
  writeFileSync(join(blocks, 'package.json'), '{"type": "module"}');
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const { stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', blocks, '--pretty', 'false'], {
    encoding: 'utf8',
  });
  return { said: stdout + stderr, count };
}

/**
 * npm run docs: builds the documentation into docs/html, from the sources and without a network.
 * Fails where a page takes something from the README, examples/ or a file that is not there, where
 * its code does not compile, where a link leads nowhere, where a public symbol has no docstring,
 * where a page would fetch something from elsewhere, and where it is wider than a window.
 */
import { join } from 'node:path';
import { writeSite } from './api.mjs';
import { checkBlocks } from './blocks.mjs';
import { checkLinks } from './links.mjs';
import { Pages } from './pages.mjs';
import { checkWidths } from './widths.mjs';

const root = join(import.meta.dirname, '../..');
const folder = join(root, 'docs/.pages');
const out = join(root, 'docs/html');

/** @returns sentences, one for each fault */
async function build() {
  const { pages, files } = new Pages(root, folder).write();
  const { said, count } = checkBlocks(root, folder, pages);
  if (said !== '') return said.trim().split('\n');
  const names = [...pages, ...files].map((name) => join(folder, name));
  const faults = await writeSite({ root, out, pages: names });
  if (faults.length > 0) return faults;
  console.log(
    `docs/html: ${pages.length} pages, ${files.length} files, ${count} blocks that compile`,
  );
  return [...checkLinks(out), ...(await checkWidths(out))];
}

const faults = await build().catch((error) => [error.message]);
for (const fault of faults) console.error(fault);
if (faults.length > 0) console.error(`docs: ${faults.length} faults`);
process.exitCode = faults.length > 0 ? 1 : 0;

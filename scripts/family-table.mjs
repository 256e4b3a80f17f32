// The README's table of families, out of lib/model/families/index.ts (its build). Without a flag it
// is printed; a test says when the README has another one.
//   node scripts/family-table.mjs [--write]
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const BEGIN = '<!-- families -->\n';
const END = '<!-- end of families -->';

/** Lines of Markdown, one family each. */
export function familyTable(families) {
  const code = (names) => names.map((name) => `\`${name}\``).join(', ');
  const rows = families.map(({ title, hf, gguf, inside = {} }) => {
    const outer = Object.keys(inside).filter((name) => !(name in hf));
    const within = outer.length > 0 ? `, inside ${code(outer)}` : '';
    return `| ${title} | ${code(Object.keys(hf))}${within} | ${code(Object.keys(gguf))} |\n`;
  });
  const head = '| family | `model_type` of config.json | GGUF architecture |\n|---|---|---|\n';
  return head + rows.join('');
}

/** The README with the table between its marks. */
export function withTable(readme, families) {
  const [begin, end] = [readme.indexOf(BEGIN) + BEGIN.length, readme.indexOf(END)];
  if (begin < BEGIN.length || end < begin) throw new Error('the README has no marks for families');
  return readme.slice(0, begin) + familyTable(families) + readme.slice(end);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { FAMILIES } = await import('../dist/model/families/index.js');
  const path = fileURLToPath(new URL('../README.md', import.meta.url));
  if (process.argv.includes('--write')) {
    writeFileSync(path, withTable(readFileSync(path, 'utf8'), FAMILIES));
  } else {
    process.stdout.write(familyTable(FAMILIES));
  }
}

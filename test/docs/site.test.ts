/** What builds the documentation: it takes what is there, and says what is not. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { undocumented } from '../../docs/tools/api.mjs';
import { checkBlocks } from '../../docs/tools/blocks.mjs';
import { checkLinks } from '../../docs/tools/links.mjs';
import { blocksOf, fencesOf, mapLinks, slugOf } from '../../docs/tools/markdown.mjs';
import { Pages } from '../../docs/tools/pages.mjs';
import { checkWidths } from '../../docs/tools/widths.mjs';
import { ROOT } from '../support/addon.js';
import { chromium } from '../support/chromium.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'octavo-docs-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function plant(files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

const README = `# it

Intro, [measured](#measured).

## Use

**One** \`thing\`.

\`\`\`js
a;

b;
\`\`\`

**Two** in [a file](lib/a.ts).

## Measured

10 ms, see [Use](#use).
`;

/** A repository with a page of this body. */
const pages = (body: string, more: Record<string, string> = {}) => {
  plant({
    'README.md': README,
    'lib/a.ts': 'export const a = 1;\n',
    'examples/b.mjs': 'b();\n',
    'deploy/README.md': '# Deploy\n\n[here](../lib/a.ts)\n',
    'docs/site/1-page.md': `---\ntitle: Page\n---\n${body}`,
    ...more,
  });
  return new Pages(folder, join(folder, 'docs/.pages'));
};
const written = (name: string) => readFileSync(join(folder, 'docs/.pages', name), 'utf8');

describe('pages', () => {
  it('take sections and blocks of the README, and examples', () => {
    pages('<!-- readme: Use / **One +1 -->\n\n<!-- example: b.mjs -->\n').write();
    expect(written('1-page.md')).toBe(
      '---\ntitle: Page\n---\n**One** `thing`.\n\n```js\na;\n\nb;\n```\n\n```js example\nb();\n```\n',
    );
    pages('<!-- readme: Use / **One +* -->').write();
    expect(written('1-page.md')).toContain('**Two** in [a file](lib.a.ts.md).');
  });

  it('link to the pages that have a section, and to files as pages', () => {
    const more = { 'docs/site/2-more.md': '---\ntitle: More\n---\n<!-- readme: Use -->' };
    const { files } = pages('<!-- readme: Measured -->\n[d](../../deploy/)', more).write();
    expect(written('1-page.md')).toContain(
      '10 ms, see [Use](2-more.md).\n[d](deploy.README.md.md)',
    );
    expect(files.toSorted()).toEqual(['deploy.README.md.md', 'lib.a.ts.md']);
    expect(written('lib.a.ts.md')).toContain('````ts file\nexport const a = 1;\n````');
    expect(written('deploy.README.md.md')).toContain('\n[here](lib.a.ts.md)');
  });

  it.each([
    ['<!-- readme: Nothing -->', /no section "Nothing"/],
    ['<!-- readme: Use / **Three -->', /no block .* begins "\*\*Three"/],
    ['<!-- readme: Measured -->', /no page has the README's #use/],
    ['<!-- example: c.mjs -->', /no examples\/c\.mjs/],
    ['[x](../../lib/b.ts)', /1-page\.md: no file lib\/b\.ts/],
    ['[x](2-none.md)', /no file docs\/site\/2-none\.md/],
    ['[x](../../../else)', /no file \.\.\/else/],
  ])('%s is a fault', (body, fault) => {
    expect(() => pages(body).write()).toThrow(fault);
  });

  it('of this repository find all that they name', () => {
    const { pages: names } = new Pages(ROOT, folder).write();
    expect(names.length).toBeGreaterThan(15);
  });
});

describe('Markdown', () => {
  it('slugs are those of GitHub', () => {
    expect(slugOf('On a `GPU`, today')).toBe('on-a-gpu-today');
  });

  it('a fence is one block, and has its line', () => {
    expect(blocksOf('a\nb\n\n```ts x\n\n# c\n```\n\nd')).toHaveLength(3);
    expect(fencesOf('a\n```ts x\nc\n```')).toMatchObject([
      { language: 'ts', rest: 'x', line: 2, code: 'c' },
    ]);
    expect(() => fencesOf('```\nc')).toThrow(/line 1 does not end/);
  });

  it('links in code stay', () => {
    const up = (target: string, isImage: boolean) => (isImage ? 'image' : target.toUpperCase());
    const text = '[`a`](b) `[c](d)` ![e](f) [g](h)\n```\n[i](j)\n```\n';
    expect(mapLinks(text, up)).toBe('[`a`](B) `[c](d)` ![e](image) [g](H)\n```\n[i](j)\n```\n');
  });
});

it('code of pages has to compile, in the line where it stands', () => {
  const at = mkdtempSync(join(ROOT, 'docs/.pages-test-'));
  try {
    const good = "```ts\nawait llm.generate('a', { maxTokens: 1 });\n```\n";
    const bad = "\n\n```ts\nawait llm.generate('a', { maxToken: 1 });\n```\n";
    const other = '```ts example\nnothing(;\n```\n```sh\nls\n```\n';
    writeFileSync(join(at, 'one.md'), good + bad + other);
    const { said, count } = checkBlocks(ROOT, at, ['one.md']);
    expect(count).toBe(2);
    expect(said).toMatch(/one\.6\.ts\(7,\d+\): error TS[\s\S]*'maxToken'/);
    expect(said.match(/: error TS/g)).toHaveLength(1);
  } finally {
    rmSync(at, { recursive: true });
  }
});

it('the finished site has no link that leads nowhere, and fetches nothing', () => {
  plant({
    'index.html':
      '<a href="sub/b.html#here">b</a> <a href="https://example.com/">out</a> <img src="i.svg">' +
      '<a href="#top">t</a><p id="top">&lt;a href="no.html"&gt;</p>',
    'sub/b.html': '<h1 id="here">b</h1><a href="../index.html">a</a>',
    'i.svg': '<svg/>',
    'main.css': '.a { background: url(i.svg) }',
  });
  expect(checkLinks(folder)).toEqual([]);
  plant({
    'c.html':
      '<a href="none.html">x</a><a href="sub/b.html#gone">y</a><script src="//cdn.example/x.js"></script>' +
      '<link href="https://fonts.example/f.css"/><img src="i.png">',
    'main.css': '.a { background: url("https://example.com/i.png") }',
  });
  expect(checkLinks(folder).toSorted()).toEqual([
    'c.html fetches //cdn.example/x.js (script src)',
    'c.html fetches https://fonts.example/f.css (link href)',
    'c.html links to i.png, which is not there',
    'c.html links to none.html, which is not there',
    'c.html links to sub/b.html#gone, and there is no such place',
    'main.css fetches https:…',
  ]);
});

it.skipIf(chromium() === undefined)('a page that is wider than a window is named', async () => {
  const table = '<table><tr><td style="min-width: 800px">wide</td></tr></table>';
  const page = (css: string, body: string) =>
    `<!doctype html><style>${css}</style><div class="tsd-typography">${body}</div>`;
  const css = readFileSync(join(ROOT, 'docs/tools/site.css'), 'utf8');
  plant({
    'bare.html': page('', table),
    'boxed.html': page(css, `${table}<pre>${'a long line '.repeat(99)}</pre>`),
    'sub/text.html': page('', '<p>some words that break'),
  });
  expect(await checkWidths(folder)).toEqual([
    expect.stringMatching(/^bare\.html is wider than 360: 8\d\d \(table "wide"/),
    expect.stringMatching(/^bare\.html is wider than 768: 8\d\d /),
  ]);
});

const hasTypedoc = existsSync(join(ROOT, 'docs/node_modules/typedoc'));
if (!hasTypedoc) console.log('skipped: docstrings need TypeDoc (npm ci --prefix docs)');

it.runIf(hasTypedoc)('a public symbol without a docstring is named', async () => {
  plant({
    'tsconfig.json': '{"compilerOptions": {"types": []}, "files": ["a.ts"]}',
    'package.json': '{"name": "a"}',
    'a.ts': `/** Said. */
export interface A {
  /** Said. */
  b: number;
  c: number;
  d: {
    /** Of d. */
    e: number
  } | { f: number }
}
export function g(): void {}
/** Said. */
export class H {
  /** Said. */
  i(): void {}
  get j(): number { return 1; }
  #k = 1;
  private l = 2;
}
`,
  });
  const typedoc = await import(join(ROOT, 'docs/node_modules/typedoc/dist/index.js'));
  const app = await typedoc.Application.bootstrap({
    entryPoints: [join(folder, 'a.ts')],
    tsconfig: join(folder, 'tsconfig.json'),
    excludePrivate: true,
    logLevel: 'Error',
  });
  const faults = undocumented(await app.convert(), typedoc);
  expect(faults.map((fault: string) => fault.split(' ')[0]).toSorted()).toEqual([
    'A.c',
    'A.d',
    'H.j',
    'g',
  ]);
});

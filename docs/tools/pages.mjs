/**
 * The pages of the site, out of docs/site: what the README says is taken from there, examples and
 * sources from their files, so that nothing is said twice. A line of a page may be
 *   <!-- readme: Section -->             all of a section of the README
 *   <!-- readme: Section / **Begin +2 -->  its block that begins so, and the two behind it; +* all
 *   <!-- example: rag.mjs -->            a file of examples/
 * and a link to a file of the repository leads to a page that shows it.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { mapLinks, sectionsOf, slugOf } from './markdown.mjs';

const DIRECTIVE = /^<!-- (readme|example): (.+?) -->$/gm;
const LANGUAGES = {
  ...{ ts: 'ts', mjs: 'js', js: 'js', cjs: 'js', json: 'json', yaml: 'yaml', sh: 'sh', mts: 'ts' },
  ...{ cc: 'cpp', h: 'cpp', cu: 'cpp', cuh: 'cpp', txt: 'text' },
};

/** @returns pages of docs/site by their names, without front matter, in the order of their names */
function readPages(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith('.md'));
  return new Map(
    names.sort().map((name) => {
      const text = readFileSync(join(folder, name), 'utf8');
      const [, front, body] = /^---\n([\s\S]*?)\n---\n([\s\S]*)$/.exec(text) ?? [];
      if (front === undefined) throw new Error(`docs/site/${name} has no front matter`);
      return [name, { front, body }];
    }),
  );
}

function splitPlace(what) {
  const at = what.indexOf(' / ');
  if (at < 0) return { section: what };
  const [, start, more] = /^(.*?)(?: \+(\d+|\*))?$/.exec(what.slice(at + 3));
  return {
    section: what.slice(0, at),
    start,
    count: more === '*' ? Infinity : 1 + Number(more ?? 0),
  };
}

export class Pages {
  #root;
  #out;
  #pages;
  #readme;
  /** Slugs of the README's sections → the page that has them. */
  #homes = new Map();
  /** Files of the repository that are linked → their pages. */
  #files = new Map();

  /** @param out a folder in the repository, made anew */
  constructor(root, out) {
    this.#root = root;
    this.#out = out;
    this.#pages = readPages(join(root, 'docs/site'));
    this.#readme = sectionsOf(readFileSync(join(root, 'README.md'), 'utf8'));
    for (const [name, { body }] of this.#pages) {
      for (const [, kind, what] of body.matchAll(DIRECTIVE)) {
        if (kind !== 'readme') continue;
        const { section, start } = splitPlace(what);
        const slug = slugOf(section);
        if (start === undefined || !this.#homes.has(slug)) this.#homes.set(slug, name);
      }
    }
  }

  /** Writes all; gives the names of the pages, and of those that show files. */
  write() {
    rmSync(this.#out, { recursive: true, force: true });
    mkdirSync(this.#out, { recursive: true });
    for (const [name, { front, body }] of this.#pages) {
      const at = `docs/site/${name}`;
      const text = body.replace(DIRECTIVE, (_line, kind, what) =>
        kind === 'readme' ? this.#ofReadme(what, at) : this.#example(what, at),
      );
      const linked = mapLinks(text, (target) => this.#link(target, 'docs/site', at));
      writeFileSync(join(this.#out, name), `---\n${front}\n---\n${linked}`);
    }
    // Pages of Markdown files may link to others: the map grows while it is gone over.
    for (const [file, page] of this.#files) this.#writeFile(file, page);
    return { pages: [...this.#pages.keys()], files: [...this.#files.values()] };
  }

  #ofReadme(what, at) {
    const { section, start, count } = splitPlace(what);
    const blocks = this.#readme.get(section);
    if (blocks === undefined) throw new Error(`${at}: the README has no section "${section}"`);
    let chosen = blocks;
    if (start !== undefined) {
      const first = blocks.findIndex((block) => block.startsWith(start));
      if (first < 0) {
        throw new Error(`${at}: no block of the README's section "${section}" begins "${start}"`);
      }
      chosen = blocks.slice(first, first + count);
    }
    return mapLinks(chosen.join('\n\n'), (target) => this.#ofSection(target, at));
  }

  /** Links of the README are relative to the root; what it says of itself is on a page. */
  #ofSection(target, at) {
    if (/^https?:/.test(target)) return target;
    if (!target.startsWith('#')) return relative('docs/site', target);
    const home = this.#homes.get(target.slice(1));
    if (home === undefined) throw new Error(`${at}: no page has the README's ${target}`);
    return `${home}`;
  }

  #example(name, at) {
    const path = join(this.#root, 'examples', name);
    if (!existsSync(path)) throw new Error(`${at}: there is no examples/${name}`);
    const language = LANGUAGES[name.split('.').at(-1)];
    return `\`\`\`${language} example\n${readFileSync(path, 'utf8').trimEnd()}\n\`\`\``;
  }

  /** @param from the folder that a link is relative to */
  #link(target, from, at) {
    if (/^(https?:|#)/.test(target)) return target;
    const [file, anchor] = target.split('#');
    const path = join(from, file).replace(/\/$/, '');
    if (dirname(path) === 'docs/site' && this.#pages.has(file)) return target;
    const whole = join(this.#root, path);
    if (path.startsWith('..') || !existsSync(whole)) throw new Error(`${at}: no file ${path}`);
    if (existsSync(join(whole, 'README.md'))) return this.#link(`${file}/README.md`, from, at);
    if (/\.(svg|png)$/.test(path)) return relative(this.#out, whole);
    if (!this.#files.has(path)) this.#files.set(path, `${path.replaceAll('/', '.')}.md`);
    return this.#files.get(path) + (anchor ? `#${anchor}` : '');
  }

  #writeFile(file, page) {
    const front = `---\ntitle: ${file}\ncategory: Files\n---\n`;
    writeFileSync(join(this.#out, page), front + this.#shown(file));
  }

  /** A file of Markdown as it reads, a folder as its list, anything else as code. */
  #shown(file) {
    const whole = join(this.#root, file);
    const linked = (text, from) => mapLinks(text, (target) => this.#link(target, from, file));
    if (statSync(whole).isDirectory()) {
      const names = readdirSync(whole).sort();
      return linked(names.map((name) => `- [\`${name}\`](${name})\n`).join(''), file);
    }
    const text = readFileSync(whole, 'utf8');
    const suffix = file.split('.').at(-1);
    if (suffix === 'md') return linked(text.replace(/^# .*\n/, ''), dirname(file));
    return `\`\`\`\`${LANGUAGES[suffix] ?? 'text'} file\n${text.trimEnd()}\n\`\`\`\``;
  }
}

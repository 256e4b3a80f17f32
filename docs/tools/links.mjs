/** Looks at the finished site: every link leads somewhere, and nothing comes from elsewhere. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const decoded = (text) =>
  decodeURIComponent(text.replaceAll('&amp;', '&').replaceAll('&#39;', "'"));

/** @returns sentences, one for each fault */
export function checkLinks(folder) {
  const files = new Set(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(folder, join(entry.parentPath, entry.name))),
  );
  const texts = new Map(
    [...files]
      .filter((file) => /\.(html|css|js)$/.test(file))
      .map((file) => [file, readFileSync(join(folder, file), 'utf8')]),
  );
  const anchors = new Map();
  const anchorsOf = (file) => {
    if (!anchors.has(file)) {
      const ids = [...texts.get(file).matchAll(/\s(?:id|name)="([^"]*)"/g)];
      anchors.set(file, new Set(ids.map(([, id]) => decoded(id))));
    }
    return anchors.get(file);
  };
  const faults = new Set();
  for (const [file, text] of texts) {
    if (file.endsWith('.css')) {
      for (const [, url] of text.matchAll(/url\(\s*["']?(https?:|\/\/)[^)]*\)/g)) {
        faults.add(`${file} fetches ${url}…`);
      }
      if (/@import/.test(text)) faults.add(`${file} imports another`);
    }
    if (!file.endsWith('.html')) continue;
    for (const [, tag, attributes] of text.matchAll(/<(\w+)((?:\s[^<>]*?)?)\/?>/g)) {
      for (const [, name, raw] of attributes.matchAll(/\s(href|src|srcset|action)="([^"]*)"/g)) {
        const fault = faultOf(file, { tag, name, target: decoded(raw) });
        if (fault) faults.add(fault);
      }
    }
  }
  return [...faults];

  function faultOf(file, { tag, name, target }) {
    if (/^(https?:)?\/\//.test(target)) {
      // A reader may leave; the page itself fetches nothing.
      return tag === 'a' ? null : `${file} fetches ${target} (${tag} ${name})`;
    }
    if (/^(data|mailto|javascript):/.test(target)) return null;
    const [path, anchor] = target.split('#');
    const to = path === '' ? file : join(dirname(file), path.split('?')[0]);
    if (!files.has(to)) return `${file} links to ${to}, which is not there`;
    if (anchor && to.endsWith('.html') && !anchorsOf(to).has(anchor)) {
      return `${file} links to ${to}#${anchor}, and there is no such place`;
    }
    return null;
  }
}

// Puts the live page into one file, dist/dashboard.html. Nothing of it comes from elsewhere: it
// works without a network, under a strict policy.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ROOT } from './stamp.mjs';

/** Packages of which parts are in it. */
const INLINED = ['uplot', 'eventsource-parser'];

/** A comment, as their licences ask for. */
function licences() {
  const texts = INLINED.map((name) => {
    const text = readFileSync(join(ROOT, 'node_modules', name, 'LICENSE'), 'utf8').trim();
    return `${name}\n\n${text}`;
  });
  return `<!--\nThis page holds parts of these packages.\n\n${texts.join('\n\n')}\n-->`;
}

export async function buildPage() {
  const { build } = await import('rolldown');
  const folder = join(ROOT, 'lib', 'server', 'dashboard');
  const { output } = await build({
    input: join(folder, 'main.ts'),
    platform: 'browser',
    logLevel: 'warn',
    resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
    output: { format: 'iife', minify: true, comments: { legal: true } },
    write: false,
  });
  const [{ code }] = output;
  const styles = [
    readFileSync(createRequire(import.meta.url).resolve('uplot/dist/uPlot.min.css'), 'utf8'),
    readFileSync(join(folder, 'style.css'), 'utf8'),
  ].join('\n');
  for (const [text, end] of [
    [code, '</script'],
    [styles, '</style'],
  ]) {
    if (text.includes(end)) throw new Error(`the live page holds ${end} in its code`);
  }
  const page = readFileSync(join(folder, 'index.html'), 'utf8')
    .replace('<head>', () => `<head>\n${licences()}`)
    .replace('<style></style>', () => `<style>${styles}</style>`)
    .replace('<script></script>', () => `<script>${code}</script>`);
  mkdirSync(join(ROOT, 'dist'), { recursive: true });
  writeFileSync(join(ROOT, 'dist', 'dashboard.html'), page);
}

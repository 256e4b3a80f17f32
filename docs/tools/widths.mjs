/** Looks at the finished site in a browser: no page is wider than its window, as on a phone. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { findChromium } from '../../scripts/find-program.mjs';

const WIDTHS = [360, 768, 1280];

/** What of a page is too wide: the first elements that reach over the window's edge. */
function tooWide() {
  const { scrollWidth } = document.documentElement;
  if (scrollWidth <= innerWidth) return null;
  const names = [...document.body.querySelectorAll('*')]
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 3)
    .map((one) => `${one.tagName.toLowerCase()} "${one.textContent.trim().slice(0, 30)}"`);
  return `${scrollWidth} (${names.join(', ')})`;
}

/** @returns sentences, one for each fault; a line on stdout where there is no browser */
export async function checkWidths(folder) {
  const executablePath = findChromium();
  if (executablePath === undefined) {
    console.log('skipped, the width of pages: there is no chromium (apt-get install chromium)');
    return [];
  }
  const { chromium } = await import('playwright-core');
  const args = ['--no-sandbox', '--disable-dev-shm-usage'];
  const browser = await chromium.launch({ executablePath, args, timeout: 120_000 });
  const faults = [];
  try {
    const page = await browser.newPage();
    const files = readdirSync(folder, { recursive: true }).filter((file) => file.endsWith('.html'));
    for (const file of files.sort()) {
      await page.goto(pathToFileURL(join(folder, file)).href);
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 900 });
        const wide = await page.evaluate(tooWide);
        if (wide !== null) faults.push(`${file} is wider than ${width}: ${wide}`);
      }
    }
  } finally {
    await browser.close();
  }
  return faults;
}

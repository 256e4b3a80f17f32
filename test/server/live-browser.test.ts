/** The live page in a browser, against a server of the demo model. Screenshots: build/dashboard. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, type Page, chromium as playwright } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/addon.js';
import { chromium } from '../support/chromium.js';
import { until } from '../support/until.js';
import { serveDemo, type TestServer } from './support.js';

const program = chromium();
const KEY = 'a key';
const SHOTS = join(ROOT, 'build', 'dashboard');

describe.skipIf(program === undefined)('the live page', () => {
  let server: TestServer;
  let browser: Browser;
  let page: Page;
  const faults: string[] = [];
  const strangers: string[] = [];

  const open = async (width: number, scheme: 'light' | 'dark') => {
    const made = await browser.newPage({
      viewport: { width, height: 900 },
      colorScheme: scheme,
      reducedMotion: 'reduce',
    });
    made.setDefaultTimeout(120_000);
    made.on('console', (line) => {
      // A browser tells of answers like 401 by itself.
      const isAnswer = /the server responded with a status of \d+ /.test(line.text());
      if (['error', 'warning'].includes(line.type()) && !isAnswer) {
        faults.push(line.text());
      }
    });
    made.on('pageerror', (error) => faults.push(String(error)));
    made.on('request', (request) => {
      if (!request.url().startsWith(server.url) && !request.url().startsWith('data:')) {
        strangers.push(request.url());
      }
    });
    return made;
  };
  const text = async (selector: string) => (await page.locator(selector).textContent()) ?? '';
  const ask = (body: object, signal?: AbortSignal) =>
    fetch(`${server.url}/v1/completions`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
      signal,
    });

  beforeAll(async () => {
    mkdirSync(SHOTS, { recursive: true });
    // Room for some of what is asked for below, not for all of it at once.
    server = await serveDemo(
      { enableDashboard: true, apiKey: KEY },
      { numGpuBlocksOverride: 60, blockSize: 8, maxModelLen: 256, preemptionPolicy: 'recompute' },
    );
    const args = ['--no-sandbox', '--disable-dev-shm-usage'];
    browser = await playwright.launch({ executablePath: program, args, timeout: 120_000 });
    page = await open(1440, 'light');
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  it('asks for the key, and says that one is wrong', async () => {
    await page.goto(`${server.url}/dashboard`);
    const form = page.locator('#key-form');
    await form.waitFor({ state: 'visible' });
    expect(await page.locator('main').isVisible()).toBe(false);
    for (const id of ['#model', '#pause']) expect(await page.locator(id).isVisible()).toBe(false);
    expect(await text('#key-problem')).toBe('');
    // By the keyboard alone.
    await page.keyboard.type('no key');
    await page.keyboard.press('Enter');
    await page.getByText('the API key is missing or wrong').waitFor();
    await page.locator('#key').fill(KEY);
    await page.keyboard.press('Enter');
    await page.locator('#status[data-state="live"]').waitFor();
    await page.locator('main').waitFor({ state: 'visible' });
    expect(await form.isVisible()).toBe(false);
    await page.locator('#main:focus').waitFor();
    expect(await page.locator('#model').isVisible()).toBe(true);
    // A tab keeps it.
    await page.reload();
    await page.locator('#status[data-state="live"]').waitFor();
  });

  it('shows blocks that samples share, their forks, and preemptions', async () => {
    const long = (prompt: string, more: object) =>
      ask({ prompt, max_tokens: 150, ignore_eos: true, seed: 3, ...more });
    const branching = { n: 3, max_tokens: 90 };
    const answers = [
      long('Call me Ishmael. Some years ago, never mind how long precisely', branching),
      long('The sea was calm and the whale', {}),
      long('It was the best of times', {}),
      long('There was nothing to be seen', {}),
    ];
    let mostShared = 0;
    let mostUsed = 0;
    const whole = Promise.all(answers).then((all) => all.map(({ status }) => status));
    let statuses: number[] | undefined;
    void whole.then((all) => {
      statuses = all;
    });
    while (statuses === undefined) {
      mostShared = Math.max(mostShared, Number(await text('#legend [data-kind="shared3"] b')));
      mostUsed = Math.max(mostUsed, Number(await text('#legend [data-kind="used"] b')));
    }
    expect(statuses).toEqual([200, 200, 200, 200]);
    expect(mostUsed).toBeGreaterThan(0);
    expect(mostShared).toBeGreaterThan(0);
    await page.locator('#timeline button[data-reason="length"]').nth(3).waitFor();
    const forked = page.locator('#timeline button[data-forks="2"]');
    expect(await forked.count()).toBe(1);
    expect(await forked.getAttribute('data-lanes')).toBe('3');
    expect(await forked.getAttribute('aria-label')).toMatch(/3 samples, 2 forks, .*ended: length/);
    expect(await forked.locator('line.fork').count()).toBe(2);
    expect(server.llm.stats().numPreemptions).toBeGreaterThan(0);
    expect(await page.locator('#timeline rect.preempted').count()).toBeGreaterThan(0);
    expect(await page.locator('#timeline rect.prefill').count()).toBeGreaterThan(3);
    expect(Number(await text('#preemption dd >> nth=0'))).toBe(server.llm.stats().numPreemptions);
    // All that was free is free again, and what is full can be hit.
    const cells = await page.locator('#pool').getAttribute('aria-label');
    expect(cells).toMatch(/^59 blocks: \d+ free, [1-9]\d* cached, free, 0 used/);
  });

  it('tells how long things took', async () => {
    for (const name of ['ttft', 'itl', 'queue', 'step']) {
      const figure = page.locator(`#histogram-${name}`);
      expect(Number(await figure.getAttribute('data-total')), name).toBeGreaterThan(3);
      const label = await figure.locator('svg').getAttribute('aria-label');
      expect(label).toMatch(/p50 [\d.]+ m?s, p95 [\d.]+ m?s, p99 [\d.]+ m?s$/);
      expect(await figure.locator('rect.bar').count()).toBeGreaterThan(0);
    }
    expect(await page.locator('#rate canvas').count()).toBe(1);
    expect(await page.locator('#steps canvas').count()).toBe(1);
  });

  it('tells what the prefix cache has most of, and how long grammars take', async () => {
    const choice = { structured_outputs: { choice: ['the sea', 'the whale'] } };
    await (await ask({ prompt: 'Where?', max_tokens: 8, ...choice })).json();
    const item = page.locator('#prefixes li').first();
    await item.waitFor();
    expect(await item.textContent()).toMatch(
      /.+ [1-9]\d* blocks?, \d+ tokens in common, (not in use|used)/,
    );
    const row = (name: string) => page.locator('#grammar div', { hasText: name }).locator('dd');
    await row('compile time')
      .filter({ hasText: /^p50 .* m?s, p99 .* m?s$/ })
      .waitFor();
    await row('time of a mask')
      .filter({ hasText: /^p50 .* µs, p99 .* µs$/ })
      .waitFor();
  });

  it('draws the tree of a beam search', async () => {
    const response = await ask({
      ...{ prompt: 'Call me Ishmael.', use_beam_search: true, n: 4, max_tokens: 12 },
      temperature: 0,
    });
    const { choices } = (await response.json()) as { choices: { text: string }[] };
    await page.locator('#beams[data-finished="4"]').waitFor();
    expect(Number(await page.locator('#beams').getAttribute('data-nodes'))).toBeGreaterThan(24);
    const shown = await page.locator('#hypotheses q').allTextContents();
    expect(shown[0].trim()).toBe(choices[0].text.trim());
    expect(await page.locator('#beams text.finished').count()).toBeGreaterThan(3);
    expect(await page.locator('#beams text.dropped').count()).toBeGreaterThan(0);
  });

  it('shows first what runs, and the tree of a search that has begun', async () => {
    const left = new AbortController();
    const shown = await text('#beams-note');
    const many = Array.from({ length: 40 }, (_, i) =>
      ask({ prompt: `Number ${i}`, max_tokens: 150, ignore_eos: true }, left.signal),
    );
    const last = { use_beam_search: true, n: 4, max_tokens: 12, temperature: 0 };
    many.push(ask({ prompt: 'It waits', ...last }, left.signal));
    for (const one of many) one.catch(() => {});
    await until(() => server.llm.stats().numRequestsRunning > 0);
    const rows = page.locator('#timeline button');
    await page.locator('#timeline-note', { hasText: /more are not shown/ }).waitFor();
    const first = await rows.first().getAttribute('aria-label');
    expect(first).toMatch(/, (prefill|decode|preempted)$/);
    expect(await text('#beams-note')).toBe(shown);
    left.abort();
    await until(() => server.llm.stats().numRequestsWaiting === 0);
  });

  it('goes from block to block and from request to request by the keyboard', async () => {
    const running = ask({ prompt: 'On and on', max_tokens: 200, ignore_eos: true });
    await page.locator('#pool').focus();
    await page.keyboard.press('ArrowRight');
    await page.getByText(/^Block 1: /).waitFor();
    await page.keyboard.press('ArrowRight');
    await page.getByText(/^Block 2: /).waitFor();
    const first = page.locator('#timeline button[tabindex="0"]');
    expect(await first.count()).toBe(1);
    await first.focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.locator('#timeline button[aria-pressed="true"]:focus').waitFor();
    await page.locator('#span dt', { hasText: 'First token' }).waitFor();
    await running;
  });

  it('streams an answer with its probabilities, and says what is refused', async () => {
    await page.locator('summary').click();
    await page.locator('#schema').fill('{"type":');
    await page.locator('#send').click();
    await page.locator('#play-status', { hasText: 'The schema is no JSON' }).waitFor();
    await page.locator('#schema').fill('');
    await page.locator('summary').click();
    await page.locator('#prompt').fill('The whale');
    await page.locator('#route').selectOption('completions');
    await page.locator('#max-tokens').fill('16');
    await page.locator('#samples').fill('2');
    await page.locator('#send').click();
    await page.locator('.answer[data-reason]').nth(1).waitFor();
    expect(await page.locator('.answer').first().locator('.token').count()).toBeGreaterThan(4);
    await page.locator('.answer .token').first().focus();
    await page.keyboard.press('ArrowRight');
    expect(await text('#token')).toMatch(/^".*" [\d.]+ %; likeliest: "/);
    await page.locator('#route').selectOption('chat');
    for (const id of ['#samples', '#temperature', '#max-tokens']) await page.locator(id).fill('');
    const asking = page.waitForRequest((request) => request.url().includes('/chat/completions'));
    await page.locator('#send').click();
    const sent = (await asking).postDataJSON();
    for (const name of ['n', 'temperature', 'max_tokens']) expect(sent).not.toHaveProperty(name);
    await page.locator('#stop').click();
    await page.locator('#play-status', { hasText: /^(stopped|stop|length)/ }).waitFor();
    await page.locator('.answer .token').first().waitFor();
  });

  it('says that a server is silent, and shows nothing for now', async () => {
    const silent = await open(1440, 'light');
    // Not the server itself, which this process is: its stream, cut off as a stopped process is.
    await silent.addInitScript(`
      const { fetch } = window;
      window.fetch = async (...all) => {
        const answer = await fetch(...all);
        if (!String(all[0]).includes('/dashboard/events')) return answer;
        const reader = answer.body.getReader();
        const pull = async (controller) => {
          if (document.title === 'silent') return new Promise(() => {});
          const { done, value } = await reader.read();
          if (done) controller.close();
          else controller.enqueue(value);
        };
        return new Response(new ReadableStream({ pull }), answer);
      };
    `);
    await silent.goto(`${server.url}/dashboard`);
    await silent.locator('#key').fill(KEY);
    await silent.keyboard.press('Enter');
    await silent.locator('#status[data-state="live"]').waitFor();
    const tile = silent.locator('#tiles dd').nth(2);
    await tile.filter({ hasText: '0' }).waitFor();
    await silent.evaluate("document.title = 'silent'");
    await silent.getByText('the server does not answer', { exact: true }).waitFor();
    expect(await silent.locator('#tiles dd').allTextContents()).toEqual(Array(8).fill('–'));
    await silent.evaluate("document.title = 'octavo'");
    // It is asked anew.
    await silent.locator('#status[data-state="live"]').waitFor();
    await tile.filter({ hasText: /\d/ }).waitFor();
    await silent.close();
  });

  it.each([390, 820, 1440])('fits %i pixels, light and dark', async (width) => {
    for (const scheme of ['light', 'dark'] as const) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme: scheme });
      // Charts and canvases are drawn anew with the next frame.
      await (await ask({ prompt: 'Once more', max_tokens: 4 })).json();
      await page.evaluate('new Promise((resolve) => requestAnimationFrame(resolve))');
      const root = 'document.documentElement';
      const widths = `[${root}.scrollWidth, ${root}.clientWidth]`;
      const [scrollWidth, clientWidth] = await page.evaluate<number[]>(widths);
      expect(scrollWidth).toBeLessThanOrEqual(clientWidth);
      await page.screenshot({ path: join(SHOTS, `${width}-${scheme}.png`), fullPage: true });
    }
  });

  it('is told when the server ends, and keeps it from nothing', async () => {
    await server.handler.drain();
    await page.locator('#status[data-state="gone"]').waitFor();
    await until(() => server.llm.stats().numRequestsRunning === 0);
  });

  it('has no fault on its console, and asked nobody but its server', () => {
    expect(faults).toEqual([]);
    expect(strangers).toEqual([]);
  });
});

import { execFileSync } from 'node:child_process';
import {
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { TraceEvent } from '../../lib/core/trace.js';
import { openTrace, readTrace } from '../../lib/engine/trace-file.js';
import { LLM } from '../../lib/index.js';

const folder = mkdtempSync(join(tmpdir(), 'octavo-trace-'));
afterAll(() => rmSync(folder, { recursive: true }));

let warnings: string[] = [];
beforeEach(() => {
  warnings = [];
  vi.spyOn(process, 'emitWarning').mockImplementation((warning) => {
    warnings.push(String(warning));
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

let numPipes = 0;
function makePipe(): string {
  const path = join(folder, `pipe-${numPipes++}`);
  execFileSync('mkfifo', [path]);
  return path;
}

const openReader = (path: string) => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);

/** About a kilobyte. */
const event: TraceEvent = { type: 'abort', id: 'x'.repeat(1000), reason: 'abort' };

it('writes lines in order and reads them back', async () => {
  const path = join(folder, 'a.jsonl');
  const { sink, close } = await openTrace(path);
  for (let i = 0; i < 100; i++) sink({ type: 'abort', id: `${i}`, reason: 'abort' });
  await Promise.all([close(), close()]);
  sink(event); // too late: no harm
  const events = await readTrace(path);
  expect(events.map((e) => (e as { id: string }).id)).toEqual(
    Array.from({ length: 100 }, (_, i) => `${i}`),
  );
  expect(warnings).toEqual([]);
});

it('refuses a pipe that nobody reads, a folder, and a place that is not there', async () => {
  const code = 'ERR_FILE';
  await expect(openTrace(makePipe())).rejects.toMatchObject({
    code,
    message: expect.stringMatching(/nobody reads it/),
  });
  await expect(openTrace(folder)).rejects.toMatchObject({ code });
  await expect(openTrace(join(folder, 'none', 'a'))).rejects.toMatchObject({ code });
  await expect(LLM.load({ traceFile: makePipe() })).rejects.toMatchObject({ code });
});

it('goes into a pipe, whose reader gets every line', async () => {
  const path = makePipe();
  const reader = openReader(path);
  const { sink, close } = await openTrace(path);
  for (let i = 0; i < 20; i++) sink(event);
  await close();
  const buffer = Buffer.alloc(2 ** 17);
  const lines = buffer.subarray(0, readSync(reader, buffer)).toString().trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).id)).toEqual(Array(20).fill('x'.repeat(1000)));
  expect(warnings).toEqual([]);
});

it('ends where a pipe is not read on, and close() does not wait for ever', async () => {
  const path = makePipe();
  openReader(path);
  const stalled = await openTrace(path);
  for (let i = 0; i < 500; i++) stalled.sink(event);
  await stalled.close();
  expect(warnings).toEqual([expect.stringMatching(/ends here: its reader does not read on/)]);
});

it('ends where the reader falls too far behind', async () => {
  const path = makePipe();
  openReader(path);
  const { sink, close } = await openTrace(path);
  const large: TraceEvent = { type: 'abort', id: 'x'.repeat(2 ** 22), reason: 'abort' };
  for (let i = 0; i < 20; i++) sink(large);
  expect(warnings).toEqual([expect.stringMatching(/written faster than read/)]);
  await close();
});

it('ends where there is no room on the disk', async () => {
  const { sink, close } = await openTrace('/dev/full');
  for (let i = 0; i < 10; i++) sink(event);
  await close();
  expect(warnings).toEqual([expect.stringMatching(/ends here: ENOSPC/)]);
});

it('names the line that is damaged, and takes a last one that is cut off', async () => {
  const path = join(folder, 'b.jsonl');
  const { sink, close } = await openTrace(path);
  sink(event);
  sink(event);
  await close();
  const content = readFileSync(path, 'utf8');
  writeFileSync(path, content.slice(0, -9));
  expect(await readTrace(path)).toHaveLength(1);
  writeFileSync(path, content.replace('{', '['));
  await expect(readTrace(path)).rejects.toMatchObject({ code: 'ERR_FILE', param: 'line 1' });
});

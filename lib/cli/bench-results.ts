/** Where the results of a bench go: what cannot be written there is told before the run. */
import { randomUUID } from 'node:crypto';
import { appendFile, mkdir, open, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { octavoError } from '../errors.js';
import { loadEcharts } from '../loadgen/plot.js';
import type { BenchFlags } from './bench-flags.js';

export function isSaved({ saveResult, saveDetailed, appendResult }: BenchFlags): boolean {
  return Boolean(saveResult || saveDetailed || appendResult);
}

/**
 * Makes the folder; leaves no file behind that was not there.
 * @throws ERR_FILE, or ERR_INVALID_PARAM where a plot cannot be drawn
 */
export async function checkResults(flags: BenchFlags): Promise<void> {
  const { resultDir, resultFilename, label = '', plot } = flags;
  if (isSaved(flags)) {
    await orSay(resultDir, () => mkdir(resultDir, { recursive: true }));
    // The name is only known when the run is over; it begins with the label.
    await checkWritable(join(resultDir, resultFilename ?? `${label}.octavo-${randomUUID()}`));
  }
  if (plot === undefined) return;
  await loadEcharts();
  await checkWritable(plot);
}

/** @throws ERR_FILE */
export async function writeOrSay(path: string, text: string, isAppended = false): Promise<void> {
  await orSay(path, () => (isAppended ? appendFile : writeFile)(path, text));
}

async function checkWritable(path: string): Promise<void> {
  await orSay(path, async () => {
    const there = await stat(path).catch(() => null);
    // A pipe's reader would take an end for the end.
    if (there && !there.isFile() && !there.isDirectory()) return;
    await (await open(path, 'a')).close();
    if (!there) await unlink(path);
  });
}

async function orSay(path: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    const message = `cannot write ${path}: ${(cause as Error).message}`;
    throw octavoError('ERR_FILE', message, { param: path, cause });
  }
}

/**
 * One process downloads a model while others wait for it. The lock saves traffic, no more: whoever
 * passes it by (Python does, and a process on another machine that thinks the holder dead) writes
 * the same bytes to the same places, and what is finished takes its name in one step.
 */
import { mkdir, open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const BEAT_MS = 5000;
/** A holder that gave no sign for so long is gone. */
const STALE_MS = 60_000;
const POLL_MS = 200;

/**
 * Waits until the lock is ours.
 * @param onWait is told once that another process has it
 * @returns gives it back
 */
export async function lock(
  path: string,
  signal: AbortSignal,
  onWait: () => void,
): Promise<() => Promise<void>> {
  await mkdir(dirname(path), { recursive: true });
  const owner = JSON.stringify({ pid: process.pid, host: hostname() });
  for (let told = false; !(await create(path, owner)); ) {
    if (await isStale(path)) {
      await rm(path, { force: true });
      continue;
    }
    if (!told) onWait();
    told = true;
    await delay(POLL_MS, undefined, { signal });
  }
  const beat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, BEAT_MS);
  beat.unref();
  return async () => {
    clearInterval(beat);
    await rm(path, { force: true });
  };
}

async function create(path: string, owner: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx');
    try {
      await handle.writeFile(owner);
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function isStale(path: string): Promise<boolean> {
  try {
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > STALE_MS) return true;
    const { pid, host } = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    return host === hostname() && typeof pid === 'number' && !isAlive(pid);
  } catch {
    // It went away, or its owner is still to be written.
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

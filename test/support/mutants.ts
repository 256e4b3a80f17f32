/** Damaged models, one after the other, in a folder of their own. */
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './addon.js';
import { mutate, mutateJson } from './mutate.js';
import { type Random, random } from './random.js';
import { temporaryFolder, write } from './write-model.js';

const FIXTURES = join(ROOT, 'test', 'fixtures');

export const FUZZ_SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** A path to open, and what was damaged. */
export interface Mutant {
  readonly path: string;
  readonly what: string;
}

type Kind = (folder: string, rng: Random) => Mutant;

function folderKind(file: string, change: (bytes: Buffer, rng: Random) => Buffer | string): Kind {
  const source = join(FIXTURES, 'models', 'llama-sharded');
  const original = readFileSync(join(source, file));
  let copied = '';
  return (folder, rng) => {
    const path = join(folder, `folder-${file}`);
    if (copied !== path) cpSync(source, path, { recursive: true });
    copied = path;
    write(path, file, change(Buffer.from(original), rng));
    return { path, what: file };
  };
}

function ggufKind(name: string, head: number): Kind {
  const original = readFileSync(join(FIXTURES, 'gguf', name));
  return (folder, rng) => ({ path: write(folder, name, mutate(original, rng, head)), what: name });
}

const KINDS: Kind[] = [
  folderKind('model-00002-of-00004.safetensors', (bytes, rng) => mutate(bytes, rng, 1200)),
  folderKind('model-00002-of-00004.safetensors', (bytes, rng) => {
    const length = Number(bytes.readBigUInt64LE(0));
    const text = mutateJson(bytes.toString('utf8', 8, 8 + length), rng);
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
    return Buffer.concat([prefix, Buffer.from(text), bytes.subarray(8 + length)]);
  }),
  folderKind('config.json', (bytes, rng) => mutateJson(bytes.toString(), rng)),
  folderKind('config.json', (bytes, rng) => mutate(bytes, rng, bytes.length)),
  folderKind('model.safetensors.index.json', (bytes, rng) => mutate(bytes, rng, bytes.length)),
  ggufKind('llama-q8_0.gguf', 14_000),
  ggufKind('llama3-rope.gguf', 5_000),
  ggufKind('qwen3.gguf', 600),
];

export function* mutants(runs: number): Generator<Mutant & { run: number }> {
  const folder = temporaryFolder();
  for (let run = 0; run < runs; run++) {
    const rng = random(FUZZ_SEED + run);
    yield { ...KINDS[rng.integer(KINDS.length)](folder, rng), run };
  }
}

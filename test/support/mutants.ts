/** Damaged models, one after the other, in a folder of their own. */
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './addon.js';
import { embeddingGguf } from './embedding-gguf.js';
import { mutate, mutateJson } from './mutate.js';
import { type Random, random } from './random.js';
import { SEED } from './seed.js';
import { temporaryFolder, write } from './write-model.js';

const FIXTURES = join(ROOT, 'test', 'fixtures');

/** A path to open, and what was damaged. */
export interface Mutant {
  readonly path: string;
  readonly what: string;
}

type Kind = (folder: string, rng: Random) => Mutant;

function folderKind(
  file: string,
  change: (bytes: Buffer, rng: Random) => Buffer | string,
  model = 'llama-sharded',
  cases = 'models',
): Kind {
  const source = join(FIXTURES, cases, model);
  const original = readFileSync(join(source, file));
  let copied = '';
  return (folder, rng) => {
    const path = join(folder, `folder-${model}-${file.replaceAll('/', '-')}`);
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

/** Of a safetensors file: what it says of its tensors, in well-formed JSON. */
function mutateHeader(bytes: Buffer, rng: Random): Buffer {
  const length = Number(bytes.readBigUInt64LE(0));
  const text = mutateJson(bytes.toString('utf8', 8, 8 + length), rng);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
  return Buffer.concat([prefix, Buffer.from(text), bytes.subarray(8 + length)]);
}

/** All sizes at once may be as large as each alone may be. */
function largeJson(text: string, rng: Random): string {
  const sizes = /"(num_\w+|hidden_size|\w*intermediate_size|vocab_size)": *(\d+)/g;
  const large = text.replace(sizes, (all, name: string) => {
    const high = name.startsWith('num_') ? 4096 : 65_536;
    return rng.integer(4) === 0 ? all : `"${name}": ${high}`;
  });
  return rng.integer(2) === 0 ? large : large.replace(/("\w*qk_(layer)?norm"): *false/, '$1: true');
}

/** Files of models that make vectors and scores. */
const EMBEDDINGS = [
  ...['bert-mean', 'xlmr-rank', 'modernbert-rank'].map((model) => [model, 'config.json']),
  ...['modules.json', '1_Pooling/config.json', '2_Dense/config.json'].map((file) => [
    ...['embeddinggemma', file],
  ]),
  ...['config_sentence_transformers.json', 'sentence_bert_config.json'].map((file) => [
    ...['bert-cls', file],
  ]),
];

/** As GGUF: its head, which is written when it is first asked for. */
function embeddingKind(name: string, pooling: Parameters<typeof embeddingGguf>[2]): Kind {
  let original: Buffer | undefined;
  return (folder, rng) => {
    original ??= readFileSync(embeddingGguf(folder, name, pooling));
    const file = `embedding-${name}.gguf`;
    return { path: write(folder, file, mutate(Buffer.from(original), rng, 1500)), what: file };
  };
}

const KINDS: Kind[] = [
  folderKind('model-00002-of-00004.safetensors', (bytes, rng) => mutate(bytes, rng, 1200)),
  folderKind('model-00002-of-00004.safetensors', mutateHeader),
  folderKind('config.json', (bytes, rng) => mutateJson(bytes.toString(), rng)),
  folderKind('config.json', (bytes, rng) => mutate(bytes, rng, bytes.length)),
  folderKind('model.safetensors.index.json', (bytes, rng) => mutate(bytes, rng, bytes.length)),
  folderKind('config.json', (bytes, rng) => mutateJson(bytes.toString(), rng), 'gemma3'),
  folderKind('config.json', (bytes, rng) => mutateJson(bytes.toString(), rng), 'phi3-longrope'),
  folderKind('model.safetensors', (bytes, rng) => mutate(bytes, rng, 1200), 'gpt2'),
  ...['gpt-oss-mxfp4', 'glm4-moe', 'llama4', 'muse-glimmer'].map((model) =>
    folderKind('config.json', (bytes, rng) => mutateJson(bytes.toString(), rng), model),
  ),
  ...['stablelm', 'stablelm-parallel', 'cohere'].map((model) =>
    folderKind('config.json', (bytes, rng) => largeJson(bytes.toString(), rng), model),
  ),
  folderKind('model.safetensors', mutateHeader, 'gpt-oss-mxfp4'),
  ...['awq', 'ct-mixed', 'ct-nvfp4', 'gptq-3bit', 'bnb-nf4-plain'].flatMap((format) => [
    folderKind('config.json', (bytes, rng) => mutateJson(bytes.toString(), rng), format, 'formats'),
    folderKind('model.safetensors', mutateHeader, format, 'formats'),
  ]),
  ...EMBEDDINGS.map(([model, file]) =>
    folderKind(file, (bytes, rng) => mutateJson(bytes.toString(), rng), model, 'embeddings'),
  ),
  folderKind('2_Dense/model.safetensors', mutateHeader, 'embeddinggemma', 'embeddings'),
  embeddingKind('xlmr-rank', 'rank'),
  embeddingKind('modernbert-mean', 'mean'),
  ggufKind('gpt-oss.gguf', 1_500),
  ggufKind('llama-q8_0.gguf', 14_000),
  ggufKind('gemma3.gguf', 1_500),
  ggufKind('phi3-longrope.gguf', 1_500),
  ggufKind('llama3-rope.gguf', 5_000),
  ggufKind('qwen3.gguf', 600),
];

export function* mutants(runs: number): Generator<Mutant & { run: number }> {
  const folder = temporaryFolder();
  for (let run = 0; run < runs; run++) {
    const rng = random(SEED + run);
    yield { ...KINDS[rng.integer(KINDS.length)](folder, rng), run };
  }
}

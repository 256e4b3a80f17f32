/** Opens a model: what it is, where its weights lie, what its tokenizer is. No weight is read. */
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { octavoError } from '../errors.js';
import { DTYPES, type DTypeName, type NativeTensor } from '../native.js';
import { damaged, readExactly, readJsonObject, readText, unsupported, withFile } from './files.js';
import { type GgufFile, readGguf } from './gguf.js';
import { ggufConfig, hfConfig, type ModelConfig } from './model-config.js';
import { fromGgufName, fromHfName } from './names.js';
import { type FileTensor, readSafetensors } from './safetensors.js';

/** A model on disk, checked: every tensor is there, of the right shape, inside its file. */
export interface Checkpoint {
  readonly config: ModelConfig;
  readonly files: readonly string[];
  readonly tensors: readonly NativeTensor[];
  readonly tokenizer:
    | { readonly json: string; readonly config: Record<string, unknown> }
    | { readonly gguf: Record<string, unknown> };
  /** As the files bring it; undefined where the model has none. */
  readonly chatTemplate: string | { name: string; template: string }[] | undefined;
  /** Sampling values of generation_config.json, in SamplingParams' names. */
  readonly generationDefaults: Readonly<Record<string, number>>;
  readonly numParameters: number;
  readonly weightBytes: number;
}

/**
 * A Hugging Face folder (config.json, safetensors) or a .gguf file, or a folder with just one.
 * @throws ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const info = await stat(path).catch((cause) => {
    throw octavoError(
      'ERR_MODEL_NOT_FOUND',
      `there is no model at ${path}; give a Hugging Face folder or a .gguf file`,
      { param: 'model', cause },
    );
  });
  if (info.isFile()) return openGguf(path);
  const names = await readdir(path);
  if (names.includes('config.json')) return openFolder(path, names);
  const ggufs = names.filter((name) => name.endsWith('.gguf'));
  if (ggufs.length === 1) return openGguf(join(path, ggufs[0]));
  throw octavoError(
    'ERR_MODEL_NOT_FOUND',
    ggufs.length > 1
      ? `${path} has ${ggufs.length} .gguf files; name one of them`
      : `${path} has no config.json and no .gguf file; it is no model folder`,
    { param: 'model' },
  );
}

/**
 * Bytes of K and V of one token over all layers.
 * @param element bytes of a cached value, and of the scale per token and head; default: F32
 */
export function kvBytesPerToken(config: ModelConfig, element = { value: 4, scale: 0 }): number {
  const perHead = config.headSize * element.value + element.scale;
  return config.numLayers * 2 * config.numKvHeads * perHead;
}

type Found = FileTensor & { readonly file: number };

async function openFolder(folder: string, names: readonly string[]): Promise<Checkpoint> {
  const read = async (name: string) =>
    names.includes(name) ? readJsonObject(join(folder, name)) : {};
  const generation = await read('generation_config.json');
  const config = hfConfig(
    await readJsonObject(join(folder, 'config.json')),
    join(folder, 'config.json'),
  );
  if (!names.includes('tokenizer.json')) {
    throw octavoError('ERR_MODEL_NOT_FOUND', `${folder} has no tokenizer.json`, { param: 'model' });
  }
  const files = await weightFiles(folder, names);
  const found: Found[] = [];
  for (let i = 0; i < files.length; i++) {
    for (const tensor of await readSafetensors(files[i])) found.push({ ...tensor, file: i });
  }
  const tokenizerConfig = await read('tokenizer_config.json');
  const eos = [...config.eosTokenIds, ...tokenIds(generation, folder)];
  return {
    ...bind({ ...config, eosTokenIds: [...new Set(eos)] }, files, found, fromHfName),
    tokenizer: { json: await readText(join(folder, 'tokenizer.json')), config: tokenizerConfig },
    chatTemplate: await chatTemplate(folder, names, tokenizerConfig),
    generationDefaults: generationDefaults(generation),
  };
}

function tokenIds(generation: Record<string, unknown>, folder: string): number[] {
  const value = generation.eos_token_id ?? [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (!list.every((id) => Number.isInteger(id) && (id as number) >= 0)) {
    throw damaged(join(folder, 'generation_config.json'), 'eos_token_id', 'is no token id');
  }
  return list as number[];
}

/** One file, or the shards that an index names. */
async function weightFiles(folder: string, names: readonly string[]): Promise<string[]> {
  const index = 'model.safetensors.index.json';
  if (names.includes('model.safetensors')) return [join(folder, 'model.safetensors')];
  if (!names.includes(index)) {
    throw octavoError('ERR_MODEL_NOT_FOUND', `${folder} has no model.safetensors and no ${index}`, {
      param: 'model',
    });
  }
  const file = join(folder, index);
  const { weight_map: map } = await readJsonObject(file);
  if (typeof map !== 'object' || map === null) throw damaged(file, 'weight_map', 'is missing');
  const shards = [...new Set(Object.values(map as object))].sort();
  if (shards.length === 0) throw damaged(file, 'weight_map', 'is empty');
  for (const shard of shards) {
    if (typeof shard !== 'string' || basename(shard) !== shard || !shard.endsWith('.safetensors')) {
      throw damaged(file, 'weight_map', `names ${JSON.stringify(shard)}, which is no shard's name`);
    }
    if (!names.includes(shard))
      throw damaged(file, 'weight_map', `names ${shard}, which is missing`);
  }
  return shards.map((shard) => join(folder, shard as string));
}

async function chatTemplate(
  folder: string,
  names: readonly string[],
  config: Record<string, unknown>,
): Promise<Checkpoint['chatTemplate']> {
  if (names.includes('chat_template.jinja')) return readText(join(folder, 'chat_template.jinja'));
  const other = names.includes('chat_template.json')
    ? (await readJsonObject(join(folder, 'chat_template.json'))).chat_template
    : undefined;
  const value = other ?? config.chat_template;
  if (value === undefined || value === null) return undefined;
  const named = (v: unknown) =>
    typeof (v as { name?: unknown })?.name === 'string' &&
    typeof (v as { template?: unknown })?.template === 'string';
  if (typeof value === 'string') return value;
  if (Array.isArray(value) && value.every(named)) return value;
  throw damaged(join(folder, 'tokenizer_config.json'), 'chat_template', 'is no template');
}

const DEFAULTS = {
  temperature: 'temperature',
  top_p: 'topP',
  top_k: 'topK',
  min_p: 'minP',
  repetition_penalty: 'repetitionPenalty',
} as const;

function generationDefaults(generation: Record<string, unknown>): Record<string, number> {
  const out: Record<string, number> = {};
  for (const [theirs, ours] of Object.entries(DEFAULTS)) {
    const value = generation[theirs];
    if (typeof value === 'number') out[ours] = value;
  }
  if (generation.do_sample === false) out.temperature = 0;
  return out;
}

async function openGguf(path: string): Promise<Checkpoint> {
  const gguf = await readGguf(path);
  if (Number(gguf.metadata.get('split.count') ?? 0) > 1) {
    throw unsupported(path, 'a GGUF model that is split over several files (merge them)');
  }
  const byName = new Map(gguf.tensors.map((tensor) => [tensor.name, tensor]));
  const embed = byName.get('token_embd.weight');
  if (!embed) throw damaged(path, 'token_embd.weight', 'is missing');
  const biases = new Set<string>();
  for (const { name } of gguf.tensors) {
    const [, projection] = /^layers\.\d+\.(\w+)\.bias$/.exec(fromGgufName(name) ?? '') ?? [];
    if (projection) biases.add(projection);
  }
  const factors = byName.get('rope_freqs.weight');
  const config = ggufConfig(gguf.metadata, path, {
    vocabSize: embed.shape[0],
    hasHead: byName.has('output.weight'),
    biases,
    ...(factors ? { ropeFactors: await readFactors(path, factors) } : {}),
  });
  const found = gguf.tensors.map((tensor) => ({ ...tensor, file: 0 }));
  const tokenizer = tokenizerMetadata(gguf);
  const template = tokenizer.chat_template;
  return {
    ...bind(config, [path], found, fromGgufName),
    tokenizer: { gguf: tokenizer },
    chatTemplate: typeof template === 'string' ? template : undefined,
    generationDefaults: {},
  };
}

/** A few floats that decide frequencies; the only tensor whose values JS sees. */
async function readFactors(path: string, tensor: FileTensor): Promise<Float32Array> {
  if (tensor.dtype !== 'F32' || tensor.bytes > 8192) {
    throw damaged(path, 'rope_freqs.weight', 'must be a short F32 vector');
  }
  const bytes = await withFile(path, (f) => readExactly(f, path, tensor.offset, tensor.bytes));
  return Float32Array.from({ length: tensor.bytes / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

function tokenizerMetadata({ metadata }: GgufFile): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of metadata) {
    if (key.startsWith('tokenizer.ggml.')) out[key.slice('tokenizer.ggml.'.length)] = value;
    if (key === 'tokenizer.chat_template') out.chat_template = value;
  }
  return out;
}

/** Names and shapes that the config asks for. */
function expectedShapes(c: ModelConfig): Map<string, readonly [rows: number, cols: number]> {
  const q = c.numHeads * c.headSize;
  const kv = c.numKvHeads * c.headSize;
  const matrices = {
    q: [q, c.hiddenSize],
    k: [kv, c.hiddenSize],
    v: [kv, c.hiddenSize],
    o: [c.hiddenSize, q],
    gate: [c.intermediateSize, c.hiddenSize],
    up: [c.intermediateSize, c.hiddenSize],
    down: [c.hiddenSize, c.intermediateSize],
  } as const;
  const want = new Map<string, readonly [number, number]>();
  want.set('embed', [c.vocabSize, c.hiddenSize]);
  want.set('final_norm', [1, c.hiddenSize]);
  if (!c.tiedHead) want.set('head', [c.vocabSize, c.hiddenSize]);
  for (let i = 0; i < c.numLayers; i++) {
    const at = `layers.${i}.`;
    for (const norm of ['attn_norm', 'mlp_norm']) want.set(at + norm, [1, c.hiddenSize]);
    if (c.qkNorm) for (const norm of ['q_norm', 'k_norm']) want.set(at + norm, [1, c.headSize]);
    for (const [name, shape] of Object.entries(matrices)) {
      want.set(at + name, shape);
      if (c.biases.has(name)) want.set(`${at}${name}.bias`, [1, shape[0]]);
    }
  }
  return want;
}

type Bound = Pick<Checkpoint, 'config' | 'files' | 'tensors' | 'numParameters' | 'weightBytes'>;

/** Matches what is there with what the config asks for. */
function bind(
  config: ModelConfig,
  files: readonly string[],
  found: readonly Found[],
  nameOf: (name: string) => string | undefined,
): Bound {
  const want = expectedShapes(config);
  const tensors: NativeTensor[] = [];
  const bytesOf = new Map<string, number>();
  let numParameters = 0;
  for (const tensor of found) {
    const file = files[tensor.file];
    const field = `tensor ${JSON.stringify(tensor.name)}`;
    const name = nameOf(tensor.name);
    if (name === '' || (name === 'head' && config.tiedHead)) continue;
    const shape = name === undefined ? undefined : want.get(name);
    if (name === undefined || shape === undefined) {
      throw unsupported(file, `${field} (a ${config.architecture} of these settings has none)`);
    }
    want.delete(name);
    tensors.push(nativeTensor(tensor, name, shape, file, field));
    bytesOf.set(tensor.dtype, (bytesOf.get(tensor.dtype) ?? 0) + tensor.bytes);
    numParameters += shape[0] * shape[1];
  }
  const [missing] = want.keys();
  if (missing !== undefined) {
    throw damaged(files[0], `the tensor for ${missing}`, 'is missing');
  }
  const [dtype] = [...bytesOf].sort((a, b) => b[1] - a[1])[0];
  const weightBytes = tensors.reduce((sum, t) => sum + t.bytes, 0);
  return { config: { ...config, dtype }, files, tensors, numParameters, weightBytes };
}

function nativeTensor(
  tensor: Found,
  name: string,
  [rows, cols]: readonly [number, number],
  file: string,
  field: string,
): NativeTensor {
  const { dtype, shape } = tensor;
  const is = shape.length === 1 ? [1, shape[0]] : shape;
  if (is.length !== 2 || is[0] !== rows || is[1] !== cols) {
    const wanted = rows === 1 ? `[${cols}]` : `[${rows}, ${cols}]`;
    throw damaged(file, field, `has shape [${shape.join(', ')}], not ${wanted} as the config says`);
  }
  if (!Object.hasOwn(DTYPES, dtype)) {
    throw unsupported(
      file,
      `dtype ${dtype} of ${field} (known: ${Object.keys(DTYPES).join(', ')})`,
    );
  }
  return {
    name,
    dtype: dtype as DTypeName,
    rows,
    cols,
    file: tensor.file,
    offset: tensor.offset,
    bytes: tensor.bytes,
  };
}

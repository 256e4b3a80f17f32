/** Opens a model: what it is, where its weights lie, what its tokenizer is. No weight is read. */
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { shown } from '../arguments.js';
import { isOctavoError, octavoError } from '../errors.js';
import { type Bound, bind, type Found } from './bind.js';
import { type ChatTemplates, folderTemplates, ggufTemplates } from './chat-templates.js';
import type { GgufTensors } from './config.js';
import { Fields } from './fields.js';
import { damaged, readExactly, readJsonObject, readText, unsupported, withFile } from './files.js';
import type { GgufValue } from './gguf.js';
import { type GgufModel, isGguf, oneModel, readGgufModel } from './gguf-parts.js';
import { ggufTokens } from './gguf-tokens.js';
import { type DenseModule, type Modules, readModules } from './modules.js';
import { joined } from './mxfp4.js';
import { GGUF_NAMES, placeOf, skippedPart } from './names.js';
import { folderPooling, type PoolingSpec, plainPooling, type TokenizerFiles } from './pooling.js';
import { assemble } from './quantization/assemble.js';
import { folderQuantization } from './quantization/read.js';
import type { Quantization } from './quantization/scheme.js';
import { withoutZeroBiases } from './quantization/zero-biases.js';
import { ggufSpec, hfSpec, type ReadSpec } from './read-spec.js';
import { GGUF_FACTORS } from './rope-config.js';
import { readSafetensors } from './safetensors.js';

/** The files of a tokenizer as they are, or a GGUF file's keys for it. */
export type TokenizerSource =
  | { readonly json: string; readonly config: Record<string, unknown> }
  | { readonly gguf: Record<string, unknown> };

/** A model on disk, checked: every tensor is there, of the right shape, inside its file. */
export interface Checkpoint extends Bound {
  readonly tokenizer: TokenizerSource;
  /** As the files bring it; undefined where the model has none. */
  readonly chatTemplate: ChatTemplates | undefined;
  /** Sampling values of generation_config.json, in SamplingParams' names. */
  readonly generationDefaults: Readonly<Record<string, number>>;
  /** What it makes of whole texts: of every model, though most are for generating. */
  readonly pooling: PoolingSpec;
  /** The quant_method that safetensors are quantised by. */
  readonly quantMethod?: string | undefined;
}

/**
 * A Hugging Face folder (config.json, safetensors) or a .gguf file, or a folder with just one.
 * @throws ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const place = await placeOfModel(path, 'config.json');
  return 'file' in place ? openGguf(place.file) : openFolder(path, place.names);
}

/**
 * The tokenizer alone, of a model in any form that has one: no weights need be there, nor a family
 * that this build knows.
 * @throws ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED
 */
export async function openVocabulary(path: string): Promise<TokenizerSource> {
  const place = await placeOfModel(path, 'tokenizer.json');
  if (!('file' in place)) return folderTokenizer(path, place.names);
  const { metadata } = await readGgufModel(place.file);
  return { gguf: ggufTokens(tokenizerMetadata(metadata)).tokenizer };
}

/** A .gguf file, or what is in a folder that has the file `needed`. */
async function placeOfModel(
  path: string,
  needed: string,
): Promise<{ readonly file: string } | { readonly names: readonly string[] }> {
  const info = await stat(path).catch((cause) => {
    throw noModel(`there is no model at ${path}`, cause);
  });
  if (info.isFile()) return { file: path };
  if (!info.isDirectory()) throw noModel(`${path} is neither a folder nor a regular file`);
  const names = await readdir(path);
  if (names.includes(needed)) return { names };
  const ggufs = names.filter(isGguf);
  const gguf = oneModel(ggufs);
  if (gguf !== undefined) return { file: join(path, gguf) };
  throw octavoError(
    'ERR_MODEL_NOT_FOUND',
    ggufs.length > 1
      ? `${path} has ${ggufs.length} .gguf files; name one of them`
      : `${path} has no ${needed} and no .gguf file; it is no model folder`,
    { param: 'model' },
  );
}

function noModel(what: string, cause?: unknown) {
  const message = `${what}; give a Hugging Face folder, a .gguf file or org/name on the hub`;
  return octavoError('ERR_MODEL_NOT_FOUND', message, { param: 'model', cause });
}

async function openFolder(folder: string, names: readonly string[]): Promise<Checkpoint> {
  const name = 'generation_config.json';
  const generation = names.includes(name) ? await readJsonObject(join(folder, name)) : {};
  const configFile = join(folder, 'config.json');
  const read = hfSpec(await readJsonObject(configFile), configFile);
  const quantization = read.quantization ?? (await folderQuantization(folder, names));
  if (!names.includes('tokenizer.json')) {
    throw octavoError('ERR_MODEL_NOT_FOUND', `${folder} has no tokenizer.json`, { param: 'model' });
  }
  const files = await weightFiles(folder, names);
  const found = await weightsIn(files, quantization, read);
  const tokenizer = await folderTokenizer(folder, names);
  const { model, dense, pooling } = await forTexts(
    { folder, names, configFile },
    read,
    found,
    tokenizer,
  );
  for (const { file, found: own } of dense) {
    for (const tensor of own) found.push({ ...tensor, file: files.length });
    files.push(file);
  }
  const eos = new Fields(join(folder, name), generation).ids('eos_token_id');
  const eosTokenIds = [...new Set([...model.spec.eosTokenIds, ...eos])];
  return {
    ...bind({ ...model, spec: { ...model.spec, eosTokenIds } }, files, found),
    tokenizer,
    chatTemplate: await folderTemplates(folder, names, tokenizer.config),
    generationDefaults: generationDefaults(generation),
    pooling,
    quantMethod: quantization?.method,
  };
}

/** Tensors of safetensors files, quantised ones put together; of what is passed over none is. */
async function weightsIn(
  files: readonly string[],
  quantization: Quantization | undefined,
  model: ReadSpec,
): Promise<Found[]> {
  const stored: Found[] = [];
  const skipped: Found[] = [];
  const layers = { count: model.spec.layers.length, mtp: model.numMtpLayers };
  for (const [file, path] of files.entries()) {
    for (const tensor of await readSafetensors(path)) {
      const part = skippedPart(tensor.name, model.names, layers);
      (part === undefined ? stored : skipped).push({ ...tensor, file });
    }
  }
  const read = ({ file, offset, bytes }: Found) =>
    withFile(files[file], (f) => readExactly(f, files[file], offset, bytes));
  const found = await assemble(joined(stored, files), quantization, files, read);
  const isGptq = quantization?.method === 'gptq';
  return [...(isGptq ? await withoutZeroBiases(found, model, read) : found), ...skipped];
}

interface ForTexts {
  readonly model: ReadSpec;
  readonly dense: readonly DenseModule[];
  readonly pooling: PoolingSpec;
}

/**
 * What sentence-transformers' files in a folder make of its model. Whatever in them is not known
 * keeps a model from pooling, but not from generating.
 */
async function forTexts(
  { folder, names, configFile }: Folder,
  read: ReadSpec,
  found: readonly Found[],
  tokenizer: TokenizerFiles,
): Promise<ForTexts> {
  try {
    const modules = await readModules(folder, names, read.spec.hiddenSize);
    const model = withModules(withoutHead(read, found, modules), modules, configFile);
    const pooling = await folderPooling(folder, names, model, modules, tokenizer);
    return { model, dense: modules?.dense ?? [], pooling };
  } catch (error) {
    const isUnknown = isOctavoError(error) && error.code === 'ERR_MODEL_UNSUPPORTED';
    if (!isUnknown || read.isForPooling || !hasHead(read, found)) throw error;
    const isDeclared = names.includes('modules.json');
    const pooling = { ...plainPooling(read), isDeclared, refusal: error.message };
    return { model: read, dense: [], pooling };
  }
}

interface Folder {
  readonly folder: string;
  readonly names: readonly string[];
  readonly configFile: string;
}

function hasHead({ spec: { head }, names }: ReadSpec, found: readonly Found[]): boolean {
  if (head === undefined || head.tied) return head !== undefined;
  return found.some(({ name }) => placeOf(name, names)?.names[0] === 'head');
}

/** What is there for vectors alone may lack the product with the vocabulary. */
function withoutHead(
  read: ReadSpec,
  found: readonly Found[],
  modules: Modules | undefined,
): ReadSpec {
  const mayLack = read.task === 'vectors' || modules !== undefined;
  if (!mayLack || hasHead(read, found)) return read;
  const { head: _, ...spec } = read.spec;
  return { ...read, spec };
}

/** With the layers that modules.json puts behind the pooling. */
function withModules(read: ReadSpec, modules: Modules | undefined, file: string): ReadSpec {
  const { dense = [], pooling } = modules ?? {};
  // Without Pooling there are no modules behind it either.
  if (read.spec.pooler && pooling !== undefined) {
    throw unsupported(file, 'a classification head beside modules that pool');
  }
  if (dense.length === 0) return read;
  const top: Record<string, string> = {};
  dense.forEach(({ tensor }, i) => {
    top[tensor] = `pooled.${i}`;
  });
  return {
    ...read,
    spec: { ...read.spec, pooler: { layers: dense.map(({ layer }) => layer) } },
    names: { ...read.names, top: { ...read.names.top, ...top } },
  };
}

async function folderTokenizer(folder: string, names: readonly string[]) {
  const read = async (name: string) =>
    names.includes(name) ? readJsonObject(join(folder, name)) : {};
  const config = await read('tokenizer_config.json');
  const specials = await read('special_tokens_map.json');
  const json = await readText(join(folder, 'tokenizer.json'));
  return { json, config: withSpecialTokens(config, specials) };
}

/** tokenizer_config.json with the special tokens that only special_tokens_map.json names. */
function withSpecialTokens(
  config: Record<string, unknown>,
  specials: Record<string, unknown>,
): Record<string, unknown> {
  const out = { ...config };
  for (const name of ['bos_token', 'eos_token', 'pad_token', 'unk_token']) {
    if (specials[name] !== undefined) out[name] ??= specials[name];
  }
  return out;
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
      throw damaged(file, 'weight_map', `names ${shown(shard)}, which is no shard's name`);
    }
    if (!names.includes(shard))
      throw damaged(file, 'weight_map', `names ${shown(shard)}, which is missing`);
  }
  return shards.map((shard) => join(folder, shard as string));
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
  if (out.topK === -1) out.topK = 0; // how vLLM spells "all"
  if (generation.do_sample === false) out.temperature = 0;
  return out;
}

async function openGguf(path: string): Promise<Checkpoint> {
  const model = await readGgufModel(path);
  const tokens = ggufTokens(tokenizerMetadata(model.metadata));
  const tensors = await tensorsOf(model);
  checkVocabulary(model, tokens.tokenizer.tokens, tensors.vocabSize);
  const read = ggufSpec(model.metadata, model.files[0], tensors, tokens);
  return {
    ...bind(read, model.files, model.tensors),
    tokenizer: { gguf: tokens.tokenizer },
    chatTemplate: ggufTemplates(model.metadata),
    generationDefaults: {},
    pooling: plainPooling(read),
  };
}

/** Converters fill the tokens up to the rows of the embedding. */
function checkVocabulary({ files }: GgufModel, tokens: unknown, rows: number): void {
  if (!Array.isArray(tokens) || tokens.length === rows) return;
  const why = `has ${rows} rows, but tokenizer.ggml.tokens ${tokens.length} tokens`;
  throw damaged(files[0], 'token_embd.weight', why);
}

/** What the tensors tell about a model beside its keys. */
async function tensorsOf({ files, tensors }: GgufModel): Promise<GgufTensors> {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const embed = byName.get('token_embd.weight');
  if (!embed) throw damaged(files[0], 'token_embd.weight', 'is missing');
  const biases = new Set<string>();
  for (const name of byName.keys()) {
    for (const canonical of placeOf(name, GGUF_NAMES)?.names ?? []) {
      const [, projection] = /^layers\.\d+\.(\w+)\.bias$/.exec(canonical) ?? [];
      if (projection) biases.add(projection);
    }
  }
  const factors = new Map<string, Float32Array>();
  for (const name of Object.values(GGUF_FACTORS)) {
    const tensor = byName.get(name);
    if (tensor) factors.set(name, await readFactors(files[tensor.file], tensor));
  }
  const shapes = new Map(tensors.map(({ name, shape }) => [name, shape]));
  return { names: new Set(byName.keys()), shapes, vocabSize: embed.shape[0], biases, factors };
}

/** A few floats that decide frequencies; the only tensors whose values JS sees. */
async function readFactors(path: string, tensor: Found): Promise<Float32Array> {
  if (tensor.dtype !== 'F32' || tensor.bytes > 8192) {
    throw damaged(path, tensor.name, 'must be a short F32 vector');
  }
  const bytes = await withFile(path, (f) => readExactly(f, path, tensor.offset, tensor.bytes));
  return Float32Array.from({ length: tensor.bytes / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

function tokenizerMetadata(metadata: ReadonlyMap<string, GgufValue>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of metadata) {
    if (key.startsWith('tokenizer.ggml.')) out[key.slice('tokenizer.ggml.'.length)] = value;
    if (key === 'tokenizer.chat_template') out.chat_template = value;
  }
  return out;
}

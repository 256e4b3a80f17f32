/**
 * From config.json or GGUF metadata to a model as data, by the function of its family. What a file
 * says that nobody has read and that is not known to be harmless is refused by name, never guessed.
 */
import { shown } from '../arguments.js';
import { NORMS } from '../native.js';
import type { Pooling } from '../wire/layout.js';
import { Config, type Family, type FamilySpec, type GgufTensors } from './config.js';
import { GGUF_FAMILIES, HF_FAMILIES, titleOf, WRAPPERS } from './families/index.js';
import { layerTypes, NO_NORM } from './families/shared.js';
import { Fields } from './fields.js';
import { unsupported } from './files.js';
import type { GgufValue } from './gguf.js';
import { GGUF_HARMLESS, HF_HARMLESS, WRAPPER_HARMLESS } from './harmless.js';
import { checkLimits } from './limits.js';
import { type TensorNames, unnested } from './names.js';
import { readQuantization } from './quantization/read.js';
import type { Quantization } from './quantization/scheme.js';
import { attentionsOf, type ModelSpec } from './spec.js';
import { ggufPooling, hfLabels, hfMatryoshka, hfTask, type Labels, type Task } from './task.js';

/** A spec, what it takes to find its tensors, and what the model is for. */
export interface ReadSpec extends ReadTask {
  readonly spec: ModelSpec;
  readonly names: TensorNames;
  readonly numMtpLayers: number;
  /** How its weights are quantised, where config.json says so. */
  readonly quantization?: Quantization | undefined;
}

export interface ReadTask {
  readonly task: Task;
  /** How a text's vector is taken where no other file says. */
  readonly pooling: Pooling;
  readonly labels: Labels | undefined;
  /** Vectors or labels are what the model is for. */
  readonly isForPooling: boolean;
  /** Whether the beginnings of its vectors are vectors, too; a list: those of so many values. */
  readonly matryoshka: readonly number[] | boolean;
}

function familyOf(families: Readonly<Record<string, Family>>, name: string): Family | undefined {
  return Object.hasOwn(families, name) ? families[name] : undefined;
}

/** Reads a parsed config.json. @throws ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED */
export function hfSpec(json: Record<string, unknown>, file: string): ReadSpec {
  const top = new Fields(file, json);
  const outer = top.string('model_type');
  const inner = top.within('text_config');
  const f = inner ?? top;
  const architecture = f.string('model_type', outer);
  const family = familyOf(HF_FAMILIES, architecture);
  const isWrapper = Object.hasOwn(WRAPPERS, outer);
  const wraps = inner === undefined || (isWrapper && WRAPPERS[outer].includes(architecture));
  if (!family || !wraps) {
    const known = Object.keys(HF_FAMILIES).join(', ');
    const around = inner && family ? `${shown(outer)} around ` : '';
    throw unsupported(file, `model_type ${around}${shown(architecture)} (known: ${known})`);
  }
  const task = hfTask(json.architectures, file, isWrapper);
  const labels = task === 'labels' ? hfLabels(f) : undefined;
  const config = new Config(f, top, undefined, labels?.names.length);
  const { names, harmless, hasMxfp4, pooling, ...model } = headed(family(config), config);
  const [quantization] = [...new Set([top, f])].flatMap((fields) => readQuantization(fields) ?? []);
  if (quantization?.method === 'mxfp4' && !hasMxfp4) {
    throw unsupported(file, `quantization_config of quant_method "mxfp4" of ${architecture}`);
  }
  checkLimits(model, file);
  const eosTokenIds = [...new Set([...top.ids('eos_token_id'), ...f.ids('eos_token_id')])];
  const [bosTokenId] = [...top.ids('bos_token_id'), ...f.ids('bos_token_id')];
  checkNorms(f, model, architecture);
  const matryoshka = hfMatryoshka(top);
  if (!f.wasRead('layer_types')) layerTypes(f, model.layers.length, ['full_attention']);
  const around = isWrapper ? WRAPPER_HARMLESS : undefined;
  const unknown = [
    ...f.unread(HF_HARMLESS, harmless, inner ? undefined : around),
    ...(inner ? top.unread(HF_HARMLESS, around) : []),
  ];
  if (unknown.length > 0)
    throw unsupported(file, `the setting ${shown(unknown[0])} of ${architecture}`);
  return {
    spec: complete({ architecture, family: titleOf(family), bosTokenId, eosTokenIds }, model),
    names: isWrapper ? { ...names, spelling: unnested } : names,
    numMtpLayers: config.numMtpLayers,
    quantization,
    ...{ task, labels, pooling: pooling ?? usualPooling(model) },
    isForPooling: labels !== undefined || !isCausal(model),
    matryoshka,
  };
}

/** Reads GGUF metadata. @throws ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED */
export function ggufSpec(
  metadata: ReadonlyMap<string, GgufValue>,
  file: string,
  tensors: GgufTensors,
  tokens: Pick<ModelSpec, 'bosTokenId' | 'eosTokenIds'>,
): ReadSpec {
  const general = new Fields(file, Object.fromEntries(metadata));
  const architecture = general.string('general.architecture');
  const family = familyOf(GGUF_FAMILIES, architecture);
  if (!family) {
    const known = Object.keys(GGUF_FAMILIES).join(', ');
    throw unsupported(file, `architecture ${shown(architecture)} (known: ${known})`);
  }
  const own: Record<string, GgufValue> = {};
  for (const [key, value] of metadata) {
    if (key.startsWith(`${architecture}.`)) own[key.slice(architecture.length + 1)] = value;
  }
  const f = new Fields(file, own, `${architecture}.`);
  const said = ggufPooling(f, tensors);
  const { labels } = said;
  const config = new Config(f, f, tensors, labels?.names.length);
  const read = headed(family(config), config);
  const { names, harmless, hasMxfp4: _, pooling, ...model } = read;
  checkLimits(model, file);
  const [unknown] = f.unread(GGUF_HARMLESS, harmless);
  if (unknown !== undefined)
    throw unsupported(file, `the key ${shown(`${architecture}.${unknown}`)}`);
  const { bosTokenId, eosTokenIds } = tokens;
  return {
    spec: complete({ architecture, family: titleOf(family), bosTokenId, eosTokenIds }, model),
    names,
    numMtpLayers: config.numMtpLayers,
    task: labels ? 'labels' : isCausal(model) ? 'text' : 'vectors',
    labels,
    pooling: said.pooling ?? pooling ?? usualPooling(model),
    isForPooling: said.isDeclared || !isCausal(model),
    matryoshka: false, // no key says it
  };
}

/**
 * A classification head takes the place of the product with the vocabulary. Families without one
 * of their own have a single matrix.
 */
function headed(model: FamilySpec, { gguf, numLabels }: Config): FamilySpec {
  if (numLabels === 0) return model;
  const { head: _, ...headless } = model;
  if (headless.pooler) return headless;
  const bias = gguf?.names.has('cls.output.bias') ?? false;
  const name = gguf ? 'cls.output' : 'score';
  return {
    ...headless,
    pooler: { layers: [{ outSize: numLabels, bias, norm: NO_NORM }] },
    names: { ...model.names, top: { ...model.names.top, [name]: 'pooled.0' } },
  };
}

type Layers = Pick<FamilySpec, 'layers'>;

function isCausal({ layers }: Layers): boolean {
  return layers.every(({ attention }) => attention?.causal ?? true);
}

/** Where causal, only the last token has seen the whole text. */
function usualPooling(model: Layers): Pooling {
  return isCausal(model) ? 'last' : 'mean';
}

/** A switch that some families read; of the others it must say what they are. */
function checkNorms(f: Fields, { layers }: Pick<FamilySpec, 'layers'>, architecture: string): void {
  if (f.wasRead('use_qk_norm')) return;
  const normed = attentionsOf(layers).some(({ qkNorm }) => qkNorm.kind !== NORMS.none);
  if (f.boolean('use_qk_norm', normed) !== normed) {
    throw unsupported(f.file, `the setting "use_qk_norm" of ${architecture} at ${!normed}`);
  }
}

function complete(
  rest: Pick<ModelSpec, 'architecture' | 'family' | 'bosTokenId' | 'eosTokenIds'>,
  model: Omit<FamilySpec, 'names' | 'harmless' | 'hasMxfp4' | 'pooling'>,
): ModelSpec {
  return { ...model, ...rest, longRopeFrom: model.longRopeFrom, dtype: '', skipped: {} };
}

/** What a model makes of a whole text: a vector or labels, and how texts are prepared for it. */
import { join } from 'node:path';
import { shown } from '../arguments.js';
import type { Pooling } from '../wire/layout.js';
import { Fields } from './fields.js';
import { damaged, parseObject, readJsonObject, unsupported } from './files.js';
import type { Modules } from './modules.js';
import type { ReadSpec } from './read-spec.js';
import type { ModelSpec } from './spec.js';
import { type Activation, activationOf } from './task.js';

/** cosine: of vectors as if their length were 1; dot: of vectors as they are. */
export type Similarity = 'cosine' | 'dot';

export interface PoolingSpec {
  /** How a text's vector is taken where a call does not say. */
  readonly pooling: Pooling;
  /** Vectors get length 1 where a call does not say. */
  readonly normalize: boolean;
  /** What compares two vectors. */
  readonly similarity: Similarity;
  /** What may stand in front of a text, by name. */
  readonly prompts: Readonly<Record<string, string>>;
  readonly defaultPromptName: string | undefined;
  /** Most tokens of a text, special ones included; undefined: no file says so. */
  readonly maxSeqLength: number | undefined;
  /** Values per text. */
  readonly width: number;
  /** As {@link ReadTask} says. */
  readonly matryoshka: readonly number[] | boolean;
  /** Of a classification head, by its rows. */
  readonly labels: readonly string[] | undefined;
  /** From its logits to scores. */
  readonly activation: Activation;
  /** The files say that the model is for this. */
  readonly isDeclared: boolean;
  /** Why it can only generate: the files say something about texts that is not known. */
  readonly refusal: string | undefined;
}

type Read = Pick<ReadSpec, 'pooling' | 'labels' | 'isForPooling' | 'matryoshka'> & {
  readonly spec: Pick<ModelSpec, 'hiddenSize' | 'pooler'>;
};

/** Where nothing but the model's own file says it. */
export function plainPooling(read: Read): PoolingSpec {
  const { spec, pooling, labels, isForPooling, matryoshka } = read;
  return {
    pooling,
    normalize: labels === undefined,
    similarity: 'cosine',
    prompts: {},
    defaultPromptName: undefined,
    maxSeqLength: undefined,
    width: spec.pooler?.layers.at(-1)?.outSize ?? spec.hiddenSize,
    matryoshka,
    labels: labels?.names,
    activation: labels?.activation ?? 'none',
    isDeclared: isForPooling,
    refusal: undefined,
  };
}

/** Of a tokenizer's own files. */
export interface TokenizerFiles {
  readonly json: string;
  readonly config: Record<string, unknown>;
}

/**
 * With what sentence-transformers' files in the folder say.
 * @throws ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED
 */
export async function folderPooling(
  folder: string,
  names: readonly string[],
  read: ReadSpec,
  modules: Modules | undefined,
  tokenizer: TokenizerFiles,
): Promise<PoolingSpec> {
  const plain = plainPooling(read);
  const isDeclared = plain.isDeclared || modules !== undefined;
  const prompts = await readPrompts(folder, names, plain);
  const limit = isDeclared ? await readLimit(folder, names, tokenizer) : undefined;
  const maxLen = read.spec.maxPositionEmbeddings;
  return {
    ...plain,
    ...prompts,
    pooling: modules?.pooling ?? plain.pooling,
    normalize: modules?.normalize ?? plain.normalize,
    maxSeqLength: limit === undefined ? undefined : Math.min(limit, maxLen),
    isDeclared,
  };
}

type Prompts = Pick<PoolingSpec, 'prompts' | 'defaultPromptName' | 'similarity' | 'activation'>;

/**
 * config_sentence_transformers.json: prompts, and what compares vectors; of a cross-encoder, what
 * makes its scores.
 */
async function readPrompts(
  folder: string,
  names: readonly string[],
  { labels, similarity, activation: usual }: PoolingSpec,
): Promise<Prompts> {
  const name = 'config_sentence_transformers.json';
  const none = { prompts: {}, defaultPromptName: undefined, similarity, activation: usual };
  if (!names.includes(name)) return none;
  const file = join(folder, name);
  const f = new Fields(file, await readJsonObject(file));
  const prompts = promptsOf(f);
  const chosen = f.string('default_prompt_name', '');
  if (chosen !== '' && !Object.hasOwn(prompts, chosen)) {
    f.fail('default_prompt_name', `is ${shown(chosen)}, which prompts lack`);
  }
  const type = f.string('model_type', '');
  if (!['', 'SentenceTransformer', 'CrossEncoder'].includes(type)) {
    throw unsupported(file, `model_type ${shown(type)}`);
  }
  const act = labels === undefined ? '' : f.string('activation_fn', '');
  const named = f.string('similarity_fn_name', '') || similarity;
  if (!Object.hasOwn(SIMILARITIES, named)) {
    const known = Object.keys(SIMILARITIES).join(', ');
    throw unsupported(file, `similarity_fn_name ${shown(named)} (known: ${known})`);
  }
  if (f.has('truncate_dim')) {
    throw unsupported(file, `truncate_dim ${shown(f.raw('truncate_dim'))}`);
  }
  f.raw('__version__');
  const [unknown] = f.unread();
  if (unknown !== undefined) throw unsupported(file, `the setting ${shown(unknown)}`);
  return {
    prompts,
    defaultPromptName: chosen === '' ? undefined : chosen,
    similarity: SIMILARITIES[named],
    activation: act ? activationOf(act, file) : usual,
  };
}

const SIMILARITIES: Readonly<Record<string, Similarity>> = {
  cosine: 'cosine',
  dot: 'dot',
  dot_score: 'dot',
};

function promptsOf(f: Fields): Record<string, string> {
  const prompts: Record<string, string> = {};
  for (const [name, text] of Object.entries(f.object('prompts') ?? {})) {
    if (typeof text !== 'string') throw damaged(f.file, 'prompts', `has no text at ${shown(name)}`);
    prompts[name] = text;
  }
  return prompts;
}

/** The file is called after a kind of model, whatever it is of. */
const LIMITS = /^sentence_[a-z-]+_config\.json$/;

/** The most tokens of a text: sentence-transformers' own limit, else the tokenizer's. */
async function readLimit(
  folder: string,
  names: readonly string[],
  { json, config }: TokenizerFiles,
): Promise<number | undefined> {
  const own = config.model_max_length;
  const usual = Number.isInteger(own) && (own as number) >= 1 ? (own as number) : undefined;
  const [name] = names.filter((each) => LIMITS.test(each)).sort();
  if (name === undefined) return usual;
  const file = join(folder, name);
  const f = new Fields(file, await readJsonObject(file));
  const limit = f.has('max_seq_length') ? f.integer('max_seq_length', 1, 2 ** 30) : usual;
  if (f.boolean('do_lower_case', false) && !lowersCase(json, join(folder, 'tokenizer.json'))) {
    throw unsupported(file, 'do_lower_case true where the tokenizer does not lower case itself');
  }
  const task = f.string('transformer_task', '');
  if (!['', 'feature-extraction', 'sequence-classification'].includes(task)) {
    throw unsupported(file, `transformer_task ${shown(task)}`);
  }
  const output = f.string('module_output_name', '');
  if (!['', 'token_embeddings', 'scores'].includes(output)) {
    throw unsupported(file, `module_output_name ${shown(output)}`);
  }
  for (const known of HOW) f.raw(known);
  const [unknown] = f.unread();
  if (unknown !== undefined) throw unsupported(file, `the setting ${shown(unknown)}`);
  return limit;
}

/** Of how another program loads and runs the same model. */
const HOW = [
  ...['model_args', 'tokenizer_args', 'config_args', 'model_kwargs', 'processor_kwargs'],
  ...['config_kwargs', 'processing_kwargs', 'modality_config', 'unpad_inputs', 'backend'],
  ...['tokenizer_name_or_path', 'cache_dir'],
];

/** Does a tokenizer.json make all text lower case? */
function lowersCase(json: string, file: string): boolean {
  const { normalizer } = parseObject(json, file);
  const lowers = (value: unknown): boolean => {
    if (typeof value !== 'object' || value === null) return false;
    const { type, lowercase, normalizers } = value as Record<string, unknown>;
    if (type === 'Lowercase' || (type === 'BertNormalizer' && lowercase === true)) return true;
    return Array.isArray(normalizers) && normalizers.some(lowers);
  };
  return lowers(normalizer);
}

/**
 * sentence-transformers' modules.json: what stands behind a model in a folder, each in a folder of
 * its own. A module or setting that is not known is refused by name.
 */
import { basename, join } from 'node:path';
import { shown } from '../arguments.js';
import { HIDDEN_ACTS, type NativeDense } from '../native.js';
import type { Pooling } from '../wire/layout.js';
import type { Found } from './bind.js';
import { NO_NORM } from './families/shared.js';
import { Fields } from './fields.js';
import { damaged, readJsonArray, readJsonObject, unsupported } from './files.js';
import { readSafetensors } from './safetensors.js';
import { torchClass } from './task.js';

/** A layer behind the pooling, with its tensors under names of their own. */
export interface DenseModule {
  readonly layer: NativeDense;
  readonly file: string;
  /** Its tensors' names, without `.weight` and `.bias`. */
  readonly tensor: string;
  readonly found: readonly Omit<Found, 'file'>[];
}

export interface Modules {
  /** Undefined: there is no Pooling module, as where the model itself has a head. */
  readonly pooling: Pooling | undefined;
  readonly dense: readonly DenseModule[];
  readonly normalize: boolean;
}

interface Listed {
  readonly kind: string;
  /** '' = the model's own folder. */
  readonly path: string;
}

/**
 * In their order: Transformer, Pooling, Dense layers, Normalize. Undefined without modules.json.
 * @throws ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED
 */
export async function readModules(
  folder: string,
  names: readonly string[],
  hiddenSize: number,
): Promise<Modules | undefined> {
  if (!names.includes('modules.json')) return undefined;
  const file = join(folder, 'modules.json');
  const listed = (await readJsonArray(file)).map((entry, i) => moduleOf(file, entry, i));
  checkOrder(file, listed);
  let pooling: Pooling | undefined;
  let normalize = false;
  let width = hiddenSize;
  const dense: DenseModule[] = [];
  for (const { kind, path } of listed) {
    if (kind === 'Pooling') pooling = await readPooling(join(folder, path), hiddenSize);
    if (kind === 'Normalize') normalize = true;
    if (kind !== 'Dense') continue;
    dense.push(await readDense(folder, path, width));
    width = dense[dense.length - 1].layer.outSize;
  }
  return { pooling, dense, normalize };
}

/** By their place in a list; Dropout does nothing once a model is trained. */
const RANKS: Readonly<Record<string, number>> = { Transformer: 0, Pooling: 1, Dense: 2 };
const KINDS = [...Object.keys(RANKS), 'Normalize', 'Dropout'];

/** The class's path has changed over the years, its name has not. */
function moduleOf(file: string, entry: unknown, i: number): Listed {
  if (typeof entry !== 'object' || entry === null) throw damaged(file, `module ${i}`, 'is none');
  const { type, path } = entry as Record<string, unknown>;
  const kind = /^sentence_transformers\.(?:\w+\.)*(\w+)$/.exec(String(type))?.[1] ?? '';
  if (!KINDS.includes(kind)) {
    throw unsupported(file, `the module ${shown(kind || type)} (known: ${KINDS.join(', ')})`);
  }
  if (typeof path !== 'string' || basename(path) !== path || path === '..' || path === '.') {
    throw damaged(file, `module ${i}`, `lies in ${shown(path)}, which is no folder's name`);
  }
  if (kind === 'Transformer' && path !== '') {
    throw unsupported(file, `a Transformer module in a folder of its own (${shown(path)})`);
  }
  return { kind, path };
}

function checkOrder(file: string, listed: readonly Listed[]): void {
  const kinds = listed.map(({ kind }) => kind).filter((kind) => kind !== 'Dropout');
  const ranks = kinds.map((kind) => RANKS[kind] ?? 3);
  const once = ['Transformer', 'Pooling', 'Normalize'];
  const fits =
    kinds[0] === 'Transformer' &&
    (kinds.length === 1 || kinds[1] === 'Pooling') &&
    ranks.every((rank, i) => i === 0 || rank >= ranks[i - 1]) &&
    once.every((kind) => kinds.filter((other) => other === kind).length <= 1);
  if (!fits) throw unsupported(file, `the order ${kinds.join(', ')} of modules`);
}

/** Reads a module's config.json; what is left unread is refused by `done`. */
async function settingsOf(folder: string): Promise<{ f: Fields; done: () => void }> {
  const file = join(folder, 'config.json');
  const f = new Fields(file, await readJsonObject(file));
  const done = () => {
    const [unknown] = f.unread();
    if (unknown !== undefined) throw unsupported(file, `the setting ${shown(unknown)}`);
  };
  return { f, done };
}

const MODES: Readonly<Record<string, Pooling>> = { mean: 'mean', cls: 'cls', lasttoken: 'last' };

/** Names of switches, and what newer files call them. */
const SWITCHES: Readonly<Record<string, string>> = {
  pooling_mode_cls_token: 'cls',
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_max_tokens: 'max',
  pooling_mode_mean_sqrt_len_tokens: 'mean_sqrt_len_tokens',
  pooling_mode_weightedmean_tokens: 'weightedmean',
  pooling_mode_lasttoken: 'lasttoken',
};

async function readPooling(folder: string, hiddenSize: number): Promise<Pooling> {
  const { f, done } = await settingsOf(folder);
  for (const name of ['word_embedding_dimension', 'embedding_dimension']) {
    const size = f.integer(name, 1, 2 ** 24, hiddenSize);
    if (size !== hiddenSize) f.fail(name, `is ${size}, but the model's vectors have ${hiddenSize}`);
  }
  const on = Object.keys(SWITCHES).filter((name) => f.boolean(name, false));
  const named = f.has('pooling_mode') ? [f.raw('pooling_mode')].flat() : [];
  const modes = named.length > 0 ? named : on.map((name) => SWITCHES[name]);
  if (modes.length !== 1) {
    const what = modes.length === 0 ? 'a Pooling module without a mode' : 'pooling in several ways';
    throw unsupported(f.file, modes.length === 0 ? what : `${what} (${modes.join(', ')})`);
  }
  const mode = String(modes[0]);
  if (!Object.hasOwn(MODES, mode)) {
    const known = Object.keys(MODES).join(', ');
    throw unsupported(f.file, `the pooling mode ${shown(mode)} (known: ${known})`);
  }
  if (!f.boolean('include_prompt', true)) {
    throw unsupported(f.file, 'include_prompt false (a pooling that leaves the prompt out)');
  }
  done();
  return MODES[mode];
}

type Act = NonNullable<NativeDense['act']>;

const ACTS: Readonly<Record<string, Act | undefined>> = {
  Identity: undefined,
  Tanh: HIDDEN_ACTS.tanh,
  GELU: HIDDEN_ACTS.gelu,
  SiLU: HIDDEN_ACTS.silu,
  Sigmoid: HIDDEN_ACTS.sigmoid,
};

async function readDense(folder: string, path: string, width: number): Promise<DenseModule> {
  const own = join(folder, path);
  const { f, done } = await settingsOf(own);
  const inSize = f.integer('in_features', 1, 2 ** 24);
  if (inSize !== width) f.fail('in_features', `is ${inSize}, but ${width} values come in`);
  const outSize = f.integer('out_features', 1, 2 ** 24);
  const bias = f.boolean('bias', true);
  const named = f.string('activation_function', 'torch.nn.modules.activation.Tanh');
  const act = torchClass(named) ?? '';
  if (!Object.hasOwn(ACTS, act)) {
    throw unsupported(f.file, `activation_function ${shown(named)}`);
  }
  for (const name of ['module_input_name', 'module_output_name']) {
    const of = f.string(name, 'sentence_embedding');
    if (of !== 'sentence_embedding') throw unsupported(f.file, `${name} ${shown(of)}`);
  }
  done();
  const file = join(own, 'model.safetensors');
  const tensor = `${path}.linear`;
  const found = (await readSafetensors(file)).map((t) => ({ ...t, name: `${path}.${t.name}` }));
  const layer = { outSize, bias, norm: NO_NORM };
  const value = ACTS[act];
  return { layer: value === undefined ? layer : { ...layer, act: value }, file, tensor, found };
}

/** What a model is for: next tokens, vectors of texts, or labels, as its files say. */
import { shown } from '../arguments.js';
import type { Pooling } from '../wire/layout.js';
import type { GgufTensors } from './config.js';
import type { Fields } from './fields.js';
import { damaged, unsupported } from './files.js';

/** text: a product with the vocabulary; vectors: none; labels: a classification head. */
export type Task = 'text' | 'vectors' | 'labels';

/** What makes scores of a head's logits. */
export type Activation = 'sigmoid' | 'softmax' | 'none';

/** Of a classification head. */
export interface Labels {
  /** By row of the head. */
  readonly names: readonly string[];
  readonly activation: Activation;
}

const MAX_LABELS = 2 ** 16;

/** Heads that are left away where the layers alone are wanted: of training an encoder. */
const LAYERS_ONLY = /^\w*(Model|ForMaskedLM|ForPreTraining)$/;
const TEXT = /^\w*(ForCausalLM|LMHeadModel)$/;
const LABELS = /^\w*ForSequenceClassification$/;

/** By config.json's architectures; a head that computes something else again is refused. */
export function hfTask(architectures: unknown, file: string, isWrapper: boolean): Task {
  const names: unknown[] = Array.isArray(architectures) ? architectures : [];
  const isText = (name: string) =>
    TEXT.test(name) || (isWrapper && /ForConditionalGeneration$/.test(name));
  const tasks = names.map((name): Task => {
    const said = String(name);
    if (isText(said)) return 'text';
    if (LABELS.test(said) && !isWrapper) return 'labels';
    if (LAYERS_ONLY.test(said)) return 'vectors';
    if (/For/.test(said)) throw unsupported(file, `architectures ${shown(name)}`);
    return 'text';
  });
  return tasks[0] ?? 'text';
}

/** The labels of config.json, two where it names none, and what becomes of their logits. */
export function hfLabels(f: Fields): Labels {
  const named = f.object('id2label');
  const listed = named && Object.keys(named).length;
  const count = f.integer('num_labels', 1, MAX_LABELS, Math.min(listed || 2, MAX_LABELS));
  if (listed !== undefined && listed !== count) {
    f.fail('id2label', `has ${listed} labels, not ${count}`);
  }
  const names = unnamed(count).map((usual, id) => {
    const name = named === undefined ? usual : named[id];
    if (typeof name !== 'string') f.fail('id2label', `has no label ${id}`);
    return name;
  });
  return { names, activation: hfActivation(f, count) };
}

/** sentence-transformers names a class of PyTorch, in one of two places; else by problem_type. */
function hfActivation(f: Fields, count: number): Activation {
  const newer = f.within('sentence_transformers')?.string('activation_fn', '');
  const named = newer || f.string('sbert_ce_default_activation_function', '');
  if (named) return activationOf(named, f.file);
  const type = f.string('problem_type', '');
  if (!['', ...Object.keys(BY_PROBLEM)].includes(type)) {
    throw unsupported(f.file, `problem_type ${shown(type)}`);
  }
  return BY_PROBLEM[type] ?? byCount(count);
}

const BY_PROBLEM: Readonly<Record<string, Activation>> = {
  regression: 'none',
  multi_label_classification: 'sigmoid',
  single_label_classification: 'softmax',
};

function byCount(count: number): Activation {
  return count === 1 ? 'sigmoid' : 'softmax';
}

/** Of a class's path, as torch.nn.modules.linear.Identity. */
export function activationOf(path: string, file: string): Activation {
  const name = torchClass(path);
  if (name !== undefined && Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name];
  throw unsupported(file, `the activation ${shown(path)} of scores`);
}

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  Sigmoid: 'sigmoid',
  Softmax: 'softmax',
  Identity: 'none',
};

/** The name of a class of PyTorch; undefined where the path is another's. */
export function torchClass(path: string): string | undefined {
  return /^torch\.nn\.(?:modules\.\w+\.)?(\w+)$/.exec(path)?.[1];
}

/** Of GGUF metadata: how vectors are taken, undefined: nothing is said of them. */
export interface GgufPooling {
  readonly pooling: Pooling | undefined;
  readonly isDeclared: boolean;
  readonly labels: Labels | undefined;
}

/** llama.cpp's pooling types. 4 = a head ranks, which takes what the family says. */
const RANK = 4;
const POOLINGS: readonly (Pooling | undefined)[] = [undefined, 'mean', 'cls', 'last', undefined];

export function ggufPooling(f: Fields, { names, shapes }: GgufTensors): GgufPooling {
  const type = f.integer('pooling_type', 0, RANK, 0);
  const listed = f.raw('classifier.output_labels');
  const head = shapes.get('cls.output.weight');
  if (type === RANK && head === undefined) {
    throw damaged(f.file, 'cls.output.weight', 'is missing, and pooling_type says that it ranks');
  }
  const isDeclared = type !== 0 || head !== undefined;
  if (head === undefined) {
    if (names.has('cls.weight')) throw unsupported(f.file, 'cls.weight without cls.output.weight');
    return { pooling: POOLINGS[type], isDeclared, labels: undefined };
  }
  const count = head.length > 1 ? head[0] : 1;
  if (count > MAX_LABELS) throw unsupported(f.file, `a head of ${count} labels`);
  const fits = Array.isArray(listed) && listed.length === count;
  const labels = fits ? (listed as string[]) : unnamed(count);
  const activation = byCount(count);
  return { pooling: POOLINGS[type], isDeclared, labels: { names: labels, activation } };
}

function unnamed(count: number): string[] {
  return Array.from({ length: count }, (_, id) => `LABEL_${id}`);
}

/** The marks that vLLM knows too; few models have one of them. */
export function hfMatryoshka(f: Fields): readonly number[] | boolean {
  const lengths = f.ids('matryoshka_dimensions');
  if (lengths.includes(0)) f.fail('matryoshka_dimensions', 'has vectors without values');
  const isMarked = f.boolean('is_matryoshka', false);
  return lengths.length > 0 ? lengths : isMarked;
}

/** Which files of a repository a model is. */
import { basename, dirname } from 'node:path';
import { octavoError } from '../errors.js';
import { type HubFile, shownBytes } from './files.js';

/** What is to be fetched, and where the model then is. */
export type Choice<F extends HubFile> = FolderChoice<F> | GgufChoice<F>;

/** A folder with config.json; which weights it has its index says. */
export interface FolderChoice<F extends HubFile> {
  readonly kind: 'folder';
  readonly files: readonly F[];
  /** What may be asked for instead. */
  readonly others: readonly string[];
}

/** A model in one GGUF file, or in several. */
export interface GgufChoice<F extends HubFile> {
  readonly kind: 'gguf';
  readonly files: readonly F[];
  /** What was taken, in words. */
  readonly took: string;
  readonly others: readonly string[];
}

/** The first of these that there is: good enough, and small enough, for most. */
const PREFERRED = [
  ...['Q4_K_M', 'Q8_0', 'UD-Q4_K_XL', 'Q5_K_M', 'Q6_K', 'Q4_K_S', 'Q5_K_S', 'Q4_0', 'IQ4_NL'],
  ...['IQ4_XS', 'MXFP4', 'MXFP4_MOE', 'Q4_K_L', 'Q5_K_L', 'Q6_K_L', 'Q4_1', 'Q5_0', 'Q5_1'],
  ...['Q3_K_L', 'Q3_K_M', 'BF16', 'F16', 'F32', 'Q3_K_S', 'Q2_K'],
];

/** Within a name: between its ends, hyphens, dots and underscores. */
const QUANT = new RegExp(
  '(?:^|[-._])((?:UD-)?(?:I?Q\\d(?:_[A-Z0-9]+)*|TQ\\d_\\d|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32))' +
    '(?=$|[-._])',
  'gi',
);
const PART = /-(\d{5})-of-(\d{5})(?=\.gguf$)/i;
/** Large files beside a model that are none: what sees or hears, and statistics for quantising. */
const BESIDE = /(^|[-._])(mmproj|imatrix)([-._]|$)/i;

/** Small files at the root that a tokenizer or a model is read from, here and in Python. */
const SMALL = /^[^/]+\.(json|jinja|tiktoken)$|^(vocab|merges)\.txt$|^[^/]*tokenizer[^/]*\.model$/;
const TOKENIZER =
  /^(config|(tokenizer|added_tokens|special_tokens)(_\w+)?)\.json$|^chat_template\.|\.jinja$/;

/**
 * @param where whose files they are, in words
 * @param want a file or a quantisation
 * @param tokenizerOnly no weights are needed where the tokenizer lies beside them
 * @throws ERR_MODEL_NOT_FOUND saying what there is
 */
export function chooseFiles<F extends HubFile>(
  files: readonly F[],
  where: string,
  want: string | undefined,
  tokenizerOnly = false,
): Choice<F> {
  const ggufs = ggufModels(files);
  const has = (name: string) => files.some(({ path }) => path === name);
  const others = ggufs.map(titleOf);
  if (want !== undefined) return named(ggufs, files, where, want);
  if (tokenizerOnly && has('tokenizer.json')) {
    return { kind: 'folder', files: files.filter(({ path }) => TOKENIZER.test(path)), others };
  }
  const hasWeights = has('model.safetensors') || has('model.safetensors.index.json');
  if (!hasWeights || !has('config.json')) {
    if (ggufs.length > 0) return preferred(ggufs, where);
    throw missing(where, hasWeights ? 'no config.json' : 'no model.safetensors', files);
  }
  if (!has('tokenizer.json')) throw missing(where, 'no tokenizer.json', files);
  const kept = files.filter(
    ({ path }) => SMALL.test(path) || /^additional_chat_templates\/[^/]+\.jinja$/.test(path),
  );
  return { kind: 'folder', files: kept, others };
}

/**
 * The weights of a folder, and the modules behind it.
 * @param index text of model.safetensors.index.json, where there is one
 * @param modules text of modules.json, where there is one
 * @throws ERR_MODEL_NOT_FOUND for one that is not listed
 */
export function folderWeights<F extends HubFile>(
  files: readonly F[],
  where: string,
  index: string | undefined,
  modules: string | undefined,
): readonly F[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const whole = byPath.get('model.safetensors');
  const shards = whole ? [whole.path] : shardsOf(index);
  const weights = shards.map((path) => {
    const file = byPath.get(path);
    if (file !== undefined) return file;
    throw missing(where, `no ${path}, which its index names`, files);
  });
  const folders = foldersOf(modules);
  const own = files.filter(
    ({ path }) =>
      folders.includes(dirname(path)) && /^(config\.json|model\.safetensors)$/.test(basename(path)),
  );
  return [...weights, ...own];
}

/** What is no index names nothing: the reader of the model says what is wrong with it. */
function shardsOf(index: string | undefined): string[] {
  const map = (parsed(index) as { weight_map?: unknown } | undefined)?.weight_map;
  const names = typeof map === 'object' && map !== null ? Object.values(map) : [];
  return [...new Set(names)].filter((name): name is string => typeof name === 'string').sort();
}

function foldersOf(modules: string | undefined): string[] {
  const list = parsed(modules);
  if (!Array.isArray(list)) return [];
  return list.flatMap((module) => {
    const path = (module as { path?: unknown } | null)?.path;
    return typeof path === 'string' && path !== '' ? [path.replace(/\/$/, '')] : [];
  });
}

function parsed(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? 'null') ?? undefined;
  } catch {
    return undefined;
  }
}

/** A model in GGUF form. */
interface Gguf<F> {
  /** Its path, without the numbers of parts. */
  readonly path: string;
  readonly quant: string | undefined;
  readonly files: readonly F[];
  /** Of a split one: that all parts are there. */
  readonly isWhole: boolean;
}

function ggufModels<F extends HubFile>(files: readonly F[]): Gguf<F>[] {
  const parts = new Map<string, F[]>();
  for (const file of files) {
    if (!/\.gguf$/i.test(file.path) || BESIDE.test(basename(file.path))) continue;
    const path = file.path.replace(PART, '');
    parts.set(path, [...(parts.get(path) ?? []), file]);
  }
  return [...parts].map(([path, own]) => {
    const count = Number(PART.exec(own[0].path)?.[2] ?? 1);
    const sorted = own.sort((a, b) => (a.path < b.path ? -1 : 1));
    return { path, quant: quantOf(path), files: sorted, isWhole: own.length === count };
  });
}

/** As the file's name says it, else its folder's. */
function quantOf(path: string): string | undefined {
  for (const name of [basename(path).replace(/\.gguf$/i, ''), basename(dirname(path))]) {
    const found = [...name.matchAll(QUANT)].at(-1)?.[1].toUpperCase();
    if (found !== undefined) return found.replace(/^FP/, 'F');
  }
  return undefined;
}

function titleOf({ path, quant }: Gguf<HubFile>): string {
  return quant ?? path;
}

/** The file or quantisation that was asked for. */
function named<F extends HubFile>(
  ggufs: readonly Gguf<F>[],
  files: readonly F[],
  where: string,
  want: string,
): Choice<F> {
  const path = want.replace(PART, '').toLowerCase();
  const spellings = ({ path }: Gguf<F>) =>
    [path, basename(path)].flatMap((name) => [name, name.replace(/\.gguf$/i, '')]);
  const rules: ((gguf: Gguf<F>) => boolean)[] = [
    (gguf) => gguf.path === want.replace(PART, ''),
    (gguf) => spellings(gguf).some((name) => name.toLowerCase() === path),
    ({ quant }) => quant?.toLowerCase() === path.replace(/^fp/, 'f'),
    ({ quant }) => quant?.toLowerCase() === `ud-${path}`,
  ];
  for (const rule of rules) {
    const found = ggufs.filter(rule);
    if (found.length > 0) return one(found, ggufs, where);
  }
  if (!/\.gguf$/i.test(want) && files.some(({ path: name }) => name === want)) {
    throw notFound(`${want} of ${where} is no GGUF file; without it the whole is taken`);
  }
  if (ggufs.length === 0) {
    throw missing(where, `no GGUF files, so no ${want}; without it the whole is taken`, files);
  }
  throw notFound(`${where} has no ${want}; it has ${listed(ggufs.map(titleOf))}`);
}

function preferred<F extends HubFile>(ggufs: readonly Gguf<F>[], where: string): Choice<F> {
  for (const quant of PREFERRED) {
    const found = ggufs.filter((gguf) => gguf.quant === quant);
    if (found.length > 0) return one(found, ggufs, where);
  }
  return one(ggufs, ggufs, where);
}

function one<F extends HubFile>(
  found: readonly Gguf<F>[],
  all: readonly Gguf<F>[],
  where: string,
): GgufChoice<F> {
  if (found.length > 1) {
    const paths = listed(found.map(({ path }) => path));
    throw notFound(`${where} has several models; name a file behind a colon: ${paths}`);
  }
  const [gguf] = found;
  if (!gguf.isWhole) {
    const parts = `${gguf.files.length} of its parts`;
    throw notFound(`${where} has only ${parts}: ${listed(gguf.files.map(({ path }) => path))}`);
  }
  const size = shownBytes(gguf.files.reduce((sum, file) => sum + file.size, 0));
  const count = gguf.files.length > 1 ? `${gguf.files.length} files, ` : '';
  const others = all.filter((other) => other !== gguf).map(titleOf);
  return { kind: 'gguf', files: gguf.files, took: `${gguf.path} (${count}${size})`, others };
}

function missing(where: string, what: string, files: readonly HubFile[]) {
  const there = files.map(({ path }) => path).filter((path) => !/^\./.test(path));
  return notFound(`${where} has ${what}; it has ${listed(there)}`);
}

/** Some of them. */
function listed(names: readonly string[]): string {
  if (names.length === 0) return 'nothing';
  const more = names.length > 24 ? `, and ${names.length - 24} more` : '';
  return names.slice(0, 24).join(', ') + more;
}

function notFound(sentence: string) {
  return octavoError('ERR_MODEL_NOT_FOUND', sentence, { param: 'model' });
}

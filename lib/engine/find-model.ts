/** From what a caller calls a model to where its files lie. */
import { stat } from 'node:fs/promises';
import { takeOptions } from '../arguments.js';
import { hubConfig } from '../config/hub.js';
import { octavoError } from '../errors.js';
import { type DownloadProgress, type FetchedModel, fetchModel } from '../hub/fetch-model.js';
import { hubName } from '../hub/names.js';
import { readJsonObject } from '../model/files.js';
import { hfSpec } from '../model/read-spec.js';
import { abortedError } from './deadline.js';

/** Of a load whose model may have to be downloaded. */
export interface LoadOptions {
  /** Ends the load (ERR_ABORTED): a download at once, and what has come stays, so that the next
   * call goes on from there; weights are read to the end, and given back. */
  readonly signal?: AbortSignal | undefined;
  /** How far a download is: with each chunk that is written. */
  readonly onDownload?: ((progress: DownloadProgress) => void) | undefined;
  /** Sentences about a download: what it is and where it goes, that the hub cannot be reached and
   * the cache is used. Default: `process.emitWarning()`. */
  readonly onNotice?: ((sentence: string) => void) | undefined;
}

/** Where a model's files lie. */
export interface ModelPlace {
  /** A folder or a .gguf file. */
  readonly path: string;
  /** Undefined where the caller gave a path. */
  readonly fetched: FetchedModel | undefined;
}

/**
 * A path that is there is taken as it is; so is what can only be one. Everything else is a name,
 * and what it names is downloaded unless the cache has it.
 * @param tokenizerOnly no weights are needed
 * @throws ERR_INVALID_PARAM, ERR_INVALID_OPTION, ERR_MODEL_NOT_FOUND, ERR_MODEL_ACCESS, ERR_HUB,
 * ERR_CHECKSUM, ERR_DISK_FULL, ERR_MODEL_UNSUPPORTED, ERR_ABORTED
 */
export async function findModel(
  model: string,
  { tokenizerOnly = false }: { readonly tokenizerOnly?: boolean } = {},
  options: LoadOptions = {},
): Promise<ModelPlace> {
  const { signal, onDownload, onNotice } = checkLoading(options);
  if (await isThere(model)) return { path: model, fetched: undefined };
  const config = hubConfig();
  const name = hubName(model, config.endpoint);
  if (name === null) return { path: model, fetched: undefined };
  const fetched = await fetchModel(name, config, {
    tokenizerOnly,
    signal: signal ?? new AbortController().signal,
    onProgress: onDownload ?? (() => {}),
    onNotice: onNotice ?? ((sentence) => process.emitWarning(`octavo: ${sentence}`)),
    // What is not known here needs not be downloaded.
    checkConfig: async (file) => {
      hfSpec(await readJsonObject(file), file);
    },
  });
  return { path: fetched.path, fetched };
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}

/** @throws ERR_INVALID_PARAM, ERR_ABORTED */
export function checkLoading(options: LoadOptions = {}): LoadOptions {
  const taken = takeOptions(options, 'LLM.load()', ['signal', 'onDownload', 'onNotice']);
  const { signal } = taken;
  const refused = (param: string, what: string) =>
    octavoError('ERR_INVALID_PARAM', `${param} must be ${what}`, { param });
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw refused('signal', 'an AbortSignal');
  }
  for (const name of ['onDownload', 'onNotice']) {
    if (taken[name] !== undefined && typeof taken[name] !== 'function') {
      throw refused(name, 'a function');
    }
  }
  checkAborted(signal);
  return taken as LoadOptions;
}

/** @throws ERR_ABORTED */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal, 'the load');
}

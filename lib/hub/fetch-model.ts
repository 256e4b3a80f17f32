/** A model by its name: out of the cache, or downloaded into it. */
import { mkdir, readFile, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { HubConfig } from '../config/hub.js';
import { isOctavoError, octavoError } from '../errors.js';
import { HubApi } from './api.js';
import { isCommit, ofDisk, RepoCache } from './cache.js';
import { type Downloading, downloadFile, leftOf } from './download.js';
import { type HubFile, type ListedFile, shownBytes } from './files.js';
import { lock } from './lock.js';
import type { HubName } from './names.js';
import { Permits } from './permits.js';
import { type Choice, chooseFiles, folderWeights } from './select.js';

/** How far a download is. */
export interface DownloadProgress {
  /** `org/name` */
  readonly repo: string;
  /** Files that were not there yet. */
  readonly numFiles: number;
  /** How many of them are there now. */
  readonly numDone: number;
  /** Bytes of these files on disk so far: what an earlier download left is among them. */
  readonly bytes: number;
  /** All that these files have. */
  readonly totalBytes: number;
}

export interface FetchOptions {
  /** Only what texts are tokenized with, where that lies apart from the weights. */
  readonly tokenizerOnly: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: DownloadProgress) => void;
  /** Sentences: what is downloaded and where to, and what went otherwise than asked. */
  readonly onNotice: (sentence: string) => void;
  /** Sees config.json before weights are downloaded, and throws where they would be of no use. */
  readonly checkConfig: (file: string) => Promise<void>;
}

/** A model on disk. */
export interface FetchedModel {
  /** A folder, or a .gguf file. */
  readonly path: string;
  readonly repo: string;
  /** The commit. */
  readonly revision: string;
  /** What was chosen of several, and what may be asked for instead. */
  readonly took: string;
  readonly others: readonly string[];
}

/** Requests under way; each has at most a part in memory. */
const MAX_REQUESTS = 4;
const MAX_FILES = 4;
/** Small files that say which others there are. */
const FIRST = ['config.json', 'model.safetensors.index.json', 'modules.json'];

/**
 * What is in the cache is not downloaded again; a branch is asked for its newest commit, and where
 * the hub cannot be asked, the cache has to do.
 * @throws ERR_MODEL_NOT_FOUND, ERR_MODEL_ACCESS, ERR_HUB, ERR_CHECKSUM, ERR_DISK_FULL, ERR_FILE,
 * ERR_ABORTED
 */
export async function fetchModel(
  name: HubName,
  config: HubConfig,
  options: FetchOptions,
): Promise<FetchedModel> {
  try {
    return await new Fetch(name, config, options).run();
  } catch (error) {
    if (options.signal.aborted) {
      const sentence =
        `the download of ${name.repo} was given up; what has come stays in the cache, and the ` +
        'same call goes on from there';
      throw octavoError('ERR_ABORTED', sentence, { cause: error });
    }
    throw ofDisk(error, config.cacheDir);
  }
}

class Fetch {
  readonly #name: HubName;
  readonly #config: HubConfig;
  readonly #options: FetchOptions;
  readonly #cache: RepoCache;
  readonly #api: HubApi;
  #unlock: (() => Promise<void>) | null = null;

  constructor(name: HubName, config: HubConfig, options: FetchOptions) {
    this.#name = name;
    this.#config = config;
    this.#options = options;
    this.#cache = new RepoCache(config.cacheDir, name.repo);
    this.#api = new HubApi(config, name.repo, options.signal);
  }

  async run(): Promise<FetchedModel> {
    if (this.#config.offline) return this.#offline();
    let found: { readonly commit: string; readonly files: readonly ListedFile[] };
    try {
      found = await this.#ask();
    } catch (error) {
      return this.#instead(error);
    }
    try {
      return await this.#fetch(found.commit, found.files);
    } finally {
      await this.#unlock?.();
    }
  }

  /** The commit, and what it has. What never changes is asked for once. */
  async #ask() {
    const { revision } = this.#name;
    const commit = isCommit(revision) ? revision : await this.#api.commit(revision);
    const known = await this.#cache.list(commit);
    if (known !== undefined) return { commit, files: known };
    const files = await this.#api.list(commit);
    // Of a cache that can only be read, what is there may be all that is needed.
    await this.#cache.setList(commit, files).catch(() => {});
    return { commit, files };
  }

  /** The hub could not be asked, or says no: what was downloaded before will do. */
  async #instead(error: unknown): Promise<FetchedModel> {
    this.#options.signal.throwIfAborted();
    if (!isOctavoError(error)) throw error;
    const found = await this.#cached().catch(() => undefined);
    if (found === undefined) throw error;
    const { repo } = this.#name;
    this.#options.onNotice(`${error.message}; ${repo} is taken from the cache as it is there`);
    return found;
  }

  async #offline(): Promise<FetchedModel> {
    try {
      return await this.#cached();
    } catch (error) {
      if (!isOctavoError(error)) throw error;
      const how = 'without it, octavo pull gets it';
      const sentence = `HF_HUB_OFFLINE is set, and ${error.message}; ${how}`;
      throw octavoError(error.code, sentence, { param: 'model', cause: error });
    }
  }

  /** @throws ERR_MODEL_NOT_FOUND where the cache has no whole model by this name */
  async #cached(): Promise<FetchedModel> {
    const { repo, revision, want } = this.#name;
    const commit = await this.#cache.commitOf(revision);
    const files = commit === undefined ? [] : await this.#cache.files(commit);
    if (commit === undefined || files.length === 0) {
      const sentence = `${repo} (${revision}) is not in the cache ${this.#config.cacheDir}`;
      throw octavoError('ERR_MODEL_NOT_FOUND', sentence, { param: 'model' });
    }
    const where = `the cache of ${repo}`;
    const choice = chooseFiles(files, where, want, this.#options.tokenizerOnly);
    if (choice.kind === 'folder' && !this.#options.tokenizerOnly) {
      await this.#weights(commit, files, where);
    }
    return this.#fetched(commit, choice);
  }

  async #fetch(commit: string, files: readonly ListedFile[]): Promise<FetchedModel> {
    const { repo, revision, want } = this.#name;
    const { tokenizerOnly, checkConfig } = this.#options;
    const choice = chooseFiles(files, repo, want, tokenizerOnly);
    const needed = [...choice.files];
    if (choice.kind === 'folder' && !tokenizerOnly) {
      const first = needed.filter(({ path }) => FIRST.includes(path));
      await this.#download(commit, first, null);
      await checkConfig(join(this.#cache.snapshot(commit), 'config.json'));
      needed.push(...(await this.#weights(commit, files, repo)));
    }
    await this.#download(commit, needed, choice);
    this.#options.signal.throwIfAborted();
    // Only now: who is offline finds what is whole.
    await this.#cache.setRef(revision, commit).catch(() => {});
    return this.#fetched(commit, choice);
  }

  /** What index and modules, which are there, name. */
  #weights<F extends HubFile>(commit: string, files: readonly F[], where: string) {
    const text = (name: string) =>
      files.some(({ path }) => path === name)
        ? readFile(join(this.#cache.snapshot(commit), name), 'utf8')
        : undefined;
    return Promise.all([text('model.safetensors.index.json'), text('modules.json')]).then(
      ([index, modules]) => folderWeights(files, where, index, modules),
    );
  }

  #fetched(commit: string, choice: Choice<HubFile>): FetchedModel {
    const folder = this.#cache.snapshot(commit);
    const { repo } = this.#name;
    const [first] = choice.files;
    const isFile = choice.kind === 'gguf';
    return {
      path: isFile ? join(folder, first.path) : folder,
      ...{ repo, revision: commit, others: choice.others },
      took: isFile ? choice.took : 'safetensors',
    };
  }

  /**
   * Downloads what is not there.
   * @param choice what it is for; null: small files, of which nobody is told
   */
  async #download(
    commit: string,
    files: readonly HubFile[],
    choice: Choice<HubFile> | null,
  ): Promise<void> {
    if ((await this.#missing(commit, files)).length === 0) return;
    const { repo } = this.#name;
    const { signal, onNotice } = this.#options;
    this.#unlock ??= await lock(this.#cache.lockPath, signal, () =>
      onNotice(`${repo} is being downloaded by another process; waiting for it`),
    );
    const missing = await this.#missing(commit, files);
    const totalBytes = missing.reduce((sum, { size }) => sum + size, 0);
    await this.#checkRoom(missing);
    if (choice !== null && missing.length > 0) onNotice(this.#intent(missing, totalBytes, choice));
    await this.#all(commit, missing, choice === null ? null : totalBytes);
  }

  /** Blobs that another commit brought are linked on the way. */
  async #missing(commit: string, files: readonly HubFile[]): Promise<HubFile[]> {
    const missing: HubFile[] = [];
    for (const file of files) {
      if (await this.#cache.has(commit, file)) continue;
      if (await this.#cache.hasBlob(file)) await this.#cache.link(commit, file);
      else missing.push(file);
    }
    return missing;
  }

  #intent(missing: readonly HubFile[], totalBytes: number, choice: Choice<HubFile>): string {
    const { repo } = this.#name;
    const took = choice.kind === 'gguf' ? ` ${choice.took}` : '';
    const others =
      choice.others.length === 0
        ? ''
        : ` (there are also ${choice.others.slice(0, 24).join(', ')})`;
    const count = `${missing.length} file${missing.length === 1 ? '' : 's'}`;
    const size = `${count}, ${shownBytes(totalBytes)}`;
    return `downloading ${repo}${took}${others}: ${size}, to ${this.#config.cacheDir}`;
  }

  /** @throws ERR_DISK_FULL before anything is written */
  async #checkRoom(missing: readonly HubFile[]): Promise<void> {
    const folder = join(this.#cache.folder, 'blobs');
    await mkdir(folder, { recursive: true });
    let needed = 0;
    for (const file of missing) needed += file.size - (await leftOf(this.#cache.blob(file), file));
    const { bavail, bsize } = await statfs(folder);
    if (bavail * bsize >= needed) return;
    const { cacheDir } = this.#config;
    const sentence =
      `${this.#name.repo} needs ${shownBytes(needed)}, and ${cacheDir} has ` +
      `${shownBytes(bavail * bsize)} left; make room, or set HF_HUB_CACHE to another disk`;
    throw octavoError('ERR_DISK_FULL', sentence, { param: 'HF_HUB_CACHE' });
  }

  /** All at once, up to {@link MAX_FILES}; the first that fails ends the others. */
  async #all(commit: string, files: readonly HubFile[], told: number | null): Promise<void> {
    const failed = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, failed.signal]);
    const numFiles = files.length;
    let bytes = 0;
    let numDone = 0;
    const tell = () => {
      if (told === null) return;
      const { repo } = this.#name;
      this.#options.onProgress({ repo, numFiles, numDone, bytes, totalBytes: told });
    };
    const how: Downloading = {
      ...{ api: this.#api, permits: new Permits(MAX_REQUESTS), signal },
      onBytes: (count) => {
        bytes += count;
        tell();
      },
    };
    const waiting = [...files];
    const work = async () => {
      for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
        const blob = this.#cache.blob(file);
        await mkdir(dirname(blob), { recursive: true });
        // The same content may have two names.
        if (!(await this.#cache.hasBlob(file))) {
          await downloadFile(file, this.#api.urlOf(commit, file), blob, how);
        } else how.onBytes(file.size);
        await this.#cache.link(commit, file);
        numDone++;
        tell();
      }
    };
    const workers = Array.from({ length: MAX_FILES }, () =>
      work().catch((error) => {
        failed.abort(error);
        throw error;
      }),
    );
    const ends = await Promise.allSettled(workers);
    if (failed.signal.aborted) throw failed.signal.reason;
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }
}

/**
 * A model in the cache that Python's huggingface_hub has made everyone's: blobs under the hash of
 * their content, commits as folders of links to them, branches as files with a commit.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { octavoError } from '../errors.js';
import { type HubFile, isSafePath, type ListedFile } from './files.js';

const COMMIT = /^[0-9a-f]{40}$/;

export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

export class RepoCache {
  readonly folder: string;
  readonly lockPath: string;

  /** @param cacheDir the folder of all models */
  constructor(
    readonly cacheDir: string,
    repo: string,
  ) {
    const name = ['models', ...repo.split('/')].join('--');
    this.folder = join(cacheDir, name);
    this.lockPath = join(cacheDir, '.locks', name, 'octavo.lock');
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  blob({ etag }: HubFile): string {
    return join(this.folder, 'blobs', etag);
  }

  /** Where a branch or tag was when it was last asked for. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    if (!isSafePath(revision)) return undefined;
    const text = await readFile(join(this.folder, 'refs', revision), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : undefined;
  }

  async setRef(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || !isSafePath(revision)) return;
    if ((await this.commitOf(revision)) === commit) return;
    await writeWhole(join(this.folder, 'refs', revision), commit);
  }

  /** Is a file of a commit there, all of it? */
  async has(commit: string, { path, size }: HubFile): Promise<boolean> {
    return (await sizeOf(join(this.snapshot(commit), path))) === size;
  }

  async hasBlob(file: HubFile): Promise<boolean> {
    return (await sizeOf(this.blob(file))) === file.size;
  }

  /** Gives a blob its name in a commit. */
  async link(commit: string, file: HubFile): Promise<void> {
    const path = join(this.snapshot(commit), file.path);
    await mkdir(dirname(path), { recursive: true });
    const own = `${path}.${randomBytes(4).toString('hex')}.tmp`;
    await symlink(relative(dirname(path), this.blob(file)), own);
    await renameOver(own, path);
  }

  /** What of a commit is there; no etags, which only a hub knows. */
  async files(commit: string): Promise<HubFile[]> {
    const root = this.snapshot(commit);
    const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
    const found: HubFile[] = [];
    for (const entry of entries) {
      if (entry.isDirectory()) continue;
      const path = relative(root, join(entry.parentPath ?? entry.path, entry.name));
      const size = await sizeOf(join(root, path));
      if (size !== undefined) found.push({ path, size, etag: '' });
    }
    return found;
  }

  /** The list of a commit's files, which never changes; undefined where nobody kept it. */
  async list(commit: string): Promise<ListedFile[] | undefined> {
    try {
      return listed(JSON.parse(await readFile(this.#tree(commit), 'utf8')));
    } catch {
      return undefined;
    }
  }

  async setList(commit: string, files: readonly ListedFile[]): Promise<void> {
    const rows = files.map(({ path, size, blobId, lfsSha256, xetHash }) => [
      path,
      {
        ...{ size, blob_id: blobId },
        ...(lfsSha256 === undefined ? {} : { lfs_sha256: lfsSha256, lfs_size: size }),
        ...(xetHash === undefined ? {} : { xet_hash: xetHash }),
      },
    ]);
    const tree = { format_version: 1, files: Object.fromEntries(rows) };
    await writeWhole(this.#tree(commit), JSON.stringify(tree, null, 1));
  }

  #tree(commit: string): string {
    return join(this.folder, 'trees', `${commit}.json`);
  }
}

/** As Python 2's huggingface_hub keeps it; of any other form nothing is known. */
function listed(tree: { format_version?: unknown; files?: unknown }): ListedFile[] | undefined {
  if (tree.format_version !== 1 || typeof tree.files !== 'object') return undefined;
  const rows = Object.entries(tree.files as Record<string, Record<string, unknown>>);
  const files = rows.map(([path, row]) => ({
    path,
    size: Number(row.lfs_size ?? row.size),
    etag: String(row.lfs_sha256 ?? row.blob_id),
    blobId: String(row.blob_id),
    lfsSha256: row.lfs_sha256 as string | undefined,
    xetHash: row.xet_hash as string | undefined,
  }));
  return files.every(isListed) ? files : undefined;
}

/** Are its names fit to be joined to paths? */
export function isListed({ path, size, etag }: HubFile): boolean {
  return (
    isSafePath(path) && Number.isSafeInteger(size) && size >= 0 && /^[0-9a-f]{40,64}$/.test(etag)
  );
}

async function sizeOf(path: string): Promise<number | undefined> {
  const info = await stat(path).catch(() => undefined);
  return info?.isFile() ? info.size : undefined;
}

/** Readers see the old file or the new one. */
async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const own = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  await writeFile(own, text);
  await renameOver(own, path);
}

async function renameOver(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    await rm(from, { force: true });
    throw error;
  }
}

/**
 * What a file system refuses, with what to do: whatever its code, as a folder that cannot be made
 * in one that can only be read is ENOENT. Other errors stay as they are.
 */
export function ofDisk(error: unknown, cacheDir: string): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (syscall === undefined || code === undefined) return error;
  const param = 'HF_HUB_CACHE';
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const sentence =
      `no room is left for models in ${cacheDir}; make some, or set HF_HUB_CACHE to another disk ` +
      '(what has come stays)';
    return octavoError('ERR_DISK_FULL', sentence, { param, cause: error });
  }
  const sentence = `cannot write to the cache of models: ${message}; HF_HUB_CACHE names another`;
  return octavoError('ERR_FILE', sentence, { param, cause: error });
}

/** A file as a hub lists it. */
export interface HubFile {
  /** Under the repository's root, with slashes. */
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Name of its blob: the SHA-256 of a large file, git's own hash of others. */
  readonly etag: string;
}

/** What a list has beside {@link HubFile}: so much as Python keeps of it. */
export interface ListedFile extends HubFile {
  readonly blobId: string;
  readonly lfsSha256: string | undefined;
  readonly xetHash: string | undefined;
}

/** Could this be a file under a folder, and nowhere else? It comes from a stranger. */
export function isSafePath(path: string): boolean {
  const parts = path.split('/');
  return parts.every(
    (part) => part !== '' && part !== '.' && part !== '..' && !/[\\\0]/.test(part),
  );
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** 4.4 GiB */
export function shownBytes(n: number): string {
  let unit = 0;
  while (n >= 1024 && unit < UNITS.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${n.toFixed(unit === 0 || n >= 100 ? 0 : 1)} ${UNITS[unit]}`;
}

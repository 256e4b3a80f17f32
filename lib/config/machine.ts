/** What this process may take of the machine: cores and memory, its control groups included. */
import { readFileSync } from 'node:fs';
import { availableParallelism, freemem } from 'node:os';
import { join } from 'node:path';

/** Reads a small file of the system; undefined where there is none. */
export type ReadFile = (path: string) => string | undefined;

/** Cores this process may really use: CPU affinity and the quotas of its control groups. */
export function availableCores(): number {
  // One thread too many waits in turn for the quota of all others, so a part of a core is none.
  return Math.max(1, Math.min(availableParallelism(), Math.floor(quotaCores(readSystemFile))));
}

/**
 * Memory this process could still take, in bytes: the cgroup's limit counts, pages that hold files
 * do not, for they give way.
 */
export function availableMemory(): number {
  const left = process.availableMemory?.() ?? freemem();
  return Math.min(freemem(), left + cachedBytes(readSystemFile));
}

/** Bytes of files that lie in memory on the account of this process's group; 0 = no limit. */
export function cachedBytes(read: ReadFile): number {
  for (const { folder, root, version } of cgroupMounts(read, 'memory')) {
    const own = pathIn(read, version, 'memory');
    if (own === undefined) continue;
    const path = root !== '/' && own.startsWith(root) ? own.slice(root.length) : own;
    const stat = read(join(folder, path, 'memory.stat')) ?? '';
    const prefix = version === 1 ? 'total_' : '';
    const bytesOf = (name: string) =>
      Number(new RegExp(`^${prefix}${name} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0);
    return bytesOf('inactive_file') + bytesOf('active_file');
  }
  return 0;
}

/**
 * The least CPU quota of the control groups that a process is in, in cores; Infinity where there is
 * none. Version 1 and 2, each group with all groups above it that are visible here.
 */
export function quotaCores(read: ReadFile): number {
  let least = Number.POSITIVE_INFINITY;
  for (const { folder, root, version } of cgroupMounts(read, 'cpu')) {
    const own = pathIn(read, version, 'cpu');
    if (own === undefined) continue;
    // A container sees its own group as the mount's root; outside, the path goes on below it.
    let path = root !== '/' && own.startsWith(root) ? own.slice(root.length) : own;
    for (;;) {
      least = Math.min(least, quotaOf(read, join(folder, path), version));
      if (path === '/' || path === '') break;
      path = path.slice(0, path.lastIndexOf('/'));
    }
  }
  return least;
}

type Controller = 'cpu' | 'memory';

interface Mount {
  readonly folder: string;
  /** What of the hierarchy is mounted there. */
  readonly root: string;
  readonly version: 1 | 2;
}

/** The mounts of control groups that have to do with this, by /proc/self/mountinfo. */
function cgroupMounts(read: ReadFile, what: Controller): Mount[] {
  const lines = (read('/proc/self/mountinfo') ?? '').split('\n');
  return lines.flatMap((line): Mount[] => {
    const [mount, type = ''] = line.split(' - ');
    const [, , , root = '/', folder = ''] = mount.split(' ');
    const [kind, , options = ''] = type.split(' ');
    if (kind === 'cgroup2') return [{ folder, root, version: 2 }];
    const isIt = kind === 'cgroup' && options.split(',').includes(what);
    return isIt ? [{ folder, root, version: 1 }] : [];
  });
}

/** The group this process is in, as /proc/self/cgroup names it. */
function pathIn(read: ReadFile, version: 1 | 2, what: Controller): string | undefined {
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, ...path] = line.split(':');
    const fits = version === 2 ? controllers === '' : controllers?.split(',').includes(what);
    if (fits) return path.join(':');
  }
  return undefined;
}

function quotaOf(read: ReadFile, folder: string, version: 1 | 2): number {
  const [quota, period] =
    version === 2
      ? (read(join(folder, 'cpu.max')) ?? '').trim().split(' ')
      : [read(join(folder, 'cpu.cfs_quota_us')), read(join(folder, 'cpu.cfs_period_us'))];
  const cores = Number(quota) / Number(period);
  // "max", −1 and a missing file all mean that there is none.
  return cores > 0 ? cores : Number.POSITIVE_INFINITY;
}

function readSystemFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

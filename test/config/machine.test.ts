import { availableParallelism } from 'node:os';
import { expect, it } from 'vitest';
import {
  availableCores,
  availableMemory,
  cachedBytes,
  quotaCores,
} from '../../lib/config/machine.js';

/** A machine's small files. */
const quota = (files: Record<string, string>) => quotaCores((path) => files[path]);
const V2 = '30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n';
const V1 =
  '31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n' +
  '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n' +
  '33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n';

it('no group, no quota', () => {
  expect(quota({})).toBe(Number.POSITIVE_INFINITY);
  const files = { '/proc/self/mountinfo': V2, '/proc/self/cgroup': '0::/\n' };
  expect(quota(files)).toBe(Number.POSITIVE_INFINITY);
  expect(quota({ ...files, '/sys/fs/cgroup/cpu.max': 'max 100000\n' })).toBe(
    Number.POSITIVE_INFINITY,
  );
});

it('version 2: the least of the own group and those above it', () => {
  const files = {
    '/proc/self/mountinfo': V2,
    '/proc/self/cgroup': '0::/system.slice/app.service\n',
    '/sys/fs/cgroup/system.slice/cpu.max': '250000 100000\n',
    '/sys/fs/cgroup/system.slice/app.service/cpu.max': 'max 100000\n',
  };
  expect(quota(files)).toBe(2.5);
  const own = { '/sys/fs/cgroup/system.slice/app.service/cpu.max': '75000 50000\n' };
  expect(quota({ ...files, ...own })).toBe(1.5);
  expect(quota({ ...files, '/proc/self/cgroup': '0::/\n' })).toBe(Number.POSITIVE_INFINITY);
});

it('version 1, also beside a version 2 without controllers', () => {
  const files = {
    '/proc/self/mountinfo': `${V1}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n`,
    '/proc/self/cgroup': '3:cpuset:/other\n1:cpu,cpuacct:/job\n0::/\n',
    '/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us': '400000\n',
    '/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us': '100000\n',
  };
  expect(quota(files)).toBe(4);
  const none = { '/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us': '-1\n' };
  expect(quota({ ...files, ...none })).toBe(Number.POSITIVE_INFINITY);
});

it('a container whose own group is the root of the mount', () => {
  const files = {
    '/proc/self/mountinfo': '32 31 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n',
    '/proc/self/cgroup': '1:cpu:/docker/abc\n',
    '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '765000\n',
    '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
  };
  expect(quota(files)).toBe(7.65);
  expect(quota({ ...files, '/proc/self/cgroup': '1:cpu:/docker/abc/inner\n' })).toBe(7.65);
});

it('files that a group has in memory, which give way', () => {
  const stat = 'anon 5\ninactive_file 4096\nactive_file 8192\nworkingset_inactive_file 7\n';
  const own = {
    '/proc/self/mountinfo': V2,
    '/proc/self/cgroup': '0::/app\n',
    '/sys/fs/cgroup/app/memory.stat': stat,
  };
  const cached = (files: Record<string, string>) => cachedBytes((path) => files[path]);
  expect(cached(own)).toBe(12_288);
  expect(cached({ ...own, '/proc/self/cgroup': '0::/other\n' })).toBe(0);
  expect(cached({})).toBe(0);
  const first = {
    '/proc/self/mountinfo':
      '3 2 0:29 /docker/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n',
    '/proc/self/cgroup': '9:memory:/docker/a\n1:cpu:/docker/a\n',
    '/sys/fs/cgroup/memory/memory.stat': `${stat}total_inactive_file 1\ntotal_active_file 2\n`,
  };
  expect(cached(first)).toBe(3);
});

it('this machine has a core and some memory', () => {
  expect(availableCores()).toBeGreaterThanOrEqual(1);
  expect(availableCores()).toBeLessThanOrEqual(availableParallelism());
  expect(availableMemory()).toBeGreaterThan(2 ** 20);
});

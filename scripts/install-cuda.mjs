// Whether an addon is compiled with CUDA, and for which GPUs.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { findProgram } from './find-program.mjs';

export const ALL_ARCHS = '80-real;86-real;89-real;90a-real;90-virtual';

/** An NVIDIA driver is here (WSL's has a device of its own). */
export function hasDriver() {
  return ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/dev/dxg'].some((p) => existsSync(p));
}

/**
 * {archs: CMake's list or '', nvcc, why: a sentence}. `wish` is OCTAVO_CUDA; `fail(message)` is
 * called where it cannot be had.
 */
export function chooseCuda(wish, fail) {
  if (!['', 'all', 'native', 'off'].includes(wish)) {
    fail(`OCTAVO_CUDA is "${wish}"; use all, native or off`);
  }
  if (wish === 'off') return { archs: '', why: 'CPU only (OCTAVO_CUDA=off)' };
  const nvcc = findProgram('nvcc', '/usr/local/cuda/bin');
  const driver = hasDriver();
  if (!nvcc) {
    if (wish) fail(`OCTAVO_CUDA=${wish} needs nvcc in PATH; install the CUDA toolkit`);
    return { archs: '', why: 'CPU only (no nvcc found)' };
  }
  if (wish === 'all') return { archs: ALL_ARCHS, nvcc, why: 'CPU and CUDA (all targets)' };
  if (!driver) {
    if (wish) fail('OCTAVO_CUDA=native needs an NVIDIA driver; use OCTAVO_CUDA=all without one');
    return { archs: '', why: 'CPU only (nvcc, but no NVIDIA driver; OCTAVO_CUDA=all builds CUDA)' };
  }
  return { ...nativeArch(), nvcc };
}

function nativeArch() {
  const smi = findProgram('nvidia-smi');
  if (!smi) return { archs: ALL_ARCHS, why: 'CPU and CUDA (all targets; no nvidia-smi to ask)' };
  const text = execFileSync(smi, ['--query-gpu=compute_cap', '--format=csv,noheader'], {
    encoding: 'utf8',
  });
  const sms = [
    ...new Set(
      text
        .trim()
        .split('\n')
        .map((s) => s.trim().replace('.', '')),
    ),
  ];
  const archs = sms.map((sm) => (sm === '90' ? '90a-real' : `${sm}-real`)).join(';');
  return { archs, why: `CPU and CUDA (sm ${sms.join(', ')})` };
}

import { expect, it } from 'vitest';
import { overBudget, parseLog } from '../../scripts/check-registers.mjs';

const entry = (kernel: string, target: string, registers: number, spilled = 0) => `
ptxas info    : Compiling entry function '${kernel}' for '${target}'
ptxas info    : Function properties for ${kernel}
    0 bytes stack frame, ${spilled} bytes spill stores, 0 bytes spill loads
ptxas info    : Used ${registers} registers, used 1 barriers`;
const PLAIN = '_ZN6octavo6device12_GLOBAL__N_118copy_blocks_kernelEPclPKNS_9BlockCopyE';

it('reads kernels, targets, registers and spills from a build log', () => {
  const log = `[1/2] Building\n${entry(PLAIN, 'sm_80', 40)}${entry(PLAIN, 'sm_90a', 38, 16)}\n`;
  expect(parseLog(log)).toEqual([
    { kernel: 'copy_blocks_kernel', target: 'sm_80', registers: 40, spilled: 0 },
    { kernel: 'copy_blocks_kernel', target: 'sm_90a', registers: 38, spilled: 16 },
  ]);
  expect(parseLog('nothing was compiled')).toEqual([]);
});

it('complains of spills, of too many registers, of kernels without a budget', () => {
  const kernels = parseLog(entry(PLAIN, 'sm_80', 40));
  expect(overBudget(kernels, { copy_blocks_kernel: 40 })).toEqual([]);
  expect(overBudget(kernels, { copy_blocks_kernel: 39 })[0]).toMatch(/40 registers on sm_80/);
  expect(overBudget(kernels, {})[0]).toMatch(/no budget/);
  const spilling = parseLog(entry(PLAIN, 'sm_80', 40, 8));
  expect(overBudget(spilling, { copy_blocks_kernel: 255 })[0]).toMatch(/spills 8 bytes/);
});

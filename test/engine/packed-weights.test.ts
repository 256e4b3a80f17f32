// Which weights stay packed, what info says of it, and what memory they take.
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { PACKED_ON_DEVICE } from '../../lib/engine/room.js';
import { LLM } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { ROOT, testAddon } from '../support/addon.js';

const FIXTURES = join(ROOT, 'test', 'fixtures');
const MODELS = [
  ...['gguf/llama-mixed.gguf', 'gguf/qwen3-moe-q4_k_m.gguf', 'gguf/gpt-oss-mxfp4.gguf'],
  ...['formats/ct-mixed', 'formats/fp8-tensor', 'formats/ct-nvfp4', 'gguf/llama-iq.gguf'],
];
const SMALL = { maxModelLen: 32, maxNumSeqs: 1, maxNumBatchedTokens: 32, swapSpace: 0 };
const load = (model: string, device: 'cpu' | 'simt') =>
  LLM.loadWith({ ...SMALL, model: join(FIXTURES, model), device }, testAddon());

it.each(MODELS)('%s keeps on a GPU what is said to stay packed there', async (model) => {
  const { tensors } = await openCheckpoint(join(FIXTURES, model));
  const llm = await load(model, 'simt');
  const { weights, weightBytes, dtype } = llm.info;
  await llm.close();
  const matrices = new Set(tensors.filter(({ rows }) => rows > 1).map((t) => t.dtype));
  for (const stored of matrices) expect(weights.map((w) => w.stored)).toContain(stored);
  for (const { stored, kept, numMatrices, bytes } of weights) {
    expect(kept).toBe(
      PACKED_ON_DEVICE.includes(stored) ? stored : dtype === 'float16' ? 'F16' : 'BF16',
    );
    expect(numMatrices).toBeGreaterThan(0);
    expect(bytes).toBeGreaterThan(0);
  }
  expect(weights.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(weightBytes);
});

it('on a GPU few bits stay few: a matrix takes what its type says, and whole tiles', async () => {
  const model = 'gguf/qwen3-moe-q4_k_m.gguf';
  const { tensors } = await openCheckpoint(join(FIXTURES, model));
  const [gpu, cpu] = [await load(model, 'simt'), await load(model, 'cpu')];
  const bytesOf = ({ info }: LLM) => new Map(info.weights.map((w) => [w.stored, w.bytes]));
  const [there, here] = [bytesOf(gpu), bytesOf(cpu)];
  await Promise.all([gpu.close(), cpu.close()]);
  for (const stored of ['Q4_K', 'Q6_K'] as const) {
    const values = tensors
      .filter((t) => t.dtype === stored)
      .reduce((sum, { rows, cols }) => sum + Math.ceil(rows / 16) * 16 * cols, 0);
    // 148 bytes for 256 values: scales and mins of six bits lie in a byte each. Q6_K: as stored.
    expect(there.get(stored)).toBe((values / 256) * (stored === 'Q4_K' ? 148 : 210));
    expect(here.has(stored)).toBe(true);
  }
});

/** GGUF files of models of mixers give what their folders' reference says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../support/addon.js';
import { type GoldenPrompt, RawModel, readF32Tensors, rowError } from '../support/goldens.js';
import { mixerGguf } from '../support/mixer-gguf.js';
import { temporaryFolder } from '../support/write-model.js';

const CASES = join(ROOT, 'test', 'fixtures', 'models');
const FOLDER = temporaryFolder();

it.each(['mamba2', 'falcon-h1'] as const)('%s', async (name) => {
  const golden = JSON.parse(readFileSync(join(CASES, name, 'golden.json'), 'utf8')) as {
    prompts: GoldenPrompt[];
  };
  const expected = readF32Tensors(join(CASES, name, 'logits.safetensors'));
  const raw = await RawModel.open(mixerGguf(FOLDER, name));
  try {
    for (const [i, prompt] of golden.prompts.entries()) {
      const { data } = expected.get(`logits.${i}`)!;
      const ids = [...prompt.prompt_token_ids, ...prompt.greedy_token_ids];
      const rows = await raw.logits(ids, prompt.logits_positions, i % 2 === 0 ? 512 : 9);
      rows.forEach((row, j) => {
        const theirs = data.subarray(j * raw.vocabSize, (j + 1) * raw.vocabSize);
        expect(rowError(row, theirs)).toBeLessThanOrEqual(1e-4);
      });
    }
  } finally {
    await raw.close();
  }
});

/** Text models inside those that see: what they say of text is what they say alone. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { ROOT } from '../support/addon.js';
import { type GoldenPrompt, RawModel, readF32Tensors, rowError } from '../support/goldens.js';
import { nestModel } from '../support/nest-model.js';
import { temporaryFolder } from '../support/write-model.js';

const FIXTURES = join(ROOT, 'test', 'fixtures', 'models');
const base = temporaryFolder();

// Of text all three positions of mrope are one: it is rope.
const sections = { mrope_section: [8, 12, 12] };
const mrope = (type: string) => ({ rope_scaling: { type, ...sections } });
/** As today: theta lies among them, too. */
const parameters = {
  rope_scaling: undefined,
  rope_theta: undefined,
  rope_parameters: { rope_type: 'default', rope_theta: 1e6, ...sections },
};

const cases = [
  ['qwen2', 'qwen2_vl', 'model.language_model.', { model_type: 'qwen2_vl_text', ...parameters }],
  [
    'qwen2',
    'qwen2_5_vl',
    'model.language_model.',
    { model_type: 'qwen2_5_vl_text', ...mrope('mrope') },
  ],
  ['qwen2', 'qwen2_vl', 'language_model.model.', { model_type: 'qwen2_vl', ...mrope('default') }],
  ['mistral-window', 'mistral3', 'model.language_model.', {}],
  ['mistral-window', 'mistral3', 'language_model.model.', {}],
] as const;

it.each(cases)('%s inside %s, tensors named %s…', async (name, outer, prefix, inner) => {
  const plain = join(FIXTURES, name);
  const folder = join(base, `${name}-${outer}-${prefix}`);
  mkdirSync(folder);
  nestModel(plain, folder, prefix, { model_type: outer }, inner);
  const { prompts } = JSON.parse(readFileSync(join(plain, 'golden.json'), 'utf8')) as {
    prompts: GoldenPrompt[];
  };
  const expected = readF32Tensors(join(plain, 'logits.safetensors'));
  const raw = await RawModel.open(folder);
  try {
    for (const [i, { prompt_token_ids, greedy_token_ids, ...golden }] of prompts.entries()) {
      const { data } = expected.get(`logits.${i}`)!;
      const ids = [...prompt_token_ids, ...greedy_token_ids];
      const rows = await raw.logits(ids, golden.logits_positions, 9);
      rows.forEach((row, j) => {
        const theirs = data.subarray(j * raw.vocabSize, (j + 1) * raw.vocabSize);
        expect(rowError(row, theirs)).toBeLessThanOrEqual(1e-4);
      });
    }
  } finally {
    await raw.close();
  }
  const llm = await LLM.load({ model: folder, activations: 'f32', kvCacheDtype: 'float32' });
  try {
    const outputs = await llm.generate(
      prompts.map((p) => ({ promptTokenIds: p.prompt_token_ids })),
      { temperature: 0, maxTokens: prompts[0].greedy_token_ids.length, ignoreEos: true },
    );
    const ids = outputs.map(({ outputs: [{ tokenIds }] }) => tokenIds);
    expect(ids).toEqual(prompts.map((p) => p.greedy_token_ids));
  } finally {
    await llm.close();
  }
});

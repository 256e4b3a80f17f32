import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { DTYPES } from '../../lib/native.js';
import { ROOT } from '../support/addon.js';
import {
  type GoldenPrompt,
  RawModel,
  readF32Tensors,
  rmsError,
  rowError,
} from '../support/goldens.js';

// Logits: |ours − reference| ≤ 1e-4 · max|row|, the bound of the reference's README for F32
// arithmetic whatever the weights are stored in.
const TOLERANCE = 1e-4;
const FIXTURES = join(ROOT, 'test', 'fixtures');

interface Case {
  readonly name: string;
  readonly model: string;
  readonly prompts: GoldenPrompt[];
  readonly logits: string;
}

function readCases(): Case[] {
  const cases: Case[] = [];
  const read = (path: string) =>
    JSON.parse(readFileSync(path, 'utf8')) as { prompts: GoldenPrompt[] };
  const models = join(FIXTURES, 'models');
  for (const name of readdirSync(models)) {
    const folder = join(models, name);
    if (!existsSync(join(folder, 'golden.json'))) continue;
    const { prompts } = read(join(folder, 'golden.json'));
    cases.push({ name, model: folder, prompts, logits: join(folder, 'logits.safetensors') });
  }
  const ggufs = join(FIXTURES, 'gguf');
  for (const file of readdirSync(ggufs).filter((f) => f.endsWith('.gguf'))) {
    const base = join(ggufs, file.slice(0, -5));
    const { prompts } = read(`${base}.golden.json`);
    cases.push({
      name: `gguf ${file}`,
      model: join(ggufs, file),
      prompts,
      logits: `${base}.logits.safetensors`,
    });
  }
  const demo = join(FIXTURES, 'octavo-demo');
  cases.push({
    name: 'octavo-demo',
    model: join(ROOT, 'models', 'octavo-demo'),
    prompts: read(join(demo, 'golden.json')).prompts,
    logits: join(demo, 'logits.safetensors'),
  });
  return cases;
}

const cases = readCases();

it('there are as many cases as the reference has', () => {
  expect(cases.length).toBe(16 + 9 + 1);
});

describe.each(cases)('$name', ({ model, prompts, logits }) => {
  it('gives the reference logits, in one go and in odd chunks', async () => {
    const expected = readF32Tensors(logits);
    const raw = await RawModel.open(model);
    try {
      let worst = 0;
      for (const [i, golden] of prompts.entries()) {
        const { data } = expected.get(`logits.${i}`)!;
        const ids = [...golden.prompt_token_ids, ...golden.greedy_token_ids];
        const rows = await raw.logits(ids, golden.logits_positions, i % 2 === 0 ? 512 : 7);
        rows.forEach((row, j) => {
          const theirs = data.subarray(j * raw.vocabSize, (j + 1) * raw.vocabSize);
          worst = Math.max(worst, rowError(row, theirs));
        });
      }
      expect(worst).toBeLessThanOrEqual(TOLERANCE);
    } finally {
      await raw.close();
    }
  });

  it.each([
    ['float32', 1e-3],
    ['auto', 2e-2], // float16 where weights have 16 bits
  ] as const)(
    'gives the reference tokens and logprobs at once, KV %s',
    async (kvCacheDtype, most) => {
      const llm = await LLM.load({ model, activations: 'f32', kvCacheDtype });
      try {
        const outputs = await llm.generate(
          prompts.map((p) => ({ promptTokenIds: p.prompt_token_ids })),
          prompts.map((p) => ({
            temperature: 0,
            maxTokens: p.greedy_token_ids.length,
            ignoreEos: true,
            logprobs: 1,
          })),
        );
        outputs.forEach(({ outputs: [output] }, i) => {
          expect(output.tokenIds).toEqual(prompts[i].greedy_token_ids);
          output.logprobs!.forEach(({ logprob }, j) => {
            expect(Math.abs(logprob - prompts[i].greedy_logprobs[j])).toBeLessThan(most);
          });
        });
      } finally {
        await llm.close();
      }
    },
  );
});

// Quantised weights meet int8 activations by default. llama.cpp, teacher-forced along the same ids,
// was off by these logprobs at most (goldens' README).
describe.each([
  ['llama-q8_0', 0.23],
  ['llama-q4_0', 0.18],
  ['llama-mixed', 0.2],
] as const)('%s with int8 activations', (name, theirError) => {
  const { model, prompts } = cases.find((c) => c.name === `gguf ${name}.gguf`)!;

  it('is no further from the reference than llama.cpp', async () => {
    const raw = await RawModel.open(model, { activations: 'int8' });
    let worst = 0;
    try {
      for (const golden of prompts) {
        const { greedy_token_ids: ids, greedy_logprobs: logprobs } = golden;
        const first = golden.prompt_token_ids.length - 1;
        const positions = ids.map((_, j) => first + j);
        const rows = await raw.logits([...golden.prompt_token_ids, ...ids], positions, 19);
        rows.forEach((row, j) => {
          const error = Math.abs(logprobOf(row, ids[j]) - logprobs[j]);
          worst = Math.max(worst, error);
        });
      }
    } finally {
      await raw.close();
    }
    expect(worst).toBeLessThanOrEqual(theirError);
    expect(worst).toBeGreaterThan(1e-3); // it did round
  });
});

function logprobOf(row: Float32Array, id: number): number {
  const max = row.reduce((m, x) => Math.max(m, x), Number.NEGATIVE_INFINITY);
  const sum = row.reduce((s, x) => s + Math.exp(x - max), 0);
  return row[id] - max - Math.log(sum);
}

// On the CUDA kernels (emulated): activations and KV are bfloat16, so the bound is its rounding's:
// rows err by 0.9 % of their norm on average, 2.6 % at most. float16, whose steps are 8 times finer,
// errs by an eighth; an error that is not rounding would not shrink so.
describe.each(cases.filter(({ name }) => name !== 'octavo-demo'))(
  '$name through the CUDA sources',
  ({ model, prompts, logits }) => {
    it.each([
      ['bfloat16', DTYPES.BF16, 2.4e-2],
      ['float16', DTYPES.F16, 3e-3],
    ])('gives the reference logits as near as %s can', async (_, activation, bound) => {
      const expected = readF32Tensors(logits);
      const raw = await RawModel.open(model, { device: { index: 0, activation } });
      try {
        const golden = prompts[0];
        const { data } = expected.get('logits.0')!;
        const ids = [...golden.prompt_token_ids, ...golden.greedy_token_ids];
        const rows = await raw.logits(ids, golden.logits_positions, 13);
        const errors = rows.map((row, j) =>
          rmsError(row, data.subarray(j * raw.vocabSize, (j + 1) * raw.vocabSize)),
        );
        expect(Math.max(...errors)).toBeLessThanOrEqual(2 * bound);
        expect(errors.reduce((sum, e) => sum + e, 0) / errors.length).toBeLessThanOrEqual(bound);
      } finally {
        await raw.close();
      }
    });
  },
);

describe('octavo-demo text', () => {
  const golden = JSON.parse(readFileSync(join(FIXTURES, 'octavo-demo', 'golden.json'), 'utf8')) as {
    prompts: { text: string; greedy_text: string; prompt_token_ids: number[] }[];
    validation: { tokens: number; mean_nll: number; first_window_nll: number[] };
  };

  it('continues texts as the reference does', async () => {
    const llm = await LLM.load({ kvCacheDtype: 'float32' });
    try {
      const outputs = await llm.generate(
        golden.prompts.map((p) => p.text),
        { temperature: 0, maxTokens: 48, ignoreEos: true, skipSpecialTokens: false },
      );
      outputs.forEach((output, i) => {
        expect(output.promptTokenIds).toEqual(golden.prompts[i].prompt_token_ids);
        expect(output.outputs[0].text).toBe(golden.prompts[i].greedy_text);
      });
    } finally {
      await llm.close();
    }
  });

  it('has the reference loss on held-out text', async () => {
    const llm = await LLM.load({ kvCacheDtype: 'float32' });
    try {
      const text = readFileSync(join(FIXTURES, 'octavo-demo', 'validation.txt'), 'utf8');
      const ids = await llm.tokenizer.encode(text, { addSpecialTokens: false });
      const windows: number[][] = [];
      for (let at = 0; at < Math.min(ids.length, 4096); at += 511) {
        windows.push([0, ...ids.slice(at, Math.min(at + 511, 4096))]);
      }
      const outputs = await llm.generate(
        windows.map((promptTokenIds) => ({ promptTokenIds })),
        { maxTokens: 1, promptLogprobs: 0 },
      );
      const losses = outputs.map((o) => o.promptLogprobs!.slice(1).map((p) => -p!.logprob));
      const all = losses.flat();
      expect(all.length).toBe(golden.validation.tokens);
      const mean = all.reduce((sum, x) => sum + x, 0) / all.length;
      expect(Math.abs(mean - golden.validation.mean_nll)).toBeLessThan(1e-4);
      losses[0].forEach((loss, i) => {
        expect(Math.abs(loss - golden.validation.first_window_nll[i])).toBeLessThan(2e-3);
      });
    } finally {
      await llm.close();
    }
  });
});

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'vitest';
import { ROOT } from '../support/addon.js';
import { itAll, sample } from '../support/all.js';
import { readF32Tensors } from '../support/goldens.js';
import { run } from '../support/programs.js';
import { SEED } from '../support/seed.js';
import { temporaryFolder } from '../support/write-model.js';

interface GoldenCase {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  repetition_penalty?: number;
  frequency_penalty?: number;
  presence_penalty?: number;
  allowed_token_ids?: number[];
  logit_bias?: Record<string, number>;
  bad_words_token_ids?: number[][];
  min_tokens?: number;
  eos_token_ids?: number[];
}

/** The golden distributions as the text records that octavo_sample_test reads. */
function sampleRecords(): string {
  const folder = join(ROOT, 'test', 'fixtures', 'sampling');
  const golden = JSON.parse(readFileSync(join(folder, 'sampling.json'), 'utf8')) as {
    vocab: number;
    prompt_token_ids: number[][];
    output_token_ids: number[][];
    cases: GoldenCase[];
  };
  const tensors = readF32Tensors(join(folder, 'sampling.safetensors'));
  const { vocab } = golden;
  const rowOf = (name: string, row: number) =>
    Array.from(tensors.get(name)!.data.subarray(row * vocab, (row + 1) * vocab));
  const records: string[] = [];
  golden.cases.forEach((c, k) => {
    golden.prompt_token_ids.forEach((prompt, row) => {
      const output = golden.output_token_ids[row];
      const begins = (word: number[]) =>
        word.length === 1 || output.slice(1 - word.length).join() === word.slice(0, -1).join();
      const banned = (c.bad_words_token_ids ?? []).filter(begins).map((word) => word.at(-1)!);
      if (output.length < (c.min_tokens ?? 0)) banned.push(...c.eos_token_ids!);
      const bias = Object.entries(c.logit_bias ?? {});
      const list = (values: (number | string)[]) => `${values.length} ${values.join(' ')}`;
      const allowed = c.allowed_token_ids;
      records.push(
        [
          records.length + 1,
          c.temperature ?? 1,
          c.top_p ?? 1,
          c.min_p ?? 0,
          c.repetition_penalty ?? 1,
          c.frequency_penalty ?? 0,
          c.presence_penalty ?? 0,
          c.top_k ?? 0,
          allowed?.length ?? -1,
          list(allowed ?? []),
          list(banned),
          list(bias.map(([id]) => id)),
          list(bias.map(([, b]) => b)),
          list(prompt),
          list(output),
          list(rowOf('logits', row)),
          list(rowOf('logprobs', row)),
          list(rowOf(`probabilities.${k}`, row)),
        ].join(' '),
      );
    });
  });
  return `${records.join('\n')}\n`;
}

it('sampler: float64 reference, draws, goldens', () => {
  const path = join(temporaryFolder(), 'sampling.txt');
  writeFileSync(path, sampleRecords());
  run('octavo_sample_test', ['--goldens', path]);
});

it('CPU ops: float64 references on every instruction set of this machine', () => {
  for (let i = 0; i < sample(1, 3); i++) run('octavo_cpu_test', [`${SEED + i}`]);
});

it('models as programs: what specs compile to, weights, cuts, unlike layers', () => {
  run('octavo_model_test', [`${SEED}`]);
});

it('grammars: what they must do, and random ones beside a slow matcher', () => {
  run('octavo_grammar_test', [`${SEED}`, `${sample(60, 1000)}`]);
});

itAll('grammars under ASan and UBSan, and many spoilt programs', () => {
  run('octavo_grammar_asan_test', [`${SEED}`, '5', `${sample(0, 20_000)}`]);
});

itAll('grammars under TSan', () =>
  run('octavo_grammar_tsan_test', [`${SEED}`, '2', `${sample(0, 500)}`]),
);

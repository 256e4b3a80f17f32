import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { FAMILIES, HF_FAMILIES, WRAPPERS } from '../../../lib/model/families/index.js';
import { withTable } from '../../../scripts/family-table.mjs';
import { ROOT } from '../../support/addon.js';
import { specOf } from '../../support/specs.js';

it('has a row for what each file says', () => {
  const rows = FAMILIES.flatMap(({ hf, gguf }) => [...Object.values(hf), ...Object.values(gguf)]);
  const families = new Set(rows.map(({ name }) => name));
  const folder = join(ROOT, 'lib/model/families');
  const others = ['index.ts', 'shared.ts', 'gemma.ts', 'experts.ts', 'encoders.ts'];
  const isShared = (name: string) => others.includes(name) || name.startsWith('shared-');
  for (const file of readdirSync(folder).filter((name) => !isShared(name))) {
    const text = readFileSync(join(folder, file), 'utf8');
    const said = [...text.matchAll(/^export function (\w+)\(c: Config\): FamilySpec/gm)];
    expect(said.length, file).toBeGreaterThan(0);
    for (const [, name] of said) expect(families.delete(name), name).toBe(true);
  }
  expect([...families]).toEqual([]);
});

it('knows the text models inside of others', () => {
  for (const inner of Object.values(WRAPPERS).flat()) expect(HF_FAMILIES).toHaveProperty([inner]);
  expect(WRAPPERS.mistral3).toContain('mistral');
});

it('stands in the README as it is here', () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  expect(withTable(readme, FAMILIES)).toBe(readme);
  expect(readme).toContain(
    '| Gemma 3, EmbeddingGemma | `gemma3_text`, inside `gemma3` | `gemma3`, `gemma-embedding` |',
  );
});

/** As the configuration classes of transformers have them. */
interface Omitted {
  readonly eps: number;
  readonly numKvHeads: number;
  readonly headSize: number;
  readonly theta: number;
  readonly windows: readonly number[];
  readonly tied: boolean;
  /** Of a rope that is scaled even so. */
  readonly factor?: number;
}
const OMITTED: Readonly<Record<string, Omitted>> = {
  arcee: { eps: 1e-5, numKvHeads: 32, headSize: 2, theta: 1e4, windows: [0], tied: false },
  cohere: { eps: 1e-5, numKvHeads: 32, headSize: 2, theta: 5e5, windows: [0], tied: true },
  cohere2: { eps: 1e-5, numKvHeads: 32, headSize: 2, theta: 1e4, windows: [4096], tied: true },
  deepseek_v2: { eps: 1e-6, numKvHeads: 1, headSize: 576, theta: 1e4, windows: [0], tied: false },
  deepseek_v3: { eps: 1e-6, numKvHeads: 1, headSize: 576, theta: 1e4, windows: [0], tied: false },
  ernie4_5: { eps: 1e-5, numKvHeads: 2, headSize: 128, theta: 5e5, windows: [0], tied: true },
  exaone4: { eps: 1e-5, numKvHeads: 32, headSize: 2, theta: 1e4, windows: [4096], tied: false },
  falcon_h1: { eps: 1e-5, numKvHeads: 8, headSize: 2, theta: 1e4, windows: [0], tied: false },
  gemma2: { eps: 1e-6, numKvHeads: 4, headSize: 256, theta: 1e4, windows: [4096, 0], tied: true },
  gemma3_text: { eps: 1e-6, numKvHeads: 4, headSize: 256, theta: 1e6, windows: [4096], tied: true },
  // The last pairs of its first rope stand still.
  gemma4_text: {
    ...{ eps: 1e-6, numKvHeads: 4, headSize: 256, theta: 1e6, windows: [512, 0], tied: true },
    factor: Number.POSITIVE_INFINITY,
  },
  gemma4_unified_text: {
    ...{ eps: 1e-6, numKvHeads: 4, headSize: 256, theta: 1e6, windows: [1024, 0], tied: true },
    factor: Number.POSITIVE_INFINITY,
  },
  glm4: { eps: 1.5625e-7, numKvHeads: 2, headSize: 128, theta: 1e4, windows: [0], tied: false },
  glm4_moe: { eps: 1e-5, numKvHeads: 8, headSize: 64, theta: 1e4, windows: [0], tied: false },
  glm4_moe_lite: {
    ...{ eps: 1e-5, numKvHeads: 1, headSize: 576, theta: 1e4, windows: [0], tied: false },
  },
  gpt2: { eps: 1e-5, numKvHeads: 32, headSize: 2, theta: 0, windows: [0], tied: true },
  gpt_oss: {
    eps: 1e-5,
    numKvHeads: 8,
    headSize: 64,
    theta: 15e4,
    windows: [128, 0],
    tied: false,
    factor: 32,
  },
  granite: { eps: 1e-6, numKvHeads: 32, headSize: 2, theta: 1e4, windows: [0], tied: false },
  granitemoehybrid: {
    ...{ eps: 1e-6, numKvHeads: 32, headSize: 2, theta: 1e4, windows: [0], tied: false },
  },
  hunyuan_v1_dense: {
    eps: 1e-5,
    numKvHeads: 32,
    headSize: 2,
    theta: 1e4,
    windows: [0],
    tied: false,
  },
  lfm2: { eps: 1e-5, numKvHeads: 8, headSize: 2, theta: 1e6, windows: [0], tied: true },
  lfm2_moe: { eps: 1e-5, numKvHeads: 8, headSize: 2, theta: 1e6, windows: [0], tied: true },
  llama: { eps: 1e-6, numKvHeads: 32, headSize: 2, theta: 1e4, windows: [0], tied: false },
  llama4_text: {
    eps: 1e-5,
    numKvHeads: 8,
    headSize: 128,
    theta: 5e5,
    windows: [8192],
    tied: false,
  },
  minimax_m2: { eps: 1e-6, numKvHeads: 8, headSize: 128, theta: 5e6, windows: [0], tied: false },
  ministral3: {
    eps: 1e-5,
    numKvHeads: 8,
    headSize: 128,
    theta: 1e6,
    windows: [0],
    tied: false,
    factor: 16,
  },
  mistral: { eps: 1e-6, numKvHeads: 8, headSize: 2, theta: 1e4, windows: [4096], tied: false },
  mistral4: {
    eps: 1e-6,
    numKvHeads: 1,
    headSize: 320,
    theta: 1e4,
    windows: [0],
    tied: false,
    factor: 128,
  },
  mixtral: { eps: 1e-5, numKvHeads: 8, headSize: 2, theta: 1e6, windows: [0], tied: false },
  muse_glimmer_text: {
    eps: 1e-5,
    numKvHeads: 2,
    headSize: 128,
    theta: 1e4,
    windows: [2048, 0],
    tied: false,
  },
  olmo2: { eps: 1e-5, numKvHeads: 32, headSize: 2, theta: 1e4, windows: [0], tied: false },
  olmo3: { eps: 1e-5, numKvHeads: 32, headSize: 2, theta: 5e5, windows: [4096], tied: false },
  olmoe: { eps: 1e-5, numKvHeads: 32, headSize: 2, theta: 1e4, windows: [0], tied: false },
  phi3: { eps: 1e-5, numKvHeads: 32, headSize: 2, theta: 1e4, windows: [0], tied: false },
  qwen2: { eps: 1e-6, numKvHeads: 32, headSize: 2, theta: 1e4, windows: [0], tied: false },
  qwen2_5_vl: { eps: 1e-5, numKvHeads: 8, headSize: 2, theta: 1e6, windows: [0], tied: false },
  qwen2_5_vl_text: { eps: 1e-5, numKvHeads: 8, headSize: 2, theta: 1e6, windows: [0], tied: false },
  qwen2_moe: { eps: 1e-6, numKvHeads: 16, headSize: 2, theta: 1e4, windows: [0], tied: false },
  qwen2_vl: { eps: 1e-5, numKvHeads: 8, headSize: 2, theta: 1e6, windows: [0], tied: false },
  qwen2_vl_text: { eps: 1e-5, numKvHeads: 8, headSize: 2, theta: 1e6, windows: [0], tied: false },
  qwen3: { eps: 1e-6, numKvHeads: 32, headSize: 128, theta: 1e4, windows: [0], tied: false },
  qwen3_5_moe_text: {
    ...{ eps: 1e-6, numKvHeads: 2, headSize: 256, theta: 1e4, windows: [0], tied: false },
  },
  qwen3_5_text: { eps: 1e-6, numKvHeads: 4, headSize: 256, theta: 1e4, windows: [0], tied: false },
  qwen3_next: { eps: 1e-6, numKvHeads: 2, headSize: 256, theta: 1e4, windows: [0], tied: false },
  qwen3_moe: { eps: 1e-6, numKvHeads: 4, headSize: 2, theta: 1e4, windows: [0], tied: false },
  qwen3_vl_text: {
    ...{ eps: 1e-6, numKvHeads: 32, headSize: 128, theta: 5e5, windows: [0], tied: false },
  },
  seed_oss: { eps: 1e-6, numKvHeads: 8, headSize: 128, theta: 1e4, windows: [0], tied: false },
  smollm3: { eps: 1e-6, numKvHeads: 4, headSize: 2, theta: 2e6, windows: [0], tied: true },
  stablelm: { eps: 1e-5, numKvHeads: 32, headSize: 64, theta: 1e4, windows: [0], tied: false },
  starcoder2: { eps: 1e-5, numKvHeads: 2, headSize: 2, theta: 1e4, windows: [0], tied: true },
};

/** Their own tests say what they leave out. */
const ENCODERS = ['bert', 'modernbert', 'roberta', 'xlm-roberta'];
const MIXERS = ['mamba2', 'nemotron_h'];

it.each(Object.entries(OMITTED))('takes what %s leaves out as transformers does', (name, want) => {
  // Where only a part of a head turns, it must be one.
  const hidden_size = ['stablelm', 'glm4_moe'].includes(name) ? 2048 : 64;
  const sizes = {
    ...{ vocab_size: 9, hidden_size, intermediate_size: 80, num_hidden_layers: 2 },
    ...{ num_attention_heads: 32, max_position_embeddings: 64 },
  };
  const noMamba = { layer_types: ['attention', 'attention'], num_local_experts: 0 };
  const attends = { full_attention_interval: 1 };
  const mixed = ['qwen3_5_text', 'qwen3_5_moe_text', 'qwen3_next'].includes(name) ? attends : {};
  const dense = { num_dense_layers: 2, layer_types: ['full_attention', 'full_attention'] };
  const chosen = { num_experts_per_tok: 2 };
  const own = { granitemoehybrid: noMamba, lfm2_moe: dense, deepseek_v2: chosen }[name] ?? mixed;
  const gpt2 = { vocab_size: 9, n_embd: 64, n_layer: 2, n_head: 32, n_positions: 64 };
  const spec = specOf({ model_type: name, ...(name === 'gpt2' ? gpt2 : sizes), ...own });
  const [{ attention }] = spec.layers;
  expect(spec.finalNorm.eps).toBe(want.eps);
  expect(attention).toMatchObject({ numKvHeads: want.numKvHeads, headSize: want.headSize });
  expect(spec.layers.map((layer) => layer.attention!.window)).toEqual(
    spec.layers.map((_, i) => want.windows[i % want.windows.length]),
  );
  expect(spec.head?.tied).toBe(want.tied);
  const two = ['gemma3_text', 'gemma4_text', 'gemma4_unified_text', 'olmo3'];
  expect(spec.ropes).toHaveLength(name === 'gpt2' ? 0 : two.includes(name) ? 2 : 1);
  if (spec.ropes.length === 0) return;
  const { inverseFrequencies: f } = spec.ropes[0];
  const last = f.length - 1;
  expect(f[last]).toBeCloseTo(want.theta ** (-last / f.length) / (want.factor ?? 1), 9);
});

it('knows no family whose omissions it does not', () => {
  const known = [...Object.keys(OMITTED), ...ENCODERS, ...MIXERS].sort();
  expect(known).toEqual(Object.keys(HF_FAMILIES).sort());
});

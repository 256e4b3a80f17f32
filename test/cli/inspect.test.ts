import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { recordOf, rowsOf } from '../../lib/cli/inspect.js';
import { FAMILIES } from '../../lib/model/families/index.js';
import { ROOT } from '../support/addon.js';

const FIXTURES = join(ROOT, 'test', 'fixtures');
const paths = ['models', 'gguf', 'embeddings'].flatMap((folder) =>
  readdirSync(join(FIXTURES, folder))
    .filter((name) => folder !== 'gguf' || name.endsWith('.gguf'))
    .map((name) => join(folder, name)),
);
const recordsOf = (path: string) => recordOf({ model: join(FIXTURES, path) });
const said = async (path: string) => Object.fromEntries(rowsOf(await recordsOf(path)));

it('says the family of every case, and groups that have all its layers', async () => {
  const titles = FAMILIES.map(({ title }) => title);
  const seen = new Set<string>();
  for (const path of paths) {
    const record = await recordsOf(path);
    const { family, architecture, kvGroups, runner, numAttentionLayers } = record;
    expect(titles, path).toContain(family);
    seen.add(family);
    const inGroups = kvGroups.reduce((sum, group) => sum + group.numLayers, 0);
    const others = record.sharedKv?.numLayers ?? 0;
    expect(inGroups, path).toBe(runner === 'pooling' ? 0 : numAttentionLayers - others);
    expect((await said(path)).family).toBe(`${family} (${architecture})`);
  }
  // Whose text model is another's.
  expect(titles.filter((title) => !seen.has(title))).toEqual(['Qwen 2 VL and 2.5 VL (text)']);
});

it('says experts, the shared one, and in how many layers', async () => {
  const experts = async (path: string) => (await said(path)).experts;
  expect(await experts('models/mixtral')).toBe('2 of 4 of ffn 24');
  expect(await experts('gguf/qwen2-moe.gguf')).toBe('3 of 6 of ffn 24, a shared one of ffn 48');
  expect(await experts('models/llama4')).toBe(
    '1 of 4 of ffn 56, a shared one of ffn 56 in 2 layers',
  );
  expect(await experts('models/qwen3')).toBeUndefined();
  expect(await recordsOf('models/glm4-moe')).toMatchObject({
    ...{ intermediateSize: 48 },
    experts: { numLayers: 1, numExperts: 6, topK: 3, intermediateSize: 24, sharedSize: 24 },
  });
  expect((await said('models/mixtral')).layers).toBe('2 of hidden size 64');
  expect(await recordsOf('models/mixtral')).toMatchObject({ intermediateSize: null });
});

it('says that heads share a latent row, and what it takes', async () => {
  expect((await said('models/deepseek-v3')).heads).toBe(
    '3 query of one latent row of 64, 48 of them values',
  );
  expect(await recordsOf('models/deepseek-v3')).toMatchObject({
    ...{ numHeads: 3, headSize: 64, latentSize: 48, kvBytesPerToken: 3 * 64 * 2 },
  });
  expect(await recordsOf('models/qwen3')).toMatchObject({ latentSize: null });
});

it('says what is passed over, and groups where layers differ', async () => {
  const over = async (path: string) => (await said(path))['passed over'];
  for (const name of ['ministral3', 'muse-glimmer', 'qwen3-vl']) {
    expect(await over(`models/${name}`)).toMatch(/^vision \(\d+ tensors\)$/);
  }
  expect(await over('models/glm4')).toBeUndefined();
  expect((await said('models/olmo3')).context).toBe('512 tokens, sliding window 20');
  expect((await said('models/llama4')).context).toBe('512 tokens, in chunks of 32');
  expect((await said('models/olmo3'))['KV groups']).toMatch(/3 layers in 3 groups: a window of 20/);
  expect((await said('models/llama4'))['KV groups']).toMatch(/3 layers in 3 groups: a chunk of 32/);
});

it('says which layers keep no KV, and what a table adds', async () => {
  const rows = await said('models/gemma4-ple');
  expect(rows['shared KV']).toBe('3 layers without any, reading that of layers 2, 4');
  expect(rows['layer inputs']).toBe('24 values of each token for each layer');
  expect(rows['passed over']).toBe('vision (16 tensors)');
  // Of five layers with KV, one of heads of 64.
  expect(await recordsOf('models/gemma4-ple')).toMatchObject({
    sharedKv: { numLayers: 3, of: [2, 4] },
    kvBytesPerToken: 2 * 2 * (4 * 32 + 64),
  });
  expect((await said('gguf/gemma4-moe.gguf')).experts).toBe('3 of 6 of ffn 24, beside an ffn 48');
  expect(await recordsOf('models/qwen3')).toMatchObject({ sharedKv: null, layerInputSize: 0 });
});

it('says which matrices stay packed, and in what', async () => {
  const quantised = async (path: string) => (await said(path)).quantised;
  expect(await quantised('formats/ct-mixed')).toMatch(
    /^compressed-tensors: matrices: .*\d of 8\.25 bits a weight, stays packed as FP8_G128/,
  );
  expect(await quantised('formats/bnb-nf4-plain')).toBe(
    'bitsandbytes: matrices: 14 of 32 bits a weight, widened to F32 (16 bits on a GPU)',
  );
  const iq = await quantised('gguf/llama-iq.gguf');
  expect(iq).toMatch(/of 2\.06 bits a weight, stays packed as \w+ \(16 bits on a GPU\)/);
  const mixed = await quantised('gguf/llama-mixed.gguf');
  expect(mixed).toMatch(/stays packed as Q4_K(;|$)/);
  expect(await quantised('models/qwen3')).toBeUndefined();
  expect(await recordsOf('formats/awq')).toMatchObject({ quantMethod: 'awq' });
});

it('says what layers that keep a state take', async () => {
  const { recurrent, kvGroups, numLayers } = await recordsOf('models/qwen3_5');
  const [{ numLayers: attending }] = kvGroups;
  expect(recurrent!.numLayers).toBe(numLayers - attending);
  const { stateBytes, recordBytes, seqBytes } = recurrent!;
  expect(seqBytes).toBe(1.5 * stateBytes + 16 * recordBytes);
  const rows = await said('models/qwen3_5');
  expect(rows.recurrent).toMatch(/^\d layers: a state of .*; at most .* a sequence$/);
  expect(rows['states here']).toMatch(
    /^for \d+ sequences at once, .*; [1-9]\d* fit into the swap space$/,
  );
  expect(await recordsOf('models/qwen3')).toMatchObject({ recurrent: null });
  expect((await said('models/qwen3')).recurrent).toBeUndefined();
});

it('says in how many layers there are heads, and that there is no KV where there are none', async () => {
  expect((await said('models/falcon-h1')).heads).toBe('3 query, 1 KV, size 64');
  const rows = await said('models/nemotron-h');
  expect(rows.heads).toBe('3 query, 1 KV, size 64 in 1 layer');
  expect(rows.layers).toBe('6 of hidden size 96, ffn 136');
  const bare = await said('models/mamba2');
  expect([bare.heads, bare.layers]).toEqual(['no layer attends', '2 of hidden size 96']);
  expect(Object.keys(bare).filter((name) => name.startsWith('KV'))).toEqual([]);
  const { maxNumSeqs, ...record } = await recordsOf('models/mamba2');
  expect(record).toMatchObject({
    ...{ numHeads: null, headSize: null, numAttentionLayers: 0, kvBytesPerToken: 0 },
    ...{ numFullSeqs: maxNumSeqs, kvGroups: [{ window: 1, numLayers: 0 }] },
  });
});

it('says what a model that pools makes of a text', async () => {
  const row = async (name: string) => said(join('embeddings', name));
  expect((await row('bert-mean')).makes).toBe(
    "48 values of length 1 of all tokens' mean, 256 tokens at most",
  );
  expect((await row('modernbert-mean')).makes).toMatch(/^64 values of all tokens' mean/);
  expect((await row('qwen3-embedding')).prompts).toBe('query, document');
  expect((await row('xlmr-rank')).makes).toMatch(
    /^1 label \(LABEL_0\), sigmoid of the first token/,
  );
  expect((await row('qwen3-classify-3')).makes).toMatch(/^3 labels \(no, perhaps, yes\), softmax/);
  expect(await row('bert-cls')).not.toHaveProperty('KV per token');
  const record = await recordsOf('embeddings/embeddinggemma');
  expect(record).toMatchObject({
    ...{ runner: 'pooling', numBlocks: 0, kvGroups: [], slidingWindows: [9] },
    pooling: {
      pooling: 'mean',
      normalize: true,
      width: 64,
      similarity: 'cosine',
      scoring: 'cosine',
    },
  });
  expect(await recordsOf('embeddings/qwen3-reranker')).toMatchObject({
    ...{ runner: 'generate', pooling: null },
  });
});

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
    const { family, architecture, kvGroups, numLayers, runner } = await recordsOf(path);
    expect(titles, path).toContain(family);
    seen.add(family);
    const inGroups = kvGroups.reduce((sum, group) => sum + group.numLayers, 0);
    expect(inGroups, path).toBe(runner === 'pooling' ? 0 : numLayers);
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

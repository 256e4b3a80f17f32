/** GGUF files of encoders and embedding models give what their folders' reference says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { ROOT } from '../support/addon.js';
import { embeddingGguf, rerankerGguf } from '../support/embedding-gguf.js';
import { readF32Tensors, rowError } from '../support/goldens.js';
import { PooledModel } from '../support/pooled-model.js';
import { temporaryFolder } from '../support/write-model.js';

const CASES = join(ROOT, 'test', 'fixtures', 'embeddings');
const FOLDER = temporaryFolder();

interface Golden {
  readonly token_ids: number[][];
  readonly yes_token_id: number;
  readonly no_token_id: number;
}

function goldenOf(name: string): Golden {
  return JSON.parse(readFileSync(join(CASES, name, 'golden.json'), 'utf8')) as Golden;
}

/** What the model makes of the reference's ids, as it stands behind its layers. */
async function valuesOf(path: string, ids: readonly number[][]): Promise<Float32Array[]> {
  const checkpoint = await openCheckpoint(path);
  const longest = Math.max(...ids.map(({ length }) => length));
  const model = await PooledModel.open(checkpoint, {
    ...{ maxModelLen: longest, maxNumBatchedTokens: longest, maxNumSeqs: 1 },
  });
  const rows: Float32Array[] = [];
  const { pooling } = checkpoint.pooling;
  for (const tokenIds of ids) {
    rows.push(...(await model.embed({ texts: [{ tokenIds, pooling, longRope: false }] })));
  }
  await model.close();
  return rows;
}

function referenceOf(name: string, file: string, tensor: string): Float32Array[] {
  const { shape, data } = readF32Tensors(join(CASES, name, file)).get(tensor)!;
  const width = data.length / shape[0];
  return Array.from({ length: shape[0] }, (_, i) => data.slice(i * width, (i + 1) * width));
}

function unit(row: Float32Array): Float32Array {
  const length = Math.hypot(...row);
  return row.map((x) => x / length);
}

// Not EmbeddingGemma: its reference scales scores as no published model does, which GGUF files
// cannot say.
it.each([
  ['bert-cls', 'cls'],
  ['bert-mean', 'mean'],
  ['xlmr-cls', 'cls'],
  ['modernbert-mean', 'mean'],
  ['qwen3-embedding', 'last'],
] as const)('vectors of %s', async (name, pooling) => {
  const { token_ids } = goldenOf(name);
  const values = await valuesOf(embeddingGguf(FOLDER, name, pooling), token_ids);
  const theirs = referenceOf(name, 'vectors.safetensors', 'vectors');
  const ours = name === 'modernbert-mean' ? values : values.map(unit);
  expect(ours).toHaveLength(theirs.length);
  for (const [i, row] of ours.entries()) expect(rowError(row, theirs[i])).toBeLessThan(1e-4);
});

it.each(['xlmr-rank', 'modernbert-rank'])('logits of %s', async (name) => {
  const { token_ids } = goldenOf(name);
  const ours = await valuesOf(embeddingGguf(FOLDER, name, 'rank'), token_ids);
  const theirs = referenceOf(name, 'scores.safetensors', 'logits');
  expect(ours).toHaveLength(theirs.length);
  for (const [i, row] of ours.entries()) expect(rowError(row, theirs[i])).toBeLessThan(1e-4);
});

it('scores of qwen3-reranker, of two rows of its vocabulary', async () => {
  const { token_ids, yes_token_id, no_token_id } = goldenOf('qwen3-reranker');
  const path = rerankerGguf(FOLDER, yes_token_id, no_token_id);
  const ours = await valuesOf(path, token_ids);
  const theirs = referenceOf('qwen3-reranker', 'scores.safetensors', 'scores');
  expect(ours).toHaveLength(theirs.length);
  for (const [i, [yes, no]] of ours.entries()) {
    expect(1 / (1 + Math.exp(no - yes))).toBeCloseTo(theirs[i][0], 4);
  }
});

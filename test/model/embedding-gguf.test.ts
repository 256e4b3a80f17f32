/** GGUF files of encoders and embedding models are the same models as their folders. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { ROOT } from '../support/addon.js';
import { embeddingGguf, rerankerGguf } from '../support/embedding-gguf.js';
import { temporaryFolder } from '../support/write-model.js';

const CASES = join(ROOT, 'test', 'fixtures', 'embeddings');
const FOLDER = temporaryFolder();

/** Differs between the two forms: norms in GGUF files hold 1 + w, tokens are not told. */
const OWN = ['architecture', 'family', 'dtype', 'bosTokenId', 'eosTokenIds', 'head', 'offset'];

it.each([
  ['bert-cls', 'cls'],
  ['bert-mean', 'mean'],
  ['xlmr-cls', 'cls'],
  ['modernbert-mean', 'mean'],
  ['embeddinggemma', 'mean'],
  ['qwen3-embedding', 'last'],
  ['xlmr-rank', 'rank'],
  ['modernbert-rank', 'rank'],
] as const)('%s', async (name, pooling) => {
  const folder = await openCheckpoint(join(CASES, name));
  const gguf = await openCheckpoint(embeddingGguf(FOLDER, name, pooling));
  const shapes = ({ tensors }: typeof folder) =>
    tensors.map(({ name, rows, cols }) => `${name} ${rows} ${cols}`).sort();
  expect(shapes(gguf)).toEqual(shapes(folder));
  // Of Gemma's scale GGUF files say nothing: published models have the usual one.
  const left = new Set([...OWN, ...(name === 'embeddinggemma' ? ['scale'] : [])]);
  const plain = ({ spec }: typeof folder) =>
    JSON.parse(
      JSON.stringify(spec, (key, value: unknown) => {
        if (left.has(key)) return undefined;
        return typeof value === 'number' ? Number(value.toPrecision(6)) : value;
      }),
    ) as object;
  expect(plain(gguf)).toEqual(plain(folder));
  const { width, labels, activation, pooling: way } = folder.pooling;
  expect(gguf.pooling).toMatchObject({ width, labels, activation, isDeclared: true, pooling: way });
});

it('ranks by two rows of the vocabulary where Qwen3-Reranker does', async () => {
  const golden = JSON.parse(readFileSync(join(CASES, 'qwen3-reranker', 'golden.json'), 'utf8')) as {
    yes_token_id: number;
    no_token_id: number;
  };
  const { spec, pooling } = await openCheckpoint(
    rerankerGguf(FOLDER, golden.yes_token_id, golden.no_token_id),
  );
  expect(spec.head).toBeUndefined();
  expect(spec.pooler?.layers).toMatchObject([{ outSize: 2, bias: false }]);
  expect(pooling).toMatchObject({
    ...{ pooling: 'last', width: 2, labels: ['yes', 'no'], activation: 'softmax' },
    ...{ normalize: false, isDeclared: true, prompts: {}, maxSeqLength: undefined },
  });
});

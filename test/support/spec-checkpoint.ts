/** A random model as what lib/model makes of a folder, so that the whole engine can load it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checkpoint } from '../../lib/model/checkpoint.js';
import { ROOT } from './addon.js';
import type { Random } from './random.js';
import { randomSpec, type SpecLimits } from './random-spec.js';
import { writeSpec } from './spec-file.js';

const TOKENIZER = join(ROOT, 'test', 'fixtures', 'tokenizers', 'hf-320.json');
/** A few more tokens than the tokenizer has, and no multiple of anything. */
export const SPEC_VOCAB = 323;

export function specCheckpoint(
  rng: Random,
  folder: string,
  limits: Omit<SpecLimits, 'vocabSize'>,
): Checkpoint {
  const native = randomSpec(rng, { vocabSize: SPEC_VOCAB, ...limits });
  const { files, tensors } = writeSpec(rng, native, folder);
  const hasLong = native.ropes.some((rope) => rope.longInverseFrequencies);
  return {
    spec: {
      ...native,
      ...{ architecture: 'random', family: 'random' },
      maxPositionEmbeddings: limits.maxTokens,
      longRopeFrom: hasLong ? 1 + rng.integer(limits.maxTokens / 2) : undefined,
      bosTokenId: undefined,
      eosTokenIds: [],
      dtype: 'F32',
      skipped: {},
    },
    files,
    tensors,
    pooling: {
      ...{ pooling: 'last', normalize: false, prompts: {}, defaultPromptName: undefined },
      ...{ maxSeqLength: undefined, labels: undefined, activation: 'none', isDeclared: false },
      ...{ similarity: 'cosine', refusal: undefined, matryoshka: false },
      width: native.pooler?.layers.at(-1)?.outSize ?? native.hiddenSize,
    },
    tokenizer: { json: readFileSync(TOKENIZER, 'utf8'), config: {} },
    chatTemplate: undefined,
    generationDefaults: {},
    numParameters: tensors.reduce((sum, { rows, cols }) => sum + rows * cols, 0),
    weightBytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

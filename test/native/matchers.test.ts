import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engineConfig } from '../../lib/config/options.js';
import { completeParams, validateSamplingParams } from '../../lib/core/sampling-params.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import { SequenceGroup } from '../../lib/core/sequence.js';
import { CPU } from '../../lib/engine/device.js';
import { nativeLimits, planEngine } from '../../lib/engine/plan.js';
import { GrammarBuilder } from '../../lib/grammar/grammar.js';
import { encodeProgram } from '../../lib/grammar/program.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { DTYPES, type NativeExecutor, type NativeMatcher } from '../../lib/native.js';
import { StepEncoder } from '../../lib/wire/encode.js';
import { ON_CPU, testAddon, testDevice } from '../support/addon.js';

/** Of the demo model. */
const VOCAB = 4096;
const EOS = 1;
const addon = testAddon();
let executor: NativeExecutor;
let scheduler: Scheduler;
let encoder: StepEncoder;
let nextId = 0;

beforeAll(async () => {
  const config = engineConfig({ numGpuBlocksOverride: 64, maxNumSeqs: 4, swapSpace: 0 });
  const checkpoint = await openCheckpoint(config.model);
  const plan = planEngine(config, { ...checkpoint.spec, maxPositionEmbeddings: 128 }, CPU);
  executor = new addon.Executor();
  await executor.load({
    spec: checkpoint.spec,
    limits: nativeLimits(plan),
    files: checkpoint.files,
    tensors: checkpoint.tensors.map((t) => ({ ...t, dtype: DTYPES[t.dtype] })),
    ...ON_CPU,
    device: testDevice(),
  });
  scheduler = new Scheduler({ ...plan.scheduling, numBlocks: 64 });
  encoder = new StepEncoder(scheduler.config);
});
afterAll(() => executor.close());

/** Tokens are bytes, as far as there are 256; then come those without any. */
async function matcherOf(text: string, numTokens = VOCAB): Promise<NativeMatcher> {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const offsets = Int32Array.from({ length: numTokens + 1 }, (_, i) => Math.min(i, 256));
  const vocabulary = await addon.Vocabulary.build(bytes, offsets, Int32Array.of(EOS));
  const builder = new GrammarBuilder();
  builder.start(builder.text(text));
  const limits = { maxStates: 1000, maxBytes: 2 ** 20, maxMs: 1000 };
  const program = encodeProgram(builder.build());
  return (await addon.Grammar.compile(vocabulary, program, limits)).start();
}

/** Draws one token for each of so many constrained sequences, by these matchers. */
async function draw(numSeqs: number, matchers: unknown): Promise<number[]> {
  const limits = { vocabSize: VOCAB, eosTokenIds: [EOS], seed: 3 };
  const params = completeParams(validateSamplingParams({ maxTokens: 1 }, limits), limits);
  const constraint = { advance: () => true, fork: () => constraint, close: () => {} };
  for (let i = 0; i < numSeqs; i++) {
    const id = `${nextId++}`;
    scheduler.add(new SequenceGroup({ id, promptTokens: [5, 6, 7 + i], params, constraint }));
  }
  const step = scheduler.schedule()!;
  const words = encoder.encode(step);
  const { tableSlab, samplerSlab } = encoder;
  const slabs = [words, tableSlab, samplerSlab] as const;
  try {
    const { tokenIds } = await executor.step(...slabs, undefined, false, matchers as never);
    return [...tokenIds];
  } finally {
    scheduler.discard(step);
  }
}

describe('matchers that come with a step', () => {
  it('decide what their sequences draw, each as it is at the call', async () => {
    const texts = ['a', 'é', 'zz', '0'];
    const matchers = await Promise.all(texts.map((text) => matcherOf(text)));
    const drawn = draw(texts.length, matchers);
    for (const [i, matcher] of matchers.entries()) {
      expect(matcher.advance(Buffer.from(texts[i])[0])).toBe(true);
    }
    expect(await drawn).toEqual(texts.map((text) => Buffer.from(text)[0]));
    const ends = [EOS, 0xa9, 'z'.charCodeAt(0), EOS];
    expect(await draw(texts.length, matchers)).toEqual(ends);
    // Nothing may come behind the end; the others go on.
    for (const [i, end] of ends.entries()) matchers[i].advance(end);
    expect(await draw(4, matchers)).toEqual([-1, EOS, EOS, -1]);
  });

  it('that are too few or too many, of another vocabulary or none are refused', async () => {
    const code = (numSeqs: number, matchers: unknown) =>
      draw(numSeqs, matchers).then(String, (error: { code: string }) => error.code);
    const good = await matcherOf('a');
    const other = await matcherOf('a', VOCAB - 1);
    expect(await code(1, undefined)).toBe('ERR_INVALID_STEP');
    expect(await code(2, [good])).toBe('ERR_INVALID_STEP');
    expect(await code(1, [good, good])).toBe('ERR_INVALID_STEP');
    expect(await code(1, [other])).toBe('ERR_INVALID_STEP');
    for (const none of [null, {}, 5, executor]) {
      expect(await code(1, [none])).toBe('ERR_INVALID_STEP');
      expect(await code(1, none)).toBe('ERR_INVALID_STEP');
    }
    expect(await code(2, [good, good.fork()])).toBe('97,97');
  });
});

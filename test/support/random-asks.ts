/** Random requests, and what an engine makes of them: together, or one after the other. */
import { engineConfig } from '../../lib/config/options.js';
import { KvGroups } from '../../lib/core/kv-groups.js';
import { CPU } from '../../lib/engine/device.js';
import { type PlannedModel, planEngine } from '../../lib/engine/plan.js';
import { type EngineOptions, LLM, type SamplingParams } from '../../lib/index.js';
import { testAddon } from './addon.js';
import type { Random } from './random.js';
import { SPEC_VOCAB } from './spec-checkpoint.js';

type Params = NonNullable<Exclude<Parameters<LLM['generate']>[1], readonly unknown[]>>;

export interface Ask<P extends Params = Params> {
  readonly ids: number[];
  readonly params: P;
}

export const randomText = (rng: Random, length: number) =>
  Array.from({ length }, () => rng.integer(SPEC_VOCAB));

/** Texts that share beginnings, and what is asked of them. */
export function randomAsks(rng: Random, count: number): Ask<SamplingParams>[] {
  const text = (length: number) => randomText(rng, length);
  const common = text(70);
  return Array.from({ length: count }, (_, i) => ({
    ids: [...common.slice(0, i % 3 === 0 ? 0 : rng.integer(70)), ...text(1 + rng.integer(20))],
    params: {
      maxTokens: 20 + rng.integer(30),
      temperature: i % 3 === 0 ? 0 : 0.5 + rng.uniform(),
      topP: i % 4 === 1 ? 0.9 : 1,
      seed: rng.integer(2 ** 31),
      ignoreEos: true,
      logprobs: 2,
      promptLogprobs: i % 5 === 0 ? 1 : undefined,
      n: i % 4 === 2 ? 2 : 1,
    },
  }));
}

/** The options with blocks of 8 and a pool that holds little more than one ask at a time. */
export function tightPool(
  options: EngineOptions,
  model: PlannedModel,
  list: readonly Ask[],
): EngineOptions {
  const tight = { blockSize: 8, swapSpace: 0.05, ...options } as const;
  const { scheduling } = planEngine(engineConfig(tight), model, CPU);
  const groups = new KvGroups(scheduling);
  const { maxModelLen } = scheduling;
  const needs = list.map(({ ids, params }) => {
    const longest = Math.min(ids.length + (params.maxTokens ?? 16), maxModelLen);
    const width = 'beamWidth' in params ? params.beamWidth : (params as SamplingParams).n;
    return groups.worstCase(ids.length, longest, width ?? 1);
  });
  const most = Math.max(groups.worstCase(0, maxModelLen, 1), ...needs);
  return { ...tight, numGpuBlocksOverride: 1 + most + groups.length };
}

type Output = Awaited<ReturnType<LLM['generate']>>;
type One = Extract<Output, { outputs: unknown }>;

const essence = ({ promptLogprobs, outputs }: One) => ({
  promptLogprobs,
  outputs: outputs.map(({ tokenIds, logprobs, cumulativeLogprob, score }) => ({
    ...{ tokenIds, logprobs, cumulativeLogprob, score },
  })),
});

const open = (options: EngineOptions) =>
  options.device === 'simt' ? LLM.loadWith(options, testAddon()) : LLM.load(options);

export async function together(options: EngineOptions, list: readonly Ask[]) {
  const llm = await open(options);
  try {
    const outputs = await llm.generate(
      list.map(({ ids }) => ({ promptTokenIds: ids })),
      list.map(({ params }) => params),
    );
    return { essences: outputs.map(essence), stats: llm.stats() };
  } finally {
    await llm.close();
  }
}

export async function oneByOne(options: EngineOptions, list: readonly Ask[]) {
  const llm = await open(options);
  try {
    const essences = [];
    let hits = 0;
    for (const { ids, params } of list) {
      const output = await llm.generate({ promptTokenIds: ids }, params);
      hits += output.numCachedTokens;
      essences.push(essence(output));
    }
    return { essences, hits, info: llm.info };
  } finally {
    await llm.close();
  }
}

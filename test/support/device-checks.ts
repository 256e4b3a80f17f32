/**
 * What must hold of the engine on any device that computes in 16 bits: nearness to the float
 * reference, and equality in bits of whatever batching can do. Run on the emulator by vitest
 * (test/engine/simt.test.ts) and on a GPU, where there is no vitest, by bench/gpu-check.ts.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineOptions, GenerateParams, LLM, RequestOutput } from '../../lib/index.js';
import { type Random, random } from './random.js';

export interface CheckedDevice {
  /** Loads the demo model on the device. */
  load(options: EngineOptions): Promise<LLM>;
  /** The repository: fixtures and the demo model's README are read from it. */
  readonly root: string;
  /** All the validation text and longer outputs; else what an emulator can do in seconds. */
  readonly full: boolean;
  /** Tokens of the prompts that are compared alone and otherwise; the last has several blocks. */
  readonly promptLengths: readonly number[];
  readonly seed: number;
  /** Graphs replayed so far, where that can be asked. */
  readonly graphLaunches?: () => number;
}

interface Golden {
  readonly prompts: {
    readonly prompt_token_ids: number[];
    readonly greedy_token_ids: number[];
    readonly greedy_logprobs: number[];
  }[];
  readonly validation: { readonly first_window_nll: number[]; readonly mean_nll: number };
}

interface Ask {
  readonly ids: number[];
  readonly params: GenerateParams;
}

const mean = (list: number[]) => list.reduce((sum, x) => sum + x, 0) / list.length;

function essence(output: RequestOutput) {
  return output.outputs.map((o) => ({ text: o.text, ids: o.tokenIds, logprobs: o.logprobs }));
}
type Essence = ReturnType<typeof essence>;

/** A check says in a phrase what it found, or throws. */
export type Check = [name: string, run: () => Promise<string>];

export function deviceChecks(device: CheckedDevice): Check[] {
  return [...referenceChecks(device), ...new BitChecks(device).all()];
}

function readFixture(device: CheckedDevice, name: string): string {
  return readFileSync(join(device.root, 'test', 'fixtures', 'octavo-demo', name), 'utf8');
}

function referenceChecks(device: CheckedDevice): Check[] {
  const golden = JSON.parse(readFixture(device, 'golden.json')) as Golden;
  return [
    [
      'the demo text; an id differs only where the lead is small',
      () => greedyText(device, golden, device.full ? 48 : 12),
    ],
    ['the loss on held-out text', () => loss(device, golden, {})],
    ['the loss without batch invariance', () => loss(device, golden, { batchInvariant: false })],
  ];
}

async function greedyText(device: CheckedDevice, golden: Golden, length: number): Promise<string> {
  const llm = await device.load({});
  try {
    const prompts = device.full ? golden.prompts : golden.prompts.slice(0, 3);
    const outputs = await llm.generate(
      prompts.map((p) => ({ promptTokenIds: p.prompt_token_ids })),
      { temperature: 0, maxTokens: length, ignoreEos: true, logprobs: 2 },
    );
    let same = 0;
    let error = 0;
    const leads: number[] = [];
    outputs.forEach(({ outputs: [output] }, i) => {
      const want = prompts[i].greedy_token_ids;
      for (const [j, id] of output.tokenIds.entries()) {
        const { logprob, top } = output.logprobs![j];
        if (id !== want[j]) {
          leads.push(top[0].logprob - top[1].logprob);
          break; // from here on the texts are different ones
        }
        same++;
        error = Math.max(error, Math.abs(logprob - prompts[i].greedy_logprobs[j]));
      }
    });
    // Logprobs err by bf16's rounding over six layers; a lead may shrink by two such errors.
    assert(error < 0.1, `a logprob is off by ${error}`);
    for (const lead of leads) assert(lead < 2 * error, `the lead was ${lead}, the error ${error}`);
    assert(same > length, `only ${same} ids are those of the reference`);
    return `${same} ids as the reference's, ${leads.length} near-ties, logprobs within ${error.toFixed(4)}`;
  } finally {
    await llm.close();
  }
}

async function loss(
  device: CheckedDevice,
  golden: Golden,
  options: EngineOptions,
): Promise<string> {
  const llm = await device.load({ maxNumBatchedTokens: device.full ? 2048 : 192, ...options });
  try {
    const text = readFixture(device, 'validation.txt');
    const all = await llm.tokenizer.encode(text, { addSpecialTokens: false });
    const ids = all.slice(0, device.full ? 4096 : 191);
    const windows: number[][] = [];
    for (let at = 0; at < ids.length; at += 511) windows.push([0, ...ids.slice(at, at + 511)]);
    const outputs = await llm.generate(
      windows.map((promptTokenIds) => ({ promptTokenIds })),
      { maxTokens: 1, promptLogprobs: 0 },
    );
    const losses = outputs.map((o) => o.promptLogprobs!.slice(1).map((p) => -p!.logprob));
    const want = golden.validation.first_window_nll.slice(0, losses[0].length);
    losses[0].forEach((x, i) => {
      assert(Math.abs(x - want[i]) < 0.25, `token ${i} costs ${x}, the reference's ${want[i]}`);
    });
    const ours = mean(losses.flat());
    const theirs = device.full ? golden.validation.mean_nll : mean(want);
    // bf16 between ops: 2⁻⁹ relative each, averaged over hundreds of tokens.
    assert(Math.abs(ours - theirs) < 5e-3, `${ours}, the reference ${theirs}`);
    const reference = theirs.toFixed(4);
    const { length } = losses.flat();
    return `${ours.toFixed(4)} nats over ${length} tokens (reference ${reference}; ${llm.info.isa})`;
  } finally {
    await llm.close();
  }
}

class BitChecks {
  readonly #device: CheckedDevice;
  readonly #random: Random;
  #source: number[] = [];
  #asks: Ask[] = [];
  #alone: Essence[] = [];

  constructor(device: CheckedDevice) {
    this.#device = device;
    this.#random = random(device.seed);
  }

  all(): Check[] {
    const same = (name: string, options: EngineOptions): Check => [
      `alone equals ${name}`,
      () => this.#batch(options),
    ];
    return [
      same('in a batch', {}),
      same('in chunks of 7', { longPrefillTokenThreshold: 7 }),
      same('in blocks of 8', { blockSize: 8 }),
      same('without CUDA graphs', { enableCudaGraphs: false }),
      ['alone equals preempted and computed again', () => this.#preempted('recompute')],
      ['alone equals swapped', () => this.#preempted('swap')],
      ['beams alone equal beams swapped', () => this.#beams()],
      ['alone equals a prefix hit', () => this.#prefixHit()],
      ['a shared prefix read once equals one read by each', () => this.#cascade()],
      ['an fp8 cache: alone equals a batch', () => this.#quantised('fp8')],
      ['an int8 cache: alone equals a batch', () => this.#quantised('int8')],
    ];
  }

  async #prepare(): Promise<void> {
    if (this.#alone.length > 0) return;
    const { root, full, promptLengths } = this.#device;
    const llm = await this.#device.load({ enablePrefixCaching: false });
    try {
      const text = readFileSync(join(root, 'models', 'octavo-demo', 'README.md'), 'utf8');
      this.#source = await llm.tokenizer.encode(text, { addSpecialTokens: false });
      this.#asks = promptLengths.map((length, i) => {
        const start = this.#random.integer(this.#source.length - length);
        const maxTokens = full ? 16 + i : 3 + i;
        const penalty = i % 3 === 1 ? { repetitionPenalty: 1.2, presencePenalty: 0.5 } : {};
        const draw = { temperature: i % 2, seed: i, ...penalty };
        const params = { maxTokens, ...draw, ignoreEos: true, logprobs: 2 };
        return { ids: [0, ...this.#source.slice(start, start + length - 1)], params };
      });
      const alone: Essence[] = [];
      for (const { ids, params } of this.#asks) {
        alone.push(essence(await llm.generate({ promptTokenIds: ids }, params)));
      }
      this.#alone = alone;
    } finally {
      await llm.close();
    }
  }

  async #run(options: EngineOptions, asks: readonly Ask[] = this.#asks) {
    const llm = await this.#device.load(options);
    try {
      const outputs = await llm.generate(
        asks.map((a) => ({ promptTokenIds: a.ids })),
        asks.map((a) => a.params),
      );
      return { essences: outputs.map(essence), stats: llm.stats() };
    } finally {
      await llm.close();
    }
  }

  async #batch(options: EngineOptions): Promise<string> {
    await this.#prepare();
    const { graphLaunches } = this.#device;
    const before = graphLaunches?.() ?? 0;
    const { essences } = await this.#run(options);
    assert.deepEqual(essences, this.#alone);
    if (graphLaunches === undefined) return `${this.#asks.length} requests`;
    const replayed = graphLaunches() - before;
    assert.equal(replayed > 0, options.enableCudaGraphs !== false);
    return `${this.#asks.length} requests, ${replayed} graphs replayed`;
  }

  /** One block each at first, three at last, in a pool of seven. */
  async #preempted(preemptionPolicy: 'recompute' | 'swap'): Promise<string> {
    await this.#prepare();
    const tight = [0, 1, 2].map((i) => ({
      ids: [0, ...this.#source.slice(20 * i, 20 * i + 13)],
      params: {
        maxTokens: 22,
        temperature: i % 2,
        seed: i,
        repetitionPenalty: 1 + i / 8,
        frequencyPenalty: i / 10,
        ignoreEos: true,
        logprobs: 1,
      },
    }));
    const roomy = await this.#run({}, tight);
    const { essences, stats } = await this.#run(
      { numGpuBlocksOverride: 8, maxModelLen: 96, preemptionPolicy, swapSpace: 0.01 },
      tight,
    );
    assert(stats.numPreemptions > 0);
    assert.equal(stats.numBlocksSwappedIn > 0, preemptionPolicy === 'swap');
    assert.deepEqual(essences, roomy.essences);
    return `${stats.numPreemptions} preemptions, ${stats.numBlocksSwappedIn} blocks swapped`;
  }

  /** Searches that cannot all stay: beams fork, part, are swapped out and come back shared. */
  async #beams(): Promise<string> {
    await this.#prepare();
    const asks = [0, 1, 2].map((i) => ({
      ids: [0, ...this.#source.slice(30 * i, 30 * i + 20)],
      params: { beamWidth: 3, maxTokens: 14, ignoreEos: true },
    }));
    const roomy = await this.#run({ blockSize: 8 }, asks);
    const options = { numGpuBlocksOverride: 13, maxModelLen: 40, swapSpace: 0.01 };
    const { essences, stats } = await this.#run({ blockSize: 8, ...options }, asks);
    assert(stats.numBlocksSwappedIn > 0 && stats.numBlockCopies > 0);
    assert.deepEqual(essences, roomy.essences);
    return `${stats.numBlockCopies} copies, ${stats.numBlocksSwappedIn} blocks swapped`;
  }

  async #prefixHit(): Promise<string> {
    await this.#prepare();
    const llm = await this.#device.load({});
    try {
      const { ids, params } = this.#asks[this.#asks.length - 1];
      for (const _ of [1, 2]) {
        const output = await llm.generate({ promptTokenIds: ids }, params);
        assert.deepEqual(essence(output), this.#alone.at(-1));
      }
      const { prefixCacheHits } = llm.stats();
      assert(prefixCacheHits > 0);
      return `${prefixCacheHits} tokens hit`;
    } finally {
      await llm.close();
    }
  }

  async #cascade(): Promise<string> {
    await this.#prepare();
    const { full } = this.#device;
    const prefix = [0, ...this.#source.slice(0, 280)];
    const asks = Array.from({ length: full ? 40 : 16 }, (_, i) => ({
      ids: [...prefix, ...this.#source.slice(300 + 3 * i, 302 + 3 * i)],
      params: { maxTokens: full ? 20 : 2, temperature: 0, ignoreEos: true, logprobs: 1 },
    }));
    const options = { maxNumBatchedTokens: 320 };
    const shared = await this.#run(options, asks);
    const each = await this.#run({ ...options, enableCascadeAttention: false }, asks);
    assert(shared.stats.prefixCacheHits > (asks.length - 1) * 250);
    assert.deepEqual(shared.essences, each.essences);
    return `${asks.length} sharers of ${prefix.length} tokens`;
  }

  async #quantised(kvCacheDtype: 'fp8' | 'int8'): Promise<string> {
    await this.#prepare();
    const asks = this.#asks.slice(1, 3);
    const llm = await this.#device.load({ kvCacheDtype });
    try {
      const { ids, params } = asks[1];
      const one = essence(await llm.generate({ promptTokenIds: ids }, params));
      const many = await this.#run({ kvCacheDtype, longPrefillTokenThreshold: 9 }, asks);
      assert.deepEqual(many.essences[1], one);
      assert.equal(llm.info.kvBytesPerToken, 6 * 2 * 2 * (64 + 4));
      return `${llm.info.kvBytesPerToken} bytes a token`;
    } finally {
      await llm.close();
    }
  }
}

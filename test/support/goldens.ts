/** Reference outputs: reading them, and running the same tokens through the native side. */
import { readFileSync } from 'node:fs';
import { engineConfig } from '../../lib/config/options.js';
import { type PlannedGroup, tableOffsets } from '../../lib/core/kv-groups.js';
import { borderOf, CHUNK } from '../../lib/core/recurrent-states.js';
import { CPU } from '../../lib/engine/device.js';
import { nativeLimits, planEngine } from '../../lib/engine/plan.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import {
  DTYPES,
  type NativeDevice,
  type NativeExecutor,
  type NativeLoadRequest,
} from '../../lib/native.js';
import { STEP_LAYOUT as L } from '../../lib/wire/layout.js';
import { testAddon, testDevice } from './addon.js';

export interface GoldenPrompt {
  readonly prompt_token_ids: number[];
  readonly greedy_token_ids: number[];
  readonly greedy_logprobs: number[];
  readonly logits_positions: number[];
}

/** F32 tensors of a small safetensors file by name. */
export function readF32Tensors(path: string): Map<string, { shape: number[]; data: Float32Array }> {
  const file = readFileSync(path);
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: at }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    if (dtype !== 'F32') throw new Error(`${name} is ${dtype}`);
    const bytes = file.subarray(8 + length + at[0], 8 + length + at[1]);
    tensors.set(name, { shape, data: new Float32Array(new Uint8Array(bytes).buffer) });
  }
  return tensors;
}

/** A model behind the bare native interface, for one sequence. */
export class RawModel {
  /** Of recurrent layers: the records of the tokens since the last border. */
  #records: number[] = [];

  private constructor(
    readonly executor: NativeExecutor,
    readonly vocabSize: number,
    readonly groups: readonly PlannedGroup[],
    readonly tables: Int32Array,
    readonly samplers: Float64Array,
    readonly maxTokens: number,
    readonly longRopeFrom: number | undefined,
    readonly hasStates: boolean,
  ) {}

  static async open(
    path: string,
    {
      blockSize = 16 as 8 | 16 | 32,
      isa = '',
      numThreads = 2,
      activations = 'f32' as NativeLoadRequest['activations'],
      quantize = '' as NativeLoadRequest['quantize'],
      device = {} as Partial<NativeDevice>,
      /** Instead of those of the engine's plan. */
      groups = undefined as readonly PlannedGroup[] | undefined,
    } = {},
  ): Promise<RawModel> {
    const checkpoint = await openCheckpoint(path);
    const config = engineConfig({
      model: path,
      blockSize,
      maxNumSeqs: 1,
      maxNumBatchedTokens: 512,
      kvCacheMemoryBytes: 2 ** 30,
    });
    const { spec: model } = checkpoint;
    const planned = planEngine(config, model, CPU);
    const plan = { ...planned, groups: groups ?? planned.groups };
    const { blocksPerRow } = plan;
    // Of every table all blocks, which nobody frees.
    const { rowLength } = tableOffsets(plan.groups, blockSize, blocksPerRow);
    const executor = new (testAddon().Executor)();
    await executor.load({
      spec: model,
      limits: { ...nativeLimits(plan), numBlocks: rowLength + 1, numHostBlocks: 0 },
      files: checkpoint.files,
      tensors: checkpoint.tensors.map((t) => ({ ...t, dtype: DTYPES[t.dtype] })),
      numThreads,
      isa,
      activations,
      quantize,
      device: testDevice(device),
    });
    // Blocks in descending order: nothing may rely on neighbours.
    const tables = Int32Array.from({ length: rowLength }, (_, i) => rowLength - i);
    const samplers = new Float64Array(L.samplerDoubles);
    samplers[L.samplerTopP] = 1;
    samplers[L.samplerRepetition] = 1;
    samplers[L.samplerNumLogprobs] = -1;
    const { vocabSize, longRopeFrom } = model;
    const sizes = [512, longRopeFrom, plan.recurrent !== null] as const;
    return new RawModel(executor, vocabSize, plan.groups, tables, samplers, ...sizes);
  }

  /**
   * Logits at `positions` of a sequence of ids, computed in chunks of at most `chunk` tokens.
   * @returns [positions][vocab]
   */
  async logits(ids: readonly number[], positions: readonly number[], chunk = 512) {
    const wanted = new Set(positions);
    const rows = new Map<number, Float32Array>();
    for (let begin = 0; begin < ids.length; begin += chunk) {
      const end = Math.min(ids.length, begin + chunk);
      const here = [];
      for (let p = begin; p < end; p++) if (wanted.has(p)) here.push(p);
      const words = this.encode(ids, begin, end, here);
      const result = await this.executor.step(words, this.tables, this.samplers, undefined, true);
      here.forEach((p, i) => {
        rows.set(p, result.logits!.slice(i * this.vocabSize, (i + 1) * this.vocabSize));
      });
    }
    return positions.map((p) => rows.get(p)!);
  }

  close(): Promise<void> {
    return this.executor.close();
  }

  /** One state, written over again and again, and records that are not those read before. */
  #takeStates(begin: number, end: number) {
    const [from, border] = [borderOf(begin), borderOf(end)];
    const old = begin === 0 ? [] : this.#records;
    const unused = [...Array(2 * CHUNK).keys()].filter((id) => !old.includes(id));
    const fresh = unused.slice(0, end - Math.max(begin, border));
    this.#records = border > from ? fresh : [...old, ...fresh];
    const state = 1;
    return {
      stateIn: from === 0 ? 0 : state,
      stateOut: border > from ? state : L.noState,
      records: [...old, ...fresh],
    };
  }

  /**
   * A step of one sequence with a prompt row at each of `rows`; where there are recurrent layers,
   * behind the one that was encoded before.
   */
  encode(ids: readonly number[], begin: number, end: number, rows: readonly number[]): Int32Array {
    const tokens = ids.slice(begin, end);
    const seqsAt = L.headerWords;
    const numGroups = this.groups.length;
    const statesAt = seqsAt + L.seqNumBlocks + numGroups;
    const tokensAt = statesAt + (this.hasStates ? L.stateWords : 0);
    const recordsAt = tokensAt + tokens.length;
    const { stateIn, stateOut, records } = this.hasStates
      ? this.#takeStates(begin, end)
      : { stateIn: 0, stateOut: 0, records: [] };
    const rowsAt = recordsAt + records.length;
    const total = rowsAt + rows.length * L.promptRowWords;
    const words = new Int32Array(total);
    words[L.headerVersion] = L.version;
    words[L.headerTotalWords] = total;
    words[L.headerNumSeqs] = 1;
    words[L.headerNumTokens] = tokens.length;
    words[L.headerNumPromptRows] = rows.length;
    words[L.headerSeqsAt] = seqsAt;
    words[L.headerTokensAt] = tokensAt;
    words[L.headerHasStates] = Number(this.hasStates);
    words[L.headerRecordsAt] = recordsAt;
    for (const at of [L.headerSwapsAt, L.headerCopiesAt, L.headerSamplesAt, L.headerPromptRowsAt])
      words[at] = rowsAt;
    words[L.headerExtrasAt] = total;
    words[seqsAt + L.seqQueryLen] = tokens.length;
    words[seqsAt + L.seqContextLen] = end;
    words[L.headerNumGroups] = numGroups;
    this.groups.forEach(({ blockSize }, g) => {
      words[seqsAt + L.seqNumBlocks + g] = Math.ceil(end / blockSize);
    });
    words[seqsAt + L.seqLongRope] = ids.length > (this.longRopeFrom ?? ids.length) ? 1 : 0;
    if (this.hasStates) words.set([stateIn, stateOut], statesAt);
    words.set(tokens, tokensAt);
    words.set(records, recordsAt);
    rows.forEach((p, i) => {
      const n = rows.length;
      words[rowsAt + L.promptRowTokenRow * n + i] = p - begin;
      words[rowsAt + L.promptRowTarget * n + i] = 0;
      words[rowsAt + L.promptRowNumTop * n + i] = -1;
    });
    return words;
  }
}

/** max |ours − theirs| / max |theirs|, over a row. */
export function rowError(ours: Float32Array, theirs: Float32Array): number {
  let error = 0;
  let scale = 0;
  for (let i = 0; i < theirs.length; i++) {
    const difference = Math.abs(ours[i] - theirs[i]);
    if (!(difference <= error)) error = difference; // NaN too
    scale = Math.max(scale, Math.abs(theirs[i]));
  }
  return error / scale;
}

/**
 * Of a file whose multipliers were folded into weights of 16 bits, which the reference did not round:
 * what that costs of a row's largest logit. (In F32 such a file gives the reference's logits:
 * mixer-gguf.test.ts.)
 */
export const FOLDED = { gguf: 'falcon-h1', rowError: 1e-2 };

/** ‖ours − theirs‖ / ‖theirs‖ of a row. */
export function rmsError(ours: Float32Array, theirs: Float32Array): number {
  let error = 0;
  let scale = 0;
  for (let i = 0; i < theirs.length; i++) {
    error += (ours[i] - theirs[i]) ** 2;
    scale += theirs[i] ** 2;
  }
  return Math.sqrt(error / scale);
}

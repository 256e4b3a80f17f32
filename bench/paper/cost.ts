/**
 * The clock of the simulation: how long a step takes on the paper's hardware. The model is plain on
 * purpose and the same for every system compared:
 *
 *   step = FIXED + PER_SEQUENCE · sequences                    (the serving code, in Python then)
 *        + max(weight bytes / bandwidth, 2 · parameters · tokens / FLOP/s)
 *        + bytes of KV read / bandwidth
 *        + bytes swapped / PCIe bandwidth + PER_TRANSFER · transfers
 *
 * Bandwidth and FLOP/s are the data sheet's times an efficiency that is usual in practice (0.8,
 * 0.5). FIXED and PER_SEQUENCE are the only fitted constants: to the two batch sizes that the paper
 * prints for its own system (Fig. 13: 30.42 requests at 2 req/s of ShareGPT, 132.44 at 30 req/s of
 * Alpaca).
 */

export interface SimModel {
  readonly name: string;
  readonly parameters: number;
  /** Slots of the KV cache (paper, Table 1). */
  readonly slots: number;
  readonly kvBytesPerToken: number;
  /** Of all GPUs together. */
  readonly bandwidth: number;
  readonly flops: number;
}

const A100 = { bandwidth40: 1.555e12, bandwidth80: 2.039e12, flops: 312e12 };
const BANDWIDTH_EFFICIENCY = 0.8;
const FLOPS_EFFICIENCY = 0.5;
const FIXED = 0.0075;
const PER_SEQUENCE = 0.0003;
const PCIE = 20e9;
/** A block is moved by a copy of its own for each layer and for K and V. */
const PER_TRANSFER = 5e-6;

function model(
  name: string,
  parameters: number,
  kv: number,
  slots: number,
  gpus: number,
  bw: number,
) {
  return {
    name,
    parameters,
    slots,
    kvBytesPerToken: kv / slots,
    bandwidth: gpus * bw * BANDWIDTH_EFFICIENCY,
    flops: gpus * A100.flops * FLOPS_EFFICIENCY,
  };
}

export const OPT_13B: SimModel = model('OPT-13B', 13e9, 12e9, 15_700, 1, A100.bandwidth40);
export const OPT_66B: SimModel = model('OPT-66B', 66e9, 21e9, 9_700, 4, A100.bandwidth40);
export const OPT_175B: SimModel = model('OPT-175B', 175e9, 264e9, 60_100, 8, A100.bandwidth80);

export interface StepWork {
  readonly sequences: number;
  /** Tokens computed. */
  readonly tokens: number;
  /** Tokens whose KV attention reads. */
  readonly context: number;
  readonly swappedBlocks?: number;
  readonly blockSize?: number;
}

/** Attention reads each block with a fixed cost worth so many tokens (looking it up, a new row). */
const BLOCK_OVERHEAD_TOKENS = 2;
/** OPT-13B's, for the number of copies that a block's swap takes. */
const LAYERS = 40;

/** Seconds. */
export function stepSeconds(model: SimModel, work: StepWork): number {
  const { sequences, tokens, context, swappedBlocks = 0, blockSize = 16 } = work;
  const weights = Math.max(
    (2 * model.parameters) / model.bandwidth,
    (2 * model.parameters * tokens) / model.flops,
  );
  const read = context * (1 + BLOCK_OVERHEAD_TOKENS / blockSize) * model.kvBytesPerToken;
  const swapped = swappedBlocks * blockSize * model.kvBytesPerToken;
  return (
    FIXED +
    PER_SEQUENCE * sequences +
    weights +
    read / model.bandwidth +
    swapped / PCIE +
    swappedBlocks * 2 * LAYERS * PER_TRANSFER
  );
}

/** Shapes of models that people run. */

/** What is Gemma 4's own. */
export interface GemmaShape {
  /** Each such layer attends to all, with heads of `wideHead`; the others within `window`. */
  readonly every: number;
  readonly wideHead: number;
  readonly window: number;
  /** So many last layers have no KV of their own, and an FFN of `wideFfn`. */
  readonly sharing: number;
  readonly wideFfn: number;
  /** Values of a token's table for each layer. */
  readonly perLayer: number;
}

export interface Shape {
  readonly name: string;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly ffn: number;
  readonly vocab: number;
  /** In the place of one MLP: so many of that size, of which a token takes some. GGUF only. */
  readonly experts?: { readonly count: number; readonly each: number };
  /** Layers that keep a state by the gated delta rule: all but each `every`-th. GGUF only. */
  readonly recurrent?: {
    readonly every: number;
    readonly heads: number;
    readonly valueHeads: number;
    readonly size: number;
  };
  /** Windows, wider heads in each `every`-th layer, shared KV, a table per layer. GGUF only. */
  readonly gemma?: GemmaShape;
}

export const SMOLLM2_135M: Shape = {
  name: 'smollm2-135m',
  hidden: 576,
  layers: 30,
  heads: 9,
  kvHeads: 3,
  headSize: 64,
  ffn: 1536,
  vocab: 49152,
};

export const LLAMA32_1B: Shape = {
  name: 'llama3.2-1b',
  hidden: 2048,
  layers: 16,
  heads: 32,
  kvHeads: 8,
  headSize: 64,
  ffn: 8192,
  vocab: 128256,
};

/** Small beside its vocabulary: what loads a file of it has more to do with tokens than weights. */
export const QWEN25_05B: Shape = {
  name: 'qwen2.5-0.5b',
  hidden: 896,
  layers: 24,
  heads: 14,
  kvHeads: 2,
  headSize: 64,
  ffn: 4864,
  vocab: 151936,
};

/** With the head tied to the embedding, which a decode step does not notice. */
export const LLAMA3_8B: Shape = {
  name: 'llama3-8b',
  hidden: 4096,
  layers: 32,
  heads: 32,
  kvHeads: 8,
  headSize: 128,
  ffn: 14336,
  vocab: 128256,
};

/** 5.1 billion parameters, of which a token meets 0.9 billion: as Qwen3-30B-A3B, but smaller. */
export const MOE_5B: Shape = {
  name: 'moe-5b-a1b',
  hidden: 2048,
  layers: 16,
  heads: 16,
  kvHeads: 4,
  headSize: 128,
  ffn: 768,
  vocab: 65536,
  experts: { count: 64, each: 8 },
};

/** Of Qwen 3.5 0.8B, with a smaller vocabulary. */
export const QWEN35_08B: Shape = {
  name: 'qwen3.5-0.8b',
  hidden: 1024,
  layers: 24,
  heads: 8,
  kvHeads: 2,
  headSize: 256,
  ffn: 3584,
  vocab: 65536,
  recurrent: { every: 4, heads: 16, valueHeads: 16, size: 128 },
};

/** Of Gemma 4 E2B, with a smaller vocabulary: 1.9 billion parameters that a token meets. */
export const GEMMA4_E2B: Shape = {
  name: 'gemma4-e2b',
  hidden: 1536,
  layers: 35,
  heads: 8,
  kvHeads: 1,
  headSize: 256,
  ffn: 6144,
  vocab: 65536,
  gemma: { every: 5, wideHead: 512, window: 512, sharing: 20, wideFfn: 12288, perLayer: 256 },
};

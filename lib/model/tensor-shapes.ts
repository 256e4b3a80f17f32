/** Which tensors the native side binds, by canonical name, and of what shape. */
import {
  type NativeAttention,
  type NativeExperts,
  type NativeLatent,
  type NativeLayer,
  type NativeLayerInputs,
  type NativeModelSpec,
  type NativeNorm,
  type NativeRecurrent,
  NORMS,
  QK_NORM_SPANS,
  RECURRENT_KINDS,
} from '../native.js';

export type Shape = readonly [rows: number, cols: number];

/** A vector is one row. */
export function tensorShapes(spec: NativeModelSpec): Map<string, Shape> {
  const shapes = new Shapes(spec.hiddenSize);
  shapes.model(spec);
  for (const [i, layer] of spec.layers.entries()) shapes.layer(`layers.${i}.`, layer);
  return shapes.all;
}

class Shapes {
  readonly all = new Map<string, Shape>();
  readonly #hiddenSize: number;

  constructor(hiddenSize: number) {
    this.#hiddenSize = hiddenSize;
  }

  model(spec: NativeModelSpec): void {
    const { vocabSize, embedding, head, pooler, finalNorm, layers, layerInputs } = spec;
    const hiddenSize = this.#hiddenSize;
    this.all.set('embed', [vocabSize, hiddenSize]);
    const { numPositions, numTokenTypes } = embedding;
    if (numPositions > 0) this.all.set('positions', [numPositions, hiddenSize]);
    if (numTokenTypes > 0) this.all.set('token_types', [numTokenTypes, hiddenSize]);
    if (layerInputs) {
      this.all.set('layer_inputs', [vocabSize * layers.length, layerInputs.size]);
      this.#norm('layer_inputs_norm', layerInputs.norm, layerInputs.size);
      for (const i of layers.keys()) this.#layerInput(`layers.${i}.`, layerInputs);
    }
    this.#norm('embed_norm', embedding.norm, hiddenSize);
    this.#norm('final_norm', finalNorm, hiddenSize);
    if (head && !head.tied) this.all.set('head', [vocabSize, hiddenSize]);
    let width = hiddenSize;
    pooler?.layers.forEach((dense, i) => {
      this.#matrix(`pooled.${i}`, dense.outSize, width, dense.bias);
      this.#norm(`pooled.${i}.norm`, dense.norm, dense.outSize);
      width = dense.outSize;
    });
  }

  layer(at: string, layer: NativeLayer): void {
    const { attention, recurrent, mlp, experts } = layer;
    this.#norm(`${at}attn_norm`, layer.attnNorm, this.#hiddenSize);
    this.#norm(`${at}post_attn_norm`, layer.postAttnNorm, this.#hiddenSize);
    this.#norm(`${at}mlp_norm`, layer.mlpNorm, this.#hiddenSize);
    this.#norm(`${at}post_mlp_norm`, layer.postMlpNorm, this.#hiddenSize);
    if (attention?.latent) this.#latent(at, attention, attention.latent);
    else if (attention) this.#attention(at, attention);
    if (recurrent !== undefined) this.#recurrent(at, recurrent);
    if (layer.scaled) this.all.set(`${at}scale`, [1, 1]);
    const inner = mlp.gated ? ['gate', 'up'] : ['up'];
    if (mlp.intermediateSize > 0) this.#feed(at, inner, mlp.intermediateSize, mlp.biases);
    if (experts === undefined) return;
    const { numExperts, intermediateSize, biases, router } = experts;
    this.#matrix(`${at}router`, numExperts, this.#hiddenSize, router.bias);
    if (router.choiceBias) this.all.set(`${at}router.choice_bias`, [1, numExperts]);
    if (router.expertScale) this.all.set(`${at}router.expert_scale`, [1, numExperts]);
    if (experts.beside) this.#beside(at, experts.beside);
    if (experts.sharedGate) this.all.set(`${at}shared_gate`, [1, this.#hiddenSize]);
    const latent = experts.latentSize ?? 0;
    if (latent > 0) {
      this.#matrix(`${at}latent_in`, latent, this.#hiddenSize, false);
      this.#matrix(`${at}latent_out`, this.#hiddenSize, latent, false);
    }
    const own = experts.gated === false ? ['up'] : ['gate', 'up'];
    for (let e = 0; e < numExperts; e++) {
      this.#feed(`${at}experts.${e}.`, own, intermediateSize, biases, latent || this.#hiddenSize);
    }
  }

  #beside(at: string, beside: NonNullable<NativeExperts['beside']>): void {
    this.#norm(`${at}router_norm`, beside.routerNorm, this.#hiddenSize);
    this.#norm(`${at}experts_norm`, beside.norm, this.#hiddenSize);
    this.#norm(`${at}post_experts_norm`, beside.postNorm, this.#hiddenSize);
    this.#norm(`${at}post_dense_norm`, beside.postMlpNorm, this.#hiddenSize);
  }

  #layerInput(at: string, { size, postNorm }: NativeLayerInputs): void {
    const hiddenSize = this.#hiddenSize;
    this.all.set(`${at}input_proj`, [size, hiddenSize]);
    this.all.set(`${at}input_gate`, [size, hiddenSize]);
    this.all.set(`${at}input_out`, [hiddenSize, size]);
    this.#norm(`${at}post_input_norm`, postNorm, hiddenSize);
  }

  /** @param width values that go in and come out */
  #feed(
    to: string,
    names: readonly string[],
    size: number,
    biases: readonly string[],
    width = this.#hiddenSize,
  ): void {
    for (const name of names) this.#matrix(to + name, size, width, biases.includes(name));
    this.#matrix(`${to}down`, width, size, biases.includes('down'));
  }

  #latent(at: string, a: NativeAttention, latent: NativeLatent): void {
    const { rank, queryRank, nopeSize, valueSize, norm } = latent;
    const hiddenSize = this.#hiddenSize;
    const ropeSize = a.headSize - rank;
    const [q, k] = ['q', 'k'].map((name) => a.biases.includes(name));
    if (queryRank > 0) {
      this.#matrix(`${at}q_a`, queryRank, hiddenSize, q);
      this.#norm(`${at}q_a_norm`, norm, queryRank);
    }
    const isDirect = queryRank === 0;
    const numRows = a.numHeads * (nopeSize + ropeSize);
    this.#matrix(`${at}q`, numRows, isDirect ? hiddenSize : queryRank, isDirect && q);
    this.#matrix(`${at}kv_a`, rank, hiddenSize, k);
    this.#matrix(`${at}k_rope`, ropeSize, hiddenSize, k);
    this.#norm(`${at}kv_a_norm`, norm, rank);
    for (let h = 0; h < a.numHeads; h++) {
      this.#matrix(`${at}heads.${h}.k_b`, rank, nopeSize, false);
      this.#matrix(`${at}heads.${h}.v_b`, valueSize, rank, false);
    }
    this.#matrix(`${at}o`, hiddenSize, a.numHeads * valueSize, a.biases.includes('o'));
  }

  #attention(at: string, a: NativeAttention): void {
    const [q, kv] = [a.numHeads * a.headSize, a.numKvHeads * a.headSize];
    const whole = a.qkNormSpan === QK_NORM_SPANS.projection;
    const own = a.qkNormSpan === QK_NORM_SPANS.ownHead;
    const isOwn = a.kvLayer === undefined;
    const normed = [['q_norm', a.numHeads] as const, ['k_norm', a.numKvHeads] as const];
    for (const [name, heads] of isOwn ? normed : normed.slice(0, 1)) {
      const names = own ? Array.from({ length: heads }, (_, h) => `${name}.${h}`) : [name];
      for (const each of names) this.#norm(at + each, a.qkNorm, (whole ? heads : 1) * a.headSize);
    }
    if (a.sinks) this.all.set(`${at}sinks`, [1, a.numHeads]);
    if (a.gated) this.#matrix(`${at}attn_gate`, q, this.#hiddenSize, false);
    if (isOwn && a.vNorm) this.#norm(`${at}v_norm`, a.vNorm, a.headSize);
    const kept = isOwn ? (a.valueIsKey ? ['k'] : ['k', 'v']) : [];
    for (const name of ['q', ...kept]) {
      this.#matrix(at + name, name === 'q' ? q : kv, this.#hiddenSize, a.biases.includes(name));
    }
    this.#matrix(`${at}o`, this.#hiddenSize, q, a.biases.includes('o'));
  }

  #recurrent(at: string, r: NativeRecurrent): void {
    const [keys, values] = [r.numKeyHeads * r.keySize, r.numValueHeads * r.valueSize];
    const isConv = r.kind === RECURRENT_KINDS.conv;
    const project = (name: string, rows: number) =>
      this.#matrix(at + name, rows, this.#hiddenSize, r.inBias ?? false);
    const convolve = (name: string, rows: number) =>
      this.#matrix(at + name, rows, r.convWidth, r.convBias);
    project('mix_q', keys);
    project('mix_k', keys);
    project('mix_v', values);
    convolve('conv_v', values);
    this.#matrix(`${at}mix_out`, this.#hiddenSize, values, r.outBias ?? false);
    if (isConv) return;
    convolve('conv_q', keys);
    convolve('conv_k', keys);
    project('mix_gate', values);
    project('mix_decay', r.numValueHeads);
    if (r.kind === RECURRENT_KINDS.delta) project('mix_beta', r.numValueHeads);
    for (const name of ['decay', 'dt_bias', ...(r.skip ? ['skip'] : [])]) {
      this.all.set(at + name, [1, r.numValueHeads]);
    }
    this.#norm(`${at}mix_norm`, r.norm, r.normOwn ? values : (r.normSize ?? r.valueSize));
  }

  #norm(name: string, { kind, weight, bias }: NativeNorm, size: number): void {
    if (kind === NORMS.none) return;
    if (weight) this.all.set(name, [1, size]);
    if (kind === NORMS.layer && bias) this.all.set(`${name}.bias`, [1, size]);
  }

  #matrix(name: string, rows: number, cols: number, bias: boolean): void {
    this.all.set(name, [rows, cols]);
    if (bias) this.all.set(`${name}.bias`, [1, rows]);
  }
}

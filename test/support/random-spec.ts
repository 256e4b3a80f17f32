/** Random models as data: every switch of the record is thrown, and sizes are odd. */
import {
  BRANCHES,
  HIDDEN_ACTS,
  type NativeAttention,
  type NativeDense,
  type NativeExperts,
  type NativeLayer,
  type NativeLayerInputs,
  type NativeMlp,
  type NativeModelSpec,
  type NativeNorm,
  type NativeRecurrent,
  type NativeRope,
  NORMS,
  QK_NORM_SPANS,
  RECURRENT_KINDS,
  ROUTER_SCORES,
} from '../../lib/native.js';
import type { Random } from './random.js';

const { fround } = Math;
const NO_NORM: NativeNorm = { kind: NORMS.none, eps: 0, offset: false, weight: false, bias: false };

export interface SpecLimits {
  readonly vocabSize: number;
  /** Tokens that a learned position table has room for. */
  readonly maxTokens: number;
  /** Heads are one of these sizes. */
  readonly headSizes?: readonly number[];
  /** There is a layer with each of these windows, and no other. Default: any. */
  readonly windows?: readonly number[];
  /** Every expert is chosen: rounding changes no choice. */
  readonly allExperts?: boolean;
  /** Other sizes are multiples of this. */
  readonly multiple?: number;
  /** Loaded to pool: attention that sees both sides, token types, a pooler, perhaps no head. */
  readonly pools?: boolean;
  /** Rows that all heads share are cached, in most layers. */
  readonly latent?: boolean;
  /** Some layers keep a state, also beside attention, or do nothing but feed; perhaps none attends. */
  readonly recurrent?: boolean;
  /** Layers read the KV of others, and what a table says of each token. */
  readonly sharing?: boolean;
  /** Of these kinds. Default: of all. */
  readonly kinds?: readonly NativeRecurrent['kind'][];
}

export function randomSpec(rng: Random, limits: SpecLimits): NativeModelSpec {
  return new Generator(rng, limits).spec();
}

class Generator {
  readonly #rng: Random;
  readonly #limits: SpecLimits;
  readonly #multiple: number;
  readonly #pools: boolean;

  constructor(rng: Random, limits: SpecLimits) {
    this.#rng = rng;
    this.#limits = limits;
    this.#multiple = limits.multiple ?? 1;
    this.#pools = limits.pools ?? false;
  }

  spec(): NativeModelSpec {
    const { vocabSize, maxTokens } = this.#limits;
    const ropes = Array.from({ length: this.#rng.integer(4) }, () => this.#rope());
    // Layers of a few kinds in random order, as families have them, or each of its own.
    const { windows } = this.#limits;
    const kinds =
      windows?.map((window) => this.#windowed(this.#layer(ropes), window)) ??
      Array.from({ length: this.#between(1, 3) }, () => this.#layer(ropes));
    const layers = Array.from({ length: this.#between(1, 4) }, () => this.#of(kinds));
    if (windows) for (const kind of kinds) layers.splice(this.#between(0, layers.length), 0, kind);
    const isRecurrent = layers.some(({ recurrent }) => recurrent !== undefined);
    const mayLackAttention = isRecurrent && this.#chance(0.5);
    if (!mayLackAttention && layers.every(({ attention }) => attention === undefined))
      layers.push(this.#attending(ropes));
    const spec = {
      vocabSize,
      hiddenSize: this.#size(12, 72),
      embedding: {
        scale: this.#maybe(this.#near(4)),
        numPositions: this.#chance(0.3) ? maxTokens + this.#rng.integer(3) : 0,
        numTokenTypes: this.#pools ? this.#rng.integer(3) : 0,
        norm: this.#chance(0.3) ? this.#norm() : NO_NORM,
      },
      ropes,
      layers: this.#limits.sharing ? this.#sharing(layers) : layers,
      ...(this.#limits.sharing && this.#chance(0.7) ? { layerInputs: this.#layerInputs() } : {}),
      finalNorm: this.#chance(0.1) ? NO_NORM : this.#norm(),
      head: {
        tied: this.#chance(0.5),
        scale: this.#maybe(this.#near(2)),
        softcap: this.#chance(0.4) ? this.#near(10) : 0,
      },
    };
    if (!this.#pools) return spec;
    const pooler = { layers: Array.from({ length: this.#rng.integer(3) }, () => this.#dense()) };
    const { head, ...headless } = spec;
    return { ...headless, pooler, ...(this.#chance(0.5) ? { head } : {}) };
  }

  /** Copies of layers behind them, which read their KV. */
  #sharing(layers: readonly NativeLayer[]): NativeLayer[] {
    const own = layers.flatMap(({ attention }, i) => (attention && !attention.latent ? [i] : []));
    const readers = Array.from({ length: this.#between(1, 2) }, (): NativeLayer => {
      const kvLayer = this.#of(own);
      const { attention, ...layer } = layers[kvLayer];
      const { vNorm: _, valueIsKey: __, ...kept } = attention as NativeAttention;
      const biases = kept.biases.filter((name) => name === 'q' || name === 'o');
      const numHeads = kept.numKvHeads * this.#between(1, 3);
      return { ...layer, attention: { ...kept, biases, numHeads, kvLayer } };
    });
    return [...layers, ...readers];
  }

  #layerInputs(): NativeLayerInputs {
    return {
      size: this.#size(4, 30),
      scale: this.#near(2),
      hiddenAct: this.#of(Object.values(HIDDEN_ACTS)),
      norm: this.#chance(0.8) ? this.#norm() : NO_NORM,
      postNorm: this.#norm(),
    };
  }

  #dense(): NativeDense {
    const outSize = this.#size(1, 40);
    // A layer norm of one value is 0, of two a sign.
    const isNormed = outSize > 4 && this.#chance(0.4);
    return {
      outSize,
      bias: this.#chance(0.5),
      ...(this.#chance(0.5) ? { act: this.#of(Object.values(HIDDEN_ACTS)) } : {}),
      norm: isNormed ? this.#norm() : NO_NORM,
    };
  }

  #rope(): NativeRope {
    const pairs = this.#between(1, 16);
    const base = 10 ** (1 + 5 * this.#rng.uniform());
    const frequencies = () =>
      Float32Array.from({ length: pairs }, (_, i) => this.#near(1) * base ** (-i / pairs));
    return {
      inverseFrequencies: frequencies(),
      ...(this.#chance(0.4) ? { longInverseFrequencies: frequencies() } : {}),
      interleaved: this.#chance(0.5),
      attentionFactor: this.#maybe(this.#near(1.2)),
    };
  }

  #layer(ropes: readonly NativeRope[]): NativeLayer {
    const branches = this.#of(Object.values(BRANCHES));
    // A branch without any norm grows from layer to layer until float32 has no digits left.
    // What a state is made of multiplies three of its products.
    const isRecurrent = this.#limits.recurrent === true && this.#chance(0.6);
    const before = branches === BRANCHES.post || isRecurrent || this.#chance(0.8);
    const after = branches !== BRANCHES.post && (!before || this.#chance(0.3));
    const norms = (on: boolean) => (on ? this.#norm() : NO_NORM);
    const layer = {
      branches,
      attnNorm: norms(before),
      postAttnNorm: norms(after),
      mlpNorm: norms(before && branches !== BRANCHES.shared),
      postMlpNorm: norms(after),
      ...(isRecurrent ? { recurrent: this.#recurrent() } : { attention: this.#mixer(ropes) }),
      ...this.#feed(branches === BRANCHES.serial && !after),
      residualScale: this.#maybe(this.#near(0.7)),
      ...(branches !== BRANCHES.post && this.#chance(0.2) ? { scaled: true } : {}),
    };
    return branches === BRANCHES.serial ? this.#serial(layer, ropes) : layer;
  }

  /** Branches that have scales of their own; both mixers, or only some of the branches. */
  #serial(layer: NativeLayer, ropes: readonly NativeRope[]): NativeLayer {
    const scales = this.#chance(0.4)
      ? {
          attentionScale: this.#near(0.8),
          recurrentScale: this.#near(1.2),
          mlpScale: this.#near(0.9),
        }
      : {};
    const scaled = { ...layer, ...scales };
    const isBare = layer.postAttnNorm.kind === NORMS.none;
    if (layer.recurrent && isBare && this.#chance(0.4)) {
      return { ...scaled, attention: this.#attention(ropes) };
    }
    if (!this.#limits.recurrent || this.#chance(0.6)) return scaled;
    const { attention: _, recurrent: __, experts, mlp, ...rest } = scaled;
    if (this.#chance(0.5)) return { ...rest, mlp, ...(experts ? { experts } : {}) };
    const none = { ...mlp, intermediateSize: 0, biases: [] };
    const mixer = layer.recurrent ? { recurrent: layer.recurrent } : {};
    return {
      ...rest,
      ...mixer,
      ...(layer.attention ? { attention: layer.attention } : {}),
      mlp: none,
    };
  }

  #attending(ropes: readonly NativeRope[]): NativeLayer {
    const { recurrent: _, ...layer } = this.#layer(ropes);
    return layer.attention ? layer : { ...layer, attention: this.#attention(ropes) };
  }

  #mixer(ropes: readonly NativeRope[]): NativeAttention {
    const isLatent = this.#limits.latent === true && this.#chance(0.75);
    return isLatent ? this.#latent(ropes) : this.#attention(ropes);
  }

  #windowed(layer: NativeLayer, window: number): NativeLayer {
    const chunked = window > 0 && this.#chance(0.4);
    const { attention } = layer;
    return attention ? { ...layer, attention: { ...attention, window, chunked } } : layer;
  }

  #norm(): NativeNorm {
    const kind = this.#of([NORMS.rms, NORMS.layer]);
    const weight = this.#chance(0.85);
    return {
      kind,
      eps: fround(this.#of([1e-6, 1e-5, 1e-2])),
      offset: weight && this.#chance(0.4),
      weight,
      bias: kind === NORMS.layer && this.#chance(0.7),
      ...(weight && this.#chance(0.2) ? { scale: this.#near(1) } : {}),
    };
  }

  /** Attention that has no heads of its own for keys and values. */
  #latent(ropes: readonly NativeRope[]): NativeAttention {
    const { vNorm: _, valueIsKey: __, ...usual } = this.#attention(ropes);
    const rank = 2 * this.#size(2, 24);
    const ropeSize = 2 * this.#size(1, 12);
    const fitting = ropes.flatMap(({ inverseFrequencies: { length } }, i) =>
      2 * length <= ropeSize ? [i] : [],
    );
    const nopeSize = this.#size(3, 30);
    return {
      ...usual,
      numHeads: this.#between(1, 9),
      numKvHeads: 1,
      headSize: rank + ropeSize,
      rope: fitting.length === 0 || this.#chance(0.2) ? -1 : this.#of(fitting),
      scale: fround(this.#near(1) / Math.sqrt(nopeSize + ropeSize)),
      qkNorm: NO_NORM,
      ...{ sinks: false, gated: false, qkNormAfterRope: false, qkNormSpan: QK_NORM_SPANS.head },
      latent: {
        rank,
        queryRank: this.#chance(0.6) ? this.#size(4, 40) : 0,
        nopeSize,
        valueSize: this.#size(3, 30),
        norm: this.#norm(),
      },
    };
  }

  #attention(ropes: readonly NativeRope[]): NativeAttention {
    const { headSizes = [6, 10, 16, 26, 32, 40, 64, 72] } = this.#limits;
    const headSize = this.#of(headSizes);
    const fitting = ropes.flatMap(({ inverseFrequencies: { length } }, i) =>
      2 * length <= headSize ? [i] : [],
    );
    const numKvHeads = this.#between(1, 3);
    const qkNorm = this.#chance(0.6) ? this.#norm() : NO_NORM;
    const valueIsKey = this.#chance(0.15);
    const projections = valueIsKey ? ['q', 'k', 'o'] : ['q', 'k', 'v', 'o'];
    const qkNormAfterRope = qkNorm.kind === NORMS.rms && this.#chance(0.4);
    return {
      numHeads: numKvHeads * this.#between(1, 5),
      numKvHeads,
      headSize,
      ...this.#reach(),
      rope: fitting.length === 0 || this.#chance(0.2) ? -1 : this.#of(fitting),
      scale: fround(this.#near(1) / Math.sqrt(headSize)),
      softcap: this.#chance(0.4) ? this.#near(5) : 0,
      sinks: this.#chance(0.3),
      qkNorm,
      qkNormSpan: qkNormAfterRope ? QK_NORM_SPANS.head : this.#of(Object.values(QK_NORM_SPANS)),
      qkNormAfterRope,
      temperature: {
        beta: this.#chance(0.3) ? this.#near(0.5) : 0,
        length: this.#between(1, 20),
        offset: this.#rng.integer(3),
      },
      gated: this.#chance(0.3),
      biases: this.#some(projections),
      ...(this.#chance(0.25) ? { vNorm: this.#norm() } : {}),
      ...(valueIsKey ? { valueIsKey } : {}),
    };
  }

  #recurrent(): NativeRecurrent {
    const numKeyHeads = this.#between(1, 3);
    const sizes = {
      numKeyHeads,
      numValueHeads: numKeyHeads * this.#between(1, 3),
      keySize: this.#size(4, 40),
      valueSize: this.#size(4, 40),
      tiled: this.#chance(0.5),
      convWidth: this.#between(2, 5),
      convBias: this.#chance(0.3),
      norm: this.#norm(),
    };
    const { kinds = Object.values(RECURRENT_KINDS) } = this.#limits;
    const kind = this.#of(kinds);
    const scales = this.#chance(0.4)
      ? {
          convScales: { q: this.#near(1), k: this.#near(1), v: this.#near(1) },
          dtScale: this.#near(0.8),
        }
      : {};
    if (kind === RECURRENT_KINDS.delta) return { kind, ...sizes, ...scales };
    const biases = { inBias: this.#chance(0.3), outBias: this.#chance(0.3) };
    if (kind === RECURRENT_KINDS.conv) {
      const { numValueHeads, valueSize } = sizes;
      const keys = { numKeyHeads: numValueHeads, keySize: valueSize, tiled: false };
      return { kind, ...sizes, ...keys, ...biases, norm: NO_NORM };
    }
    return {
      ...{ kind, ...sizes, ...biases, ...scales },
      ...{ skip: this.#chance(0.7), normFirst: this.#chance(0.4) },
      norm: this.#chance(0.2) ? NO_NORM : sizes.norm,
      normSize: sizes.valueSize * this.#of([1, sizes.numValueHeads / numKeyHeads]),
      normOwn: this.#chance(0.6),
      dtMin: this.#chance(0.3) ? this.#near(0.2) : 0,
      ...(this.#chance(0.3) ? { dtMax: this.#near(1) } : {}),
    };
  }

  /** @param mayStandApart what experts give may be added by itself */
  #feed(mayStandApart: boolean): Pick<NativeLayer, 'mlp' | 'experts'> {
    const mlp = this.#mlp();
    if (this.#chance(0.6)) return { mlp };
    const shared = this.#chance(0.5);
    const none = { ...mlp, intermediateSize: 0, biases: [] };
    const all = this.#experts(shared);
    const experts = this.#chance(0.3) ? ungated(all) : all;
    const mayBeLatent = mayStandApart && experts.beside === undefined;
    if (!mayBeLatent || this.#chance(0.6)) return { mlp: shared ? mlp : none, experts };
    const latent = { latentSize: this.#size(6, 40), sharedGate: false };
    return { mlp: shared ? mlp : none, experts: { ...experts, ...latent } };
  }

  #experts(shared: boolean): NativeExperts {
    const score = this.#of(Object.values(ROUTER_SCORES));
    const numGroups = score === ROUTER_SCORES.chosenSoftmax ? 1 : this.#of([1, 1, 2, 3]);
    const size = this.#between(2, numGroups > 1 ? 3 : 5);
    const numExperts = numGroups * size;
    const { allExperts } = this.#limits;
    const topGroups = allExperts ? numGroups : this.#between(1, numGroups);
    const scalesInput = this.#chance(0.25);
    const isBeside = shared && this.#chance(0.4);
    return {
      numExperts,
      topK: allExperts ? numExperts : this.#between(1, Math.min(size * topGroups, 4)),
      intermediateSize: this.#size(8, 60),
      hiddenAct: this.#of(Object.values(HIDDEN_ACTS)),
      alpha: this.#maybe(this.#near(1.7)),
      limit: this.#chance(0.4) ? this.#near(2) : 0,
      upOffset: this.#chance(0.4) ? this.#near(1) : 0,
      biases: this.#some(scalesInput ? ['down'] : ['gate', 'up', 'down']),
      router: {
        score,
        bias: this.#chance(0.4),
        choiceBias: score !== ROUTER_SCORES.chosenSoftmax && this.#chance(0.4),
        normalize: this.#chance(0.5),
        scale: this.#maybe(this.#near(2)),
        numGroups,
        topGroups,
        groupBest: this.#between(1, 2),
        ...(this.#chance(0.3) ? { expertScale: true } : {}),
      },
      scalesInput,
      sharedGate: shared && !isBeside && this.#chance(0.5),
      ...(isBeside ? { beside: this.#beside() } : {}),
    };
  }

  #beside(): NonNullable<NativeExperts['beside']> {
    const norm = () => (this.#chance(0.8) ? this.#norm() : NO_NORM);
    return { routerNorm: norm(), norm: norm(), postNorm: norm(), postMlpNorm: norm() };
  }

  #reach(): Pick<NativeAttention, 'causal' | 'window' | 'chunked'> {
    const causal = !this.#pools || this.#chance(0.3);
    return this.#chance(0.6)
      ? { causal, window: this.#between(1, 24), chunked: causal && this.#chance(0.4) }
      : { causal, window: 0, chunked: false };
  }

  #mlp(): NativeMlp {
    const gated = this.#chance(0.5);
    return {
      intermediateSize: this.#size(8, 100),
      hiddenAct: this.#of(Object.values(HIDDEN_ACTS)),
      gated,
      biases: this.#some(gated ? ['gate', 'up', 'down'] : ['up', 'down']),
    };
  }

  #chance(probability: number): boolean {
    return this.#rng.uniform() < probability;
  }

  #between(low: number, high: number): number {
    return low + this.#rng.integer(high - low + 1);
  }

  #size(low: number, high: number): number {
    return Math.ceil(this.#between(low, high) / this.#multiple) * this.#multiple;
  }

  #of<T>(list: readonly T[]): T {
    return list[this.#rng.integer(list.length)];
  }

  #some(names: readonly string[]): string[] {
    return this.#chance(0.5) ? [] : names.filter(() => this.#chance(0.6));
  }

  /** Between half and one and a half of a value, as float32 has it. */
  #near(value: number): number {
    return fround(value * (0.5 + this.#rng.uniform()));
  }

  /** 1, which changes nothing, or the value. */
  #maybe(value: number): number {
    return this.#chance(0.5) ? 1 : value;
  }
}

function ungated(experts: NativeExperts): NativeExperts {
  const biases = experts.biases.filter((name) => name !== 'gate');
  return { ...experts, gated: false, alpha: 1, limit: 0, upOffset: 0, biases };
}

/** A seeded generator: the same seed asks a server the same things at the same times. */
export class Random {
  readonly #state: Uint32Array;

  constructor(seed: number) {
    // splitmix32 spreads what may be a small number over the state of sfc32.
    let word = seed >>> 0;
    this.#state = Uint32Array.from({ length: 4 }, () => {
      word = (word + 0x9e3779b9) >>> 0;
      let z = word;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return (z ^ (z >>> 16)) >>> 0;
    });
    for (let i = 0; i < 12; i++) this.#word();
  }

  /** 32 bits, by sfc32. */
  #word(): number {
    const s = this.#state;
    const out = (s[0] + s[1] + s[3]) >>> 0;
    s[3]++;
    s[0] = s[1] ^ (s[1] >>> 9);
    s[1] = s[2] + (s[2] << 3);
    s[2] = ((s[2] << 21) | (s[2] >>> 11)) + out;
    return out;
  }

  /** In (0, 1): a logarithm of it is finite. */
  uniform(): number {
    return (this.#word() + 0.5) / 2 ** 32;
  }

  /** In [low, high], both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1));
  }

  normal(): number {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Of mean 1 and variance 1 / shape (Marsaglia and Tsang's method). */
  gamma(shape: number): number {
    if (shape < 1) {
      // A draw of shape + 1 times U^(1/shape) is one of shape.
      return (this.#gamma(shape + 1) * this.uniform() ** (1 / shape)) / shape;
    }
    return this.#gamma(shape) / shape;
  }

  #gamma(shape: number): number {
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = this.normal();
      const v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(this.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) {
        return d * v;
      }
    }
  }

  /** In place. */
  shuffle<T>(list: T[]): T[] {
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.integer(0, i);
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  }
}

/** Seeds for requests that bring none. */
import { randomInt } from 'node:crypto';

const RANGE = 2 ** 47; // randomInt's largest range is below 2^48

/** A function that draws seeds in [0, 2^47): at random, or a sequence that `seed` determines. */
export function seedSource(seed: number | undefined): () => number {
  if (seed === undefined) return () => randomInt(RANGE);
  let state = BigInt(seed);
  return () => {
    // SplitMix64 (Steele, Lea, Flood 2014)
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
    let z = state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return Number((z ^ (z >> 31n)) >> 17n);
  };
}

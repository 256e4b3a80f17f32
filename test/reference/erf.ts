/** The error function, to float64: its Taylor series, or far out the continued fraction of erfc. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 3) return Math.sign(x) * (1 - erfc(a));
  // 2/√π · Σ (−1)ⁿ x²ⁿ⁺¹ / (n! (2n + 1))
  let power = x;
  let total = x;
  for (let n = 1; n < 100; n++) {
    power *= -(x * x) / n;
    total += power / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

/** exp(−x²)/√π · 1/(x + (1/2)/(x + (2/2)/(x + (3/2)/(x + …)))) for x > 3. */
function erfc(x: number): number {
  let fraction = x;
  for (let n = 60; n > 0; n--) fraction = x + n / 2 / fraction;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * fraction);
}

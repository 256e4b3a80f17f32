/** The float16 next to a number of its normal range, ties to even; 0 below that range. */
export function toHalf(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0];
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 255) - 112;
  if (exponent <= 0) return sign;
  const whole = (exponent << 10) | ((bits >>> 13) & 0x3ff);
  const rest = bits & 0x1fff;
  const up = rest > 0x1000 || (rest === 0x1000 && (whole & 1) === 1);
  return sign | (whole + (up ? 1 : 0));
}

import type { Regex, RegexBuilder } from '../ir.js';

/** A decimal number, exactly: digits before the point and behind it, without needless zeros. */
export interface Decimal {
  readonly negative: boolean;
  readonly whole: string;
  readonly fraction: string;
}

/** A double as the shortest decimal that reads as it. */
export function decimalOf(value: number): Decimal {
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(JSON.stringify(value))!;
  const [, sign, before, behind = '', power = '0'] = parts;
  const digits = before + behind;
  const point = before.length + Number(power);
  const whole = point <= 0 ? '0' : digits.slice(0, point).padEnd(point, '0');
  const fraction = '0'.repeat(Math.max(-point, 0)) + digits.slice(Math.max(point, 0));
  return {
    negative: sign === '-',
    whole: whole.replace(/^0+(?=\d)/, ''),
    fraction: fraction.replace(/0+$/, ''),
  };
}

const NUM_CLASSES = 13;
const [POINT, MINUS, OTHER] = [10, 11, 12];

/** A number that is being read, as far as what is asked of it depends on that. */
interface Reading {
  readonly at: 'start' | 'sign' | 'whole' | 'point' | 'fraction';
  readonly negative: boolean;
  /** What the automaton is about: an order or a remainder. */
  readonly size: number;
  /** Digits read of this part, as far as they count. */
  readonly digits: number;
  /** Every digit so far is zero. */
  readonly zero: boolean;
}

interface Question {
  /** `size` after one more digit; undefined where the number cannot go on so. */
  digit(state: Reading, digit: number): number | undefined;
  /** `size` at the point. */
  point(state: Reading): number;
  accepts(state: Reading): boolean;
  /** Digits of the whole part and of the fraction that are counted; above, the count stays. */
  readonly counted: { readonly whole: number; readonly fraction: number };
}

/** Numbers without exponent whose order to the bound (-1 below, 0 equal, 1 above) is accepted. */
export function comparison(
  bound: Decimal,
  accepts: (order: number) => boolean,
  builder: RegexBuilder,
): Regex {
  const { whole, fraction, negative } = bound;
  const zero = whole === '0' && fraction === '';
  // Of the whole part alone: more digits are more, without leading zeros.
  const wholeOrder = (digits: number, size: number) =>
    digits === whole.length ? size : Math.sign(digits - whole.length);
  return numbers(builder, {
    counted: { whole: whole.length + 1, fraction: fraction.length + 1 },
    digit: ({ at, size, digits }, digit) => {
      if (size !== 0) return size;
      if (at === 'whole') return digits < whole.length ? order(digit, whole[digits]) : 0;
      return order(digit, digits < fraction.length ? fraction[digits] : '0');
    },
    point: ({ digits, size }) => wholeOrder(digits, size),
    accepts: (state) => {
      const size = state.at === 'whole' ? wholeOrder(state.digits, state.size) : state.size;
      const read = state.at === 'whole' ? 0 : state.digits;
      const magnitude = size !== 0 ? size : read < fraction.length ? -1 : 0;
      if (state.zero) return accepts(zero ? 0 : negative ? 1 : -1);
      if (zero || state.negative !== negative) return accepts(state.negative ? -1 : 1);
      return accepts(state.negative ? -magnitude : magnitude);
    },
  });
}

/** Numbers without exponent that, times 10^scale, are multiples of the modulus. */
export function multiples(modulus: number, scale: number, builder: RegexBuilder): Regex {
  const powers = Array.from({ length: scale + 1 }, (_, digits) =>
    Number(10n ** BigInt(scale - digits) % BigInt(modulus)),
  );
  return numbers(builder, {
    counted: { whole: 1, fraction: scale + 1 },
    digit: ({ at, size, digits }, digit) => {
      if (at === 'whole' || digits < scale) return (size * 10 + digit) % modulus;
      return size === 0 && digit === 0 ? 0 : undefined;
    },
    point: ({ size }) => size,
    accepts: ({ at, size, digits }) =>
      (size * powers[at === 'whole' ? 0 : Math.min(digits, scale)]) % modulus === 0,
  });
}

function order(digit: number, wanted: string): number {
  return Math.sign(digit - Number(wanted));
}

/** The automaton of the numbers without exponent to which the answer is yes. */
function numbers(builder: RegexBuilder, question: Question): Regex {
  const ids = new Map<string, number>();
  const queue: Reading[] = [];
  const idOf = (state: Reading): number => {
    const key = Object.values(state).join();
    let id = ids.get(key);
    if (id === undefined) {
      id = queue.length;
      ids.set(key, id);
      queue.push(state);
    }
    return id;
  };
  idOf({ at: 'start', negative: false, size: 0, digits: 0, zero: true });
  const next: number[] = [];
  const accepts: boolean[] = [];
  for (let i = 0; i < queue.length; i++) {
    const state = queue[i];
    builder.budget.spend(NUM_CLASSES / 2);
    const read = state.at === 'whole' || state.at === 'fraction';
    accepts.push(read && question.accepts(state));
    for (let symbol = 0; symbol < NUM_CLASSES; symbol++) {
      const after = step(state, symbol, question);
      next.push(after === undefined ? -1 : idOf(after));
    }
  }
  const classOf = new Uint8Array(256).fill(OTHER);
  for (let digit = 0; digit < 10; digit++) classOf[0x30 + digit] = digit;
  classOf[0x2e] = POINT;
  classOf[0x2d] = MINUS;
  return builder.automaton({
    numStates: queue.length,
    start: 0,
    accepts,
    classOf,
    numClasses: NUM_CLASSES,
    next: Int32Array.from(next),
  });
}

function step(state: Reading, symbol: number, question: Question): Reading | undefined {
  if (symbol === OTHER) return undefined;
  const { at } = state;
  if (symbol === MINUS)
    return at === 'start' ? { ...state, at: 'sign', negative: true } : undefined;
  if (symbol === POINT) {
    if (at !== 'whole') return undefined;
    return { ...state, at: 'point', size: question.point(state), digits: 0 };
  }
  // A leading zero stands alone.
  if (at === 'whole' && state.zero) return undefined;
  const part = at === 'point' || at === 'fraction' ? 'fraction' : 'whole';
  const within = { ...state, at: part } as const;
  const size = question.digit(within, symbol);
  if (size === undefined) return undefined;
  const digits = Math.min(state.digits + 1, question.counted[part]);
  return { ...within, size, digits, zero: state.zero && symbol === 0 };
}

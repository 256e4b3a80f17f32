const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  ...['January', 'February', 'March', 'April', 'May', 'June'],
  ...['July', 'August', 'September', 'October', 'November', 'December'],
];

const DAY = 86_400_000;

/** Midday, so that no change of the clock moves the day. */
function midday(year: number, month: number, day: number): Date {
  return new Date(year, month, day, 12);
}

function dayOfYear(date: Date): number {
  const year = date.getFullYear();
  const here = midday(year, date.getMonth(), date.getDate());
  return Math.round((here.getTime() - midday(year, 0, 1).getTime()) / DAY) + 1;
}

/** Week of the year, whose first day is `start` (0 Sunday, 1 Monday); before it is week 0. */
function week(date: Date, start: number): number {
  const weekday = (date.getDay() - start + 7) % 7;
  return Math.floor((dayOfYear(date) + 6 - weekday) / 7);
}

/** Year and week of ISO 8601: a week belongs to the year of its Thursday. */
function isoWeek(date: Date): { year: number; week: number } {
  const days = 4 - (date.getDay() || 7);
  const thursday = midday(date.getFullYear(), date.getMonth(), date.getDate() + days);
  return {
    year: thursday.getFullYear(),
    week: Math.floor((dayOfYear(thursday) - 1) / 7) + 1,
  };
}

/** A number, and how wide and with what it is filled. */
type Piece = string | { value: number; width: number; fill?: string };

function two(value: number, fill?: string): Piece {
  return { value, width: 2, fill };
}

const CODES: Record<string, (date: Date) => Piece> = {
  a: (date) => DAYS[date.getDay()].slice(0, 3),
  A: (date) => DAYS[date.getDay()],
  b: (date) => MONTHS[date.getMonth()].slice(0, 3),
  B: (date) => MONTHS[date.getMonth()],
  C: (date) => two(Math.floor(date.getFullYear() / 100)),
  d: (date) => two(date.getDate()),
  e: (date) => two(date.getDate(), ' '),
  f: (date) => ({ value: date.getMilliseconds() * 1000, width: 6 }),
  g: (date) => two(isoWeek(date).year % 100),
  G: (date) => String(isoWeek(date).year),
  H: (date) => two(date.getHours()),
  I: (date) => two(date.getHours() % 12 || 12),
  j: (date) => ({ value: dayOfYear(date), width: 3 }),
  k: (date) => two(date.getHours(), ' '),
  l: (date) => two(date.getHours() % 12 || 12, ' '),
  m: (date) => two(date.getMonth() + 1),
  M: (date) => two(date.getMinutes()),
  n: () => '\n',
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  P: (date) => (date.getHours() < 12 ? 'am' : 'pm'),
  s: (date) => String(Math.floor(date.getTime() / 1000)),
  S: (date) => two(date.getSeconds()),
  t: () => '\t',
  u: (date) => String(date.getDay() || 7),
  U: (date) => two(week(date, 0)),
  V: (date) => two(isoWeek(date).week),
  w: (date) => String(date.getDay()),
  W: (date) => two(week(date, 1)),
  y: (date) => two(date.getFullYear() % 100),
  Y: (date) => String(date.getFullYear()),
  // Python's now() knows no time zone.
  z: () => '',
  Z: () => '',
  '%': () => '%',
};

/** Codes that stand for several. */
const COMPOUND: Record<string, string> = {
  c: '%a %b %e %H:%M:%S %Y',
  D: '%m/%d/%y',
  F: '%Y-%m-%d',
  h: '%b',
  r: '%I:%M:%S %p',
  R: '%H:%M',
  T: '%H:%M:%S',
  x: '%m/%d/%y',
  X: '%H:%M:%S',
};

function filled(piece: Piece, flag: string): string {
  if (typeof piece === 'string') return flag === '^' ? piece.toUpperCase() : piece;
  const { value, width, fill = '0' } = piece;
  if (flag === '-') return String(value);
  return String(value).padStart(width, flag === '_' ? ' ' : flag === '0' ? '0' : fill);
}

/**
 * Python's strftime of a naive local time, as the C library of Linux writes it in English whatever
 * the locale; with its flags (`%-d` without leading zeros, `%_d`, `%^a`). Unknown codes stay.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%([-_0^]?)([a-zA-Z%])/g, (whole, flag: string, code: string) => {
    if (Object.hasOwn(COMPOUND, code)) return strftime(date, COMPOUND[code]);
    return Object.hasOwn(CODES, code) ? filled(CODES[code](date), flag) : whole;
  });
}

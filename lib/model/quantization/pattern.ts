/**
 * Names of modules by patterns of a checkpoint's configuration: a small part of regular
 * expressions, matched in time that grows with pattern times name (a file's author chooses both),
 * and the wildcards of file names.
 */

/** What one character may be. */
type Test = (char: string) => boolean;

/** A state: tests a character, splits in two ways, asserts an end of the name, or is the last. */
type State =
  | { readonly test: Test; to: number }
  | { readonly ways: number[] }
  | { readonly at: 'start' | 'end'; to: number };

/** A piece of the machine: its first state, and where what follows it is to be filled in. */
interface Piece {
  readonly first: number;
  readonly open: readonly ((to: number) => void)[];
}

const CLASSES: Readonly<Record<string, Test>> = {
  d: (c) => /^\d$/.test(c),
  w: (c) => /^\w$/.test(c),
  s: (c) => /^\s$/.test(c),
  D: (c) => !/^\d$/.test(c),
  W: (c) => !/^\w$/.test(c),
  S: (c) => !/^\s$/.test(c),
};

const MAX_STATES = 4096;

/** As Python's re.match: from the start, to anywhere unless it says $. */
export class Pattern {
  readonly #states: State[] = [];
  readonly #first: number;
  #at = 0;

  /** @throws Error saying what in it is not known */
  constructor(readonly source: string) {
    const { first, open } = this.#choice();
    if (this.#at < source.length) throw new Error(`a ")" too many`);
    for (const fill of open) fill(-1);
    this.#first = first;
  }

  matches(name: string): boolean {
    let now = this.#closure([this.#first], 0, name.length);
    for (let i = 0; ; i++) {
      if (now.has(-1)) return true;
      if (i === name.length || now.size === 0) return false;
      const next: number[] = [];
      for (const at of now) {
        const state = this.#states[at];
        if (state !== undefined && 'test' in state && state.test(name[i])) next.push(state.to);
      }
      now = this.#closure(next, i + 1, name.length);
    }
  }

  /** All states that these reach without a character. */
  #closure(from: readonly number[], position: number, length: number): Set<number> {
    const reached = new Set(from);
    for (const at of reached) {
      const state = this.#states[at];
      if (state === undefined) continue;
      if ('ways' in state) for (const to of state.ways) reached.add(to);
      if ('at' in state && position === (state.at === 'start' ? 0 : length)) reached.add(state.to);
    }
    return reached;
  }

  #state(state: State): number {
    if (this.#states.length >= MAX_STATES) throw new Error('too much of it');
    return this.#states.push(state) - 1;
  }

  #one(state: State & { to: number }): Piece {
    const fill = (to: number) => {
      state.to = to;
    };
    return { first: this.#state(state), open: [fill] };
  }

  /** Ways, some of them still to be filled in: a first one, and a way past it. */
  #split(first?: number) {
    const state = { ways: first === undefined ? [] : [first] };
    const fill = (to: number) => {
      state.ways.push(to);
    };
    return { at: this.#state(state), fill };
  }

  #choice(): Piece {
    const ways = [this.#sequence()];
    while (this.source[this.#at] === '|') {
      this.#at++;
      ways.push(this.#sequence());
    }
    if (ways.length === 1) return ways[0];
    const { at, fill } = this.#split();
    for (const way of ways) fill(way.first);
    return { first: at, open: ways.flatMap((way) => way.open) };
  }

  #sequence(): Piece {
    const start = this.#split();
    let open: Piece['open'] = [start.fill];
    for (;;) {
      const char = this.source[this.#at];
      if (char === undefined || char === '|' || char === ')') break;
      const next = this.#repeated();
      for (const fill of open) fill(next.first);
      open = next.open;
    }
    return { first: start.at, open };
  }

  #repeated(): Piece {
    const piece = this.#atom();
    const sign = this.source[this.#at];
    if (sign === '{') throw new Error('a number of repetitions');
    if (sign !== '*' && sign !== '+' && sign !== '?') return piece;
    this.#at++;
    if (this.source[this.#at] === '?') this.#at++; // whether it matches is the same
    const { at, fill } = this.#split(piece.first);
    if (sign === '?') return { first: at, open: [...piece.open, fill] };
    for (const end of piece.open) end(at);
    return { first: sign === '*' ? at : piece.first, open: [fill] };
  }

  #atom(): Piece {
    const char = this.source[this.#at++];
    if (char === '(') return this.#group();
    if (char === '[') return this.#one({ test: this.#set(), to: -1 });
    if (char === '.') return this.#one({ test: (c) => c !== '\n', to: -1 });
    if (char === '^') return this.#one({ at: 'start', to: -1 });
    if (char === '$') return this.#one({ at: 'end', to: -1 });
    if ('*+?{'.includes(char)) throw new Error(`a ${char} behind nothing`);
    const test = char === '\\' ? this.#escape() : is(char);
    return this.#one({ test, to: -1 });
  }

  #group(): Piece {
    if (this.source[this.#at] === '?') {
      if (this.source[this.#at + 1] !== ':') throw new Error(`a group that begins with (?`);
      this.#at += 2;
    }
    const inner = this.#choice();
    if (this.source[this.#at++] !== ')') throw new Error('a ( without its )');
    return inner;
  }

  #escape(): Test {
    const char = this.source[this.#at++];
    if (char === undefined) throw new Error('a \\ at its end');
    if (Object.hasOwn(CLASSES, char)) return CLASSES[char];
    if (/[A-Za-z0-9]/.test(char)) throw new Error(`\\${char}`);
    return is(char);
  }

  #set(): Test {
    const negated = this.source[this.#at] === '^';
    if (negated) this.#at++;
    const tests: Test[] = [];
    for (let first = true; first || this.source[this.#at] !== ']'; first = false) {
      const char = this.source[this.#at++];
      if (char === undefined) throw new Error('a [ without its ]');
      const end = this.source[this.#at + 1];
      if (char === '\\') {
        tests.push(this.#escape());
      } else if (this.source[this.#at] === '-' && end !== ']' && end !== undefined) {
        this.#at += 2;
        tests.push((c) => c >= char && c <= end);
      } else {
        tests.push(is(char));
      }
    }
    this.#at++;
    return (c) => tests.some((test) => test(c)) !== negated;
  }
}

function is(char: string): Test {
  return (c) => c === char;
}

/** As Python's fnmatch: * is anything, ? a character; and what is inside of what it names. */
export function matchesGlob(glob: string, name: string): boolean {
  const source = glob
    .replace(/[\\^$.|+(){}]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.');
  return new Pattern(`${source}(\\..*)?$`).matches(name);
}

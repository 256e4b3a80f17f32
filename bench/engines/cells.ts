/** What is measured of an engine: the cells of the table of `npm run bench -- peers`, as data. */

/** Prompts of so many tokens, to be answered with so many. */
interface Size {
  readonly prompt: number;
  readonly output: number;
}

export type Cell = Size &
  (
    | { readonly kind: 'prefill'; readonly n: number }
    | { readonly kind: 'decode'; readonly n: number }
    | { readonly kind: 'samples'; readonly n: number }
    | { readonly kind: 'beams'; readonly width: number }
    /** All prompts begin with the same `shared` tokens, which nobody has seen before. */
    | { readonly kind: 'batch'; readonly n: number; readonly shared: number }
    /** Prefill, and decode behind it: of prompts that are cached, where an engine caches. */
    | { readonly kind: 'long'; readonly n: number }
  );

/** A line of the table; a cell gives one or two. */
export interface Line {
  readonly name: string;
  readonly unit: 'tok/s' | 's';
}

const rate = (name: string): Line => ({ name, unit: 'tok/s' });
const seconds = (name: string): Line => ({ name, unit: 's' });

export function linesOf(cell: Cell): readonly Line[] {
  const { kind, prompt } = cell;
  switch (kind) {
    case 'prefill':
      return [rate(`prefill ${prompt}, ${cell.n === 1 ? 'one prompt' : `${cell.n} prompts`}`)];
    case 'decode':
      return [rate(`decode at ${cell.n}`), rate(`output incl. prefill at ${cell.n}`)];
    case 'samples':
      return [seconds(`n = ${cell.n} of a ${prompt}-token prompt`)];
    case 'beams':
      return [seconds(`beam ${cell.width} of a ${prompt}-token prompt`)];
    case 'batch': {
      const shared = cell.shared === 0 ? 'nothing' : `${cell.shared}`;
      return [seconds(`${cell.n} x ${prompt} tokens, ${shared} shared`)];
    }
    case 'long':
      return [rate(`prefill ${prompt} at ${cell.n}`), rate(`decode at ${cell.n} after ${prompt}`)];
    default:
      return cell satisfies never;
  }
}

const LONG = { kind: 'long', prompt: 8000, output: 33 } as const;
const decode = (n: number): Cell => ({
  kind: 'decode',
  n,
  prompt: 128,
  output: n > 64 ? 64 : 128,
});
const batch = (shared: number): Cell => ({ kind: 'batch', n: 16, prompt: 1032, output: 8, shared });

/** What every shape is measured with, and what a large one is only where there is time. */
export const COMMON: readonly Cell[] = [
  { kind: 'prefill', n: 1, prompt: 512, output: 1 },
  { kind: 'prefill', n: 8, prompt: 512, output: 1 },
  ...[1, 8, 32].map(decode),
  { kind: 'samples', n: 8, prompt: 512, output: 64 },
  { kind: 'beams', width: 4, prompt: 512, output: 64 },
  batch(1000),
];
export const MORE: readonly Cell[] = [decode(128), batch(0), { ...LONG, n: 1 }, { ...LONG, n: 8 }];

/** Of a quick look: little of every kind. */
export const QUICK: readonly Cell[] = [
  { kind: 'prefill', n: 1, prompt: 512, output: 1 },
  { kind: 'decode', n: 8, prompt: 32, output: 16 },
  { kind: 'samples', n: 8, prompt: 64, output: 8 },
  { kind: 'beams', width: 4, prompt: 64, output: 8 },
  { kind: 'batch', n: 4, prompt: 132, output: 4, shared: 100 },
  { kind: 'long', n: 1, prompt: 1000, output: 9 },
];

/** Minutes a run: once is enough, since what varies from second to second has averaged out. */
export const isOnce = (cell: Cell): boolean => cell.kind === 'long' && cell.n > 1;

/** Tokens of one sequence and of one pool that all cells need. */
export const MAX_MODEL_LEN = 8192;
export const MAX_NUM_SEQS = 128;
export const KV_GIB = 3;

/** What a worker is asked: greedy, but samples; the end token is a token like others. */
export interface Ask {
  readonly prompts: readonly (readonly number[])[];
  readonly output: number;
  /** Samples of each prompt; default 1. */
  readonly samples?: number;
  /** Width of a beam search; default: none. */
  readonly beams?: number;
}

/** Seconds that it takes. */
export type Asked = (ask: Ask) => Promise<number>;

let drawn = 0;
/** A prompt that shares its first token with no other, so that caches know nothing of it. */
function prompt(length: number): number[] {
  const k = drawn++;
  return Array.from({ length }, (_, i) => 300 + ((i * 37 + k * 101 + ((i * k) % 13)) % 40000));
}

const promptsOf = (n: number, length: number) => Array.from({ length: n }, () => prompt(length));

/** A value for each of the cell's lines, from an engine that answers prompts. */
export async function measure(cell: Cell, ask: Asked): Promise<number[]> {
  const { kind, prompt: length, output } = cell;
  switch (kind) {
    case 'prefill':
      return [(cell.n * length) / (await ask({ prompts: promptsOf(cell.n, length), output }))];
    case 'decode': {
      const first = await ask({ prompts: promptsOf(cell.n, length), output: 1 });
      const whole = await ask({ prompts: promptsOf(cell.n, length), output });
      return [(cell.n * (output - 1)) / (whole - first), (cell.n * output) / whole];
    }
    case 'samples':
      return [await ask({ prompts: promptsOf(1, length), output, samples: cell.n })];
    case 'beams':
      return [await ask({ prompts: promptsOf(1, length), output, beams: cell.width })];
    case 'batch': {
      const shared = prompt(cell.shared);
      const prompts = promptsOf(cell.n, length - cell.shared).map((own) => [...shared, ...own]);
      return [await ask({ prompts, output })];
    }
    case 'long': {
      const prompts = promptsOf(cell.n, length);
      const first = await ask({ prompts, output: 1 });
      const again = await ask({ prompts, output: 1 });
      const whole = await ask({ prompts, output });
      return [(cell.n * length) / first, (cell.n * (output - 1)) / (whole - again)];
    }
    default:
      return cell satisfies never;
  }
}

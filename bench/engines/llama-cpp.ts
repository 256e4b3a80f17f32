/** llama.cpp's own bench of batches: it loads anew for every cell and leaves sampling out. */
import { spawn } from 'node:child_process';
import type { Cell } from './cells.js';
import type { Engine } from './engine.js';

/** A line of its table. */
interface Ran {
  readonly prefillRate: number;
  readonly decodeRate: number;
  readonly seconds: number;
}

export class LlamaCpp implements Engine {
  readonly name = 'llama.cpp';
  readonly #program: string;
  readonly #settings: readonly string[];

  constructor(program: string, model: string, threads: number) {
    this.#program = program;
    this.#settings = [
      ...['-m', model, '-t', `${threads}`, '-tb', `${threads}`],
      ...['-fa', 'on', '-b', '512', '-ub', '512'],
    ];
  }

  get about(): string {
    return ['llama-batched-bench', ...this.#settings].join(' ');
  }

  async measure(cell: Cell): Promise<number[] | string> {
    switch (cell.kind) {
      case 'prefill':
        return [(await this.#run(cell.n, cell.prompt, 1)).prefillRate];
      case 'decode': {
        const { decodeRate, seconds } = await this.#run(cell.n, cell.prompt, cell.output);
        return [decodeRate, (cell.n * cell.output) / seconds];
      }
      case 'samples':
        return [(await this.#run(cell.n, cell.prompt, cell.output, ['-pps'])).seconds];
      case 'beams':
        return 'it has none';
      case 'batch':
        if (cell.shared > 0) return 'whole prompts are shared, or nothing';
        return [(await this.#run(cell.n, cell.prompt, cell.output)).seconds];
      case 'long': {
        const { prefillRate, decodeRate } = await this.#run(cell.n, cell.prompt, cell.output);
        return [prefillRate, decodeRate];
      }
      default:
        return cell satisfies never;
    }
  }

  peakMiB(): undefined {
    return undefined;
  }

  stop(): void {}

  async #run(n: number, prompt: number, output: number, more: readonly string[] = []) {
    const room = n * (prompt + output) + 256;
    const text = await outputOf(this.#program, [
      ...[...this.#settings, ...more, '-c', `${room}`],
      ...['-npp', `${prompt}`, '-ntg', `${output}`, '-npl', `${n}`],
    ]);
    const ran = tableLine(text, n);
    if (!ran) throw new Error(text.trim().split('\n').at(-1));
    return ran;
  }
}

/** Of the columns PP, TG, B, N_KV, T_PP, S_PP, T_TG, S_TG, T and S. */
function tableLine(text: string, n: number): Ran | undefined {
  for (const line of text.split('\n')) {
    const fields = line.split('|').map((field) => Number(field.trim()));
    if (fields.length < 11 || fields[3] !== n || !(fields[9] > 0)) continue;
    const [prefillRate, , decodeRate, seconds] = fields.slice(6);
    return { prefillRate, decodeRate, seconds };
  }
  return undefined;
}

function outputOf(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const parts: Buffer[] = [];
    child.stdout.on('data', (part: Buffer) => parts.push(part));
    child.stderr.on('data', (part: Buffer) => parts.push(part));
    child.on('error', reject);
    child.on('close', () => resolve(Buffer.concat(parts).toString()));
  });
}

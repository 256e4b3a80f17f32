/** `octavo generate --prompts-file`: many prompts at once, results in the order of the file. */
import { MultiBar, Presets } from 'cli-progress';
import { isBeamSearch, SHARED_PARAMS } from '../core/beam-params.js';
import type { GenerateParams } from '../engine/gate.js';
import type { LLM } from '../engine/llm.js';
import type { RequestOutput } from '../engine/outputs.js';
import { type GenerateFlags, requestOptionsOf } from './flags.js';
import { badLine, type PromptLine } from './prompt-input.js';
import { samplesText } from './report.js';

export async function generateBatch(
  llm: LLM,
  lines: readonly PromptLine[],
  params: GenerateParams,
  flags: GenerateFlags,
  signal: AbortSignal,
): Promise<RequestOutput[]> {
  const printer = new OrderedPrinter(flags.json ?? false, lines);
  const bar = new MultiBar(
    { stream: process.stderr, clearOnComplete: true, noTTYOutput: false, hideCursor: true },
    Presets.shades_classic,
  );
  const progress = bar.create(lines.length, 0);
  try {
    return await llm.generate(
      lines.map(({ prompt }) => prompt),
      lines.map((line) => ({ ...baseFor(line, params), ...line.params }) as GenerateParams),
      {
        signal,
        ...requestOptionsOf(flags),
        onOutput: (output, i) => {
          progress.increment();
          printer.take(output, i);
        },
      },
    );
  } catch (error) {
    const { promptIndex } = error as { promptIndex?: number };
    if (promptIndex === undefined) throw error;
    throw badLine(
      flags.promptsFile as string,
      lines[promptIndex].line,
      (error as Error).message.replace(/^prompt \d+: /, ''),
    );
  } finally {
    bar.stop();
  }
}

/** Flags of the call hold for every line; sampling ones not for a line that asks for beams. */
function baseFor(line: PromptLine, params: GenerateParams): GenerateParams {
  if (!isBeamSearch(line.params) || isBeamSearch(params)) return params;
  return Object.fromEntries(Object.entries(params).filter(([name]) => SHARED_PARAMS.has(name)));
}

/** Prints each output as soon as all before it are printed. */
class OrderedPrinter {
  readonly #ready = new Map<number, RequestOutput>();
  #next = 0;

  constructor(
    readonly json: boolean,
    readonly lines: readonly PromptLine[],
  ) {}

  take(output: RequestOutput, index: number): void {
    this.#ready.set(index, output);
    for (let next = this.#ready.get(this.#next); next; next = this.#ready.get(this.#next)) {
      this.#ready.delete(this.#next);
      const { line } = this.lines[this.#next++];
      const text = this.json ? `${JSON.stringify(next)}\n` : `# line ${line}\n${samplesText(next)}`;
      process.stdout.write(text);
    }
  }
}

/** What `octavo embed` and `octavo rank` have in common. */
import { once } from 'node:events';
import type { Command } from 'commander';
import { defaultModel } from '../config/options.js';
import { LLM } from '../engine/llm.js';
import { isOctavoError, octavoError } from '../errors.js';
import { withDownloads } from './download.js';
import { addPoolingEngineFlags, engineOptionsOf } from './flags.js';
import { interruptible } from './interrupt.js';
import { badLine, type TextLine } from './prompt-input.js';

/** Their values, those of the engine among them. */
export interface PoolingFlags {
  model?: string;
  input?: string;
  instruction?: string;
  truncate?: boolean;
  truncateTo?: number;
  json?: boolean;
  timeoutMs?: number;
  [name: string]: unknown;
}

export function addPoolingFlags(command: Command, texts: string): Command {
  command
    .option('--model <model>', 'a folder, a .gguf file or org/name of the hub (default: bundled)')
    .option('--input <path>', `read the ${texts} from a file, one a line`)
    .option(
      '--instruction <text>',
      'what the texts are asked for, of models that know instructions',
    )
    .option('--truncate', `cut ${texts} that are too long for the model`)
    .option('--truncate-to <tokens>', `cut ${texts} to so many tokens`, Number)
    .option('--timeout-ms <ms>', 'a call that takes longer fails with ERR_TIMEOUT', Number)
    .option('--json', 'one line of JSON each: {index, …}');
  return addPoolingEngineFlags(command);
}

/** @throws ERR_MODEL_TASK in the words of the command line */
function checkTask({ info: { pooling } }: LLM, command: 'embed' | 'rank'): void {
  if (pooling === undefined) return; // the call says how it was loaded
  const hasLabels = pooling.labels !== undefined;
  const canRank = pooling.scoring !== undefined;
  if (command === 'embed' ? !hasLabels : canRank) return;
  const served = '`octavo serve` answers /classify with them';
  const sentence =
    command === 'rank'
      ? `this model has several labels, not one that could be a score; ${served}`
      : `this model makes ${canRank ? 'scores' : 'labels'} of texts, not vectors; ${
          canRank ? '`octavo rank` ranks by them' : served
        }`;
  throw octavoError('ERR_MODEL_TASK', sentence, { param: 'model' });
}

/** Loads the model to pool, whatever its files say, and closes it behind the work. */
export async function withPoolingModel(
  flags: PoolingFlags,
  command: 'embed' | 'rank',
  work: (llm: LLM, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const model = flags.model ?? defaultModel();
  const options = { runner: 'pooling' as const, ...engineOptionsOf(flags), model };
  const llm = await withDownloads((loading) => LLM.load(options, loading));
  try {
    checkTask(llm, command);
    await interruptible((signal) => work(llm, signal));
  } finally {
    await llm.close();
  }
}

/**
 * Of {@link PoolingFlags}, what every call is told.
 * @throws ERR_INVALID_PARAM
 */
export function callOptionsOf(flags: PoolingFlags) {
  const { instruction, timeoutMs, truncate, truncateTo } = flags;
  if (truncateTo !== undefined && !(Number.isInteger(truncateTo) && truncateTo > 0)) {
    const sentence = '--truncate-to must be an integer above 0';
    throw octavoError('ERR_INVALID_PARAM', sentence, { param: 'truncate-to' });
  }
  return { instruction, timeoutMs, truncate: truncateTo ?? truncate };
}

/** Of these, what was given. */
export function givenOf<T extends object>(options: T): T {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as T;
}

/** An error of a list's text says which line of the file that was. */
export async function ofLines<T>(
  name: string,
  lines: readonly TextLine[],
  call: Promise<T>,
): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const { promptIndex } = error as { promptIndex?: number };
    const line = promptIndex === undefined ? null : lines[promptIndex].line;
    if (line === null || !isOctavoError(error) || error.status !== 400) throw error;
    throw badLine(name, line, error.message.replace(/^\w+ \d+: /, ''));
  }
}

/** No faster than stdout is read. */
export async function print(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

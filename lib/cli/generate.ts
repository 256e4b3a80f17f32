import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Command } from 'commander';
import { defaultModel } from '../config.js';
import { isBeamSearch } from '../core/beam-params.js';
import type { GenerateParams } from '../engine/gate.js';
import { LLM } from '../engine/llm.js';
import type { RequestOutput } from '../engine/outputs.js';
import type { Prompt } from '../engine/prompts.js';
import { isOctavoError, octavoError } from '../errors.js';
import { generateBatch } from './batch.js';
import {
  addEngineFlags,
  addSamplingFlags,
  beamParamsOf,
  engineOptionsOf,
  parseIds,
  samplingParamsOf,
} from './flags.js';
import { readPrompt, readPromptsFile } from './prompt-input.js';
import { reportError } from './report.js';
import { printStats } from './stats.js';

/** Tokens to generate where nothing is said; the library's default is 16. */
const DEFAULT_MAX_TOKENS = 128;

export interface GenerateFlags {
  model?: string;
  file?: string;
  promptsFile?: string;
  promptTokenIds?: number[];
  chat?: boolean;
  system?: string;
  json?: boolean;
  stats?: boolean;
  timeoutMs?: number;
  events?: string;
  useModelDefaults?: boolean;
  [name: string]: unknown;
}

/** `octavo generate [prompt]` */
export function generateCommand(): Command {
  const command = new Command('generate')
    .description('generate text; it streams to stdout')
    .argument('[prompt]', 'the prompt; "-" or nothing reads stdin')
    .option('--model <path>', 'a Hugging Face folder or a .gguf file (default: the bundled model)')
    .option('--file <path>', 'read the prompt from a file')
    .option('--prompts-file <path>', 'a batch: one prompt a line, or objects if it ends in .jsonl')
    .option('--prompt-token-ids <ids>', 'the prompt as ids: 5,6,7', parseIds)
    .option('--chat', 'the prompt is a user message; apply the chat template')
    .option('--system <text>', 'a system message (with --chat)')
    .option('--use-model-defaults', "sampling values of the model's generation_config.json")
    .option('--json', 'print each RequestOutput as one line of JSON, in order')
    .option('--timeout-ms <ms>', 'a request that takes longer fails with ERR_TIMEOUT', Number)
    .option('--events <path>', 'write KV and scheduler figures of every step as JSON lines')
    .option('--stats', 'TTFT, tokens/s, KV usage, cache hits, blocks shared, copies (on stderr)')
    .action(generate);
  return addSamplingFlags(addEngineFlags(command));
}

async function generate(argument: string | undefined, flags: GenerateFlags): Promise<void> {
  const params: GenerateParams = {
    maxTokens: DEFAULT_MAX_TOKENS,
    ...samplingParamsOf(flags),
    ...beamParamsOf(flags),
  };
  const lines = flags.promptsFile ? await readPromptsFile(flags.promptsFile) : null;
  const prompt = lines ? null : await onePrompt(argument, flags);
  const llm = await LLM.load({ ...engineOptionsOf(flags), model: flags.model ?? defaultModel() });
  const interrupt = new AbortController();
  const onSignal = () => interrupt.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  const events = flags.events === undefined ? null : writeEvents(llm, flags.events);
  const started = performance.now();
  const outputs: RequestOutput[] = [];
  try {
    if (lines) {
      outputs.push(...(await generateBatch(llm, lines, params, flags, interrupt.signal)));
    } else {
      outputs.push(await generateOne(llm, prompt as Prompt, params, flags, interrupt.signal));
    }
  } catch (error) {
    if (!isOctavoError(error) || error.code !== 'ERR_ABORTED') throw error;
    process.exitCode = 130;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
    if (flags.stats) printStats(llm, outputs, performance.now() - started);
    await llm.close();
    await events;
  }
}

export function requestOptionsOf({ useModelDefaults = false, timeoutMs }: GenerateFlags) {
  return { useModelDefaults, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}

/** One line a step; ends when the model is closed. */
async function writeEvents(llm: LLM, path: string): Promise<void> {
  const lines = async function* () {
    for await (const event of llm.events()) yield `${JSON.stringify(event)}\n`;
  };
  try {
    await pipeline(lines, createWriteStream(path));
  } catch (error) {
    reportError(octavoError('ERR_FILE', `cannot write ${path}: ${(error as Error).message}`));
  }
}

async function onePrompt(argument: string | undefined, flags: GenerateFlags): Promise<Prompt> {
  if (flags.promptTokenIds) return { promptTokenIds: flags.promptTokenIds };
  const text = await readPrompt(argument, flags.file);
  if (!flags.chat) return text;
  const system = flags.system === undefined ? [] : [{ role: 'system', content: flags.system }];
  return { messages: [...system, { role: 'user', content: text }] };
}

async function generateOne(
  llm: LLM,
  prompt: Prompt,
  params: GenerateParams,
  flags: GenerateFlags,
  signal: AbortSignal,
): Promise<RequestOutput> {
  const { stdout } = process;
  const options = { signal, ...requestOptionsOf(flags) };
  if (isBeamSearch(params)) {
    const output = await llm.generate(prompt, params, options);
    stdout.write(flags.json ? jsonLine(output) : samplesText(output));
    return output;
  }
  const streams = !flags.json && (params.n ?? 1) === 1;
  let last: RequestOutput | undefined;
  try {
    for await (const output of llm.stream(prompt, params, options)) {
      last = output;
      if (streams) stdout.write(output.outputs[0].delta);
    }
  } finally {
    if (streams && last) stdout.write('\n');
    else if (last) stdout.write(flags.json ? jsonLine(last) : samplesText(last));
  }
  return last as RequestOutput;
}

/** The whole output: `delta` is all of the text, not what the last step added. */
function jsonLine(output: RequestOutput): string {
  const outputs = output.outputs.map((o) => ({ ...o, delta: o.text }));
  return `${JSON.stringify({ ...output, outputs })}\n`;
}

/** Several samples of one prompt, each under its number; beams with their score. */
export function samplesText(output: RequestOutput): string {
  if (output.outputs.length === 1) return `${output.outputs[0].text}\n`;
  return output.outputs
    .map(({ index, score, text }) => {
      const label = score === undefined ? `[${index}]` : `[${index}] (${score.toFixed(4)})`;
      return `${label} ${text}\n`;
    })
    .join('');
}

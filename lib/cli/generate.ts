import { Command } from 'commander';
import { defaultModel } from '../config/options.js';
import { isBeamSearch } from '../core/beam-params.js';
import type { GenerateParams } from '../engine/gate.js';
import { LLM } from '../engine/llm.js';
import type { RequestOutput } from '../engine/outputs.js';
import type { Prompt } from '../engine/prompts.js';
import { octavoError } from '../errors.js';
import { generateBatch } from './batch.js';
import { withDownloads } from './download.js';
import { openEvents, writeEvents } from './events-file.js';
import {
  addEngineFlags,
  addSamplingFlags,
  beamParamsOf,
  engineOptionsOf,
  type GenerateFlags,
  parseIds,
  requestOptionsOf,
  samplingParamsOf,
} from './flags.js';
import { interruptible } from './interrupt.js';
import { readPrompt, readPromptsFile } from './prompt-input.js';
import { samplesText } from './report.js';
import { printStats } from './stats.js';
import { addStructuredFlags, structuredParamsOf } from './structured-flags.js';

/** Tokens to generate where nothing is said; the library's default is 16. */
const DEFAULT_MAX_TOKENS = 128;

/** `octavo generate [prompt]` */
export function generateCommand(): Command {
  const command = new Command('generate')
    .description('generate text; it streams to stdout')
    .argument('[prompt]', 'the prompt; "-" or nothing reads stdin')
    .option('--model <model>', 'a folder, a .gguf file or org/name of the hub (default: bundled)')
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
  return addStructuredFlags(addSamplingFlags(addEngineFlags(command)));
}

async function generate(argument: string | undefined, flags: GenerateFlags): Promise<void> {
  const params: GenerateParams = {
    maxTokens: DEFAULT_MAX_TOKENS,
    ...samplingParamsOf(flags),
    ...beamParamsOf(flags),
    ...(await structuredParamsOf(flags)),
  };
  checkOnePrompt(argument, flags);
  const lines = flags.promptsFile ? await readPromptsFile(flags.promptsFile) : null;
  const prompt = lines ? null : await onePrompt(argument, flags);
  const eventsFile = flags.events === undefined ? null : await openEvents(flags.events);
  const options = { ...engineOptionsOf(flags), model: flags.model ?? defaultModel() };
  const llm = await withDownloads((loading) => LLM.load(options, loading));
  const events = eventsFile && writeEvents(llm, eventsFile);
  const started = performance.now();
  const outputs: RequestOutput[] = [];
  try {
    checkWrites(llm);
    await interruptible(async (signal) => {
      if (lines) {
        outputs.push(...(await generateBatch(llm, lines, params, flags, signal)));
        return;
      }
      const output = await generateOne(llm, prompt as Prompt, params, flags, signal);
      outputs.push(output);
      if (typeof prompt === 'string') hintAtChat(llm, output);
    });
  } finally {
    if (flags.stats) printStats(llm, outputs, performance.now() - started);
    await llm.close();
    await events;
  }
}

/** @throws ERR_MODEL_TASK for a model that was loaded to make vectors or scores */
export function checkWrites({ info }: LLM): void {
  if (info.runner === 'generate') return;
  const sentence =
    'this model makes vectors or scores of texts and writes none; `octavo embed`, `octavo rank` ' +
    'or `octavo serve` asks it for them';
  throw octavoError('ERR_MODEL_TASK', sentence, { param: 'model' });
}

/** A model made for conversations that was given bare text goes on with it instead of answering. */
function hintAtChat(llm: LLM, { promptTokenIds }: RequestOutput): void {
  // Whoever wrote a conversation's markers knows; the first and last id may be BOS and EOS.
  const knows = promptTokenIds.slice(1, -1).some((id) => llm.tokenizer.isSpecial(id));
  if (!llm.info.hasChatTemplate || knows) return;
  process.stderr.write(
    'octavo: this model is made for conversations; --chat asks it as one (this was plain text)\n',
  );
}

/** A second prompt would be dropped in silence. */
function checkOnePrompt(argument: string | undefined, flags: GenerateFlags): void {
  const { file, promptsFile, promptTokenIds } = flags;
  const given = [argument, file, promptsFile, promptTokenIds].filter((one) => one !== undefined);
  if (given.length < 2) return;
  throw octavoError(
    'ERR_INVALID_PROMPT',
    'more than one prompt was given: an argument, --file, --prompts-file and --prompt-token-ids ' +
      'exclude each other',
    { param: 'prompt' },
  );
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

/** The whole output: `delta` is all of the text, and no other member says what was added last. */
function jsonLine(output: RequestOutput): string {
  const last = { deltaTokenIds: undefined, deltaLogprobs: undefined };
  const outputs = output.outputs.map((o) => ({ ...o, ...last, delta: o.text }));
  return `${JSON.stringify({ ...output, outputs })}\n`;
}

/** `octavo chat [model]` */
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { BUNDLED_MODEL } from '../config/options.js';
import { LLM } from '../engine/llm.js';
import { octavoError } from '../errors.js';
import { ChatSession, type ChatWishes } from './chat-session.js';
import { withDownloads } from './download.js';
import {
  addChatSamplingFlags,
  addEngineFlags,
  engineOptionsOf,
  samplingParamsOf,
} from './flags.js';
import { checkWrites } from './generate.js';
import { modelOf, templateOf } from './model-flags.js';

/** Tokens of an answer where nothing is said. */
const DEFAULT_MAX_TOKENS = 2048;

/** What stands for the template of a model that brings none. */
const DEFAULT_TEMPLATE = 'default';

interface Flags {
  model?: string;
  system?: string;
  chatTemplate?: string;
  reasoningParser?: string;
  useModelDefaults?: boolean;
  [name: string]: unknown;
}

export function chatCommand(): Command {
  const command = new Command('chat')
    .description('talk with a model: at a terminal, or a line of stdin a turn')
    .argument(
      '[model]',
      'org/name, a Hugging Face folder or a .gguf file (default: the bundled one)',
    )
    .option('--model <model>', 'the same as the argument')
    .option('--system <text>', 'a system message')
    .option(
      '--chat-template <path>',
      'a chat template in place of the model’s (a file, or its text); default: a plain one',
    )
    .option('--reasoning-parser <name>', 'form of reasoning; auto: the template’s; none: no form')
    .option('--use-model-defaults', "sampling values of the model's generation_config.json (is on)")
    .option('--no-use-model-defaults', 'none of these')
    .action(chat);
  return addChatSamplingFlags(addEngineFlags(command));
}

async function chat(argument: string | undefined, flags: Flags): Promise<void> {
  const model = modelOf(argument, flags);
  const { chatTemplate: given, reasoningParser, useModelDefaults = true } = flags;
  const isOwn = given === undefined || given === DEFAULT_TEMPLATE;
  const chatTemplate = isOwn ? undefined : await templateOf(given);
  const params = { maxTokens: DEFAULT_MAX_TOKENS, ...samplingParamsOf(flags) };
  const options = { ...engineOptionsOf(flags), model };
  const llm = await withDownloads((loading) => LLM.load(options, loading));
  try {
    checkWrites(llm);
    llm.checkParams(params);
    if (given === undefined) checkTemplate(llm);
    const template = chatTemplate === undefined ? {} : { chatTemplate };
    const wishes = { template, reasoningParser, useModelDefaults };
    process.exitCode = await hold(
      llm,
      { ...wishes, params: withStops(llm, template, params) },
      flags,
    );
  } finally {
    await llm.close();
  }
}

/** SIGINT is Ctrl-C, SIGTERM the end. */
async function hold(llm: LLM, wishes: ChatWishes, { system }: Flags): Promise<number> {
  const { stdin: input, stdout: output, stderr: notes } = process;
  const session = new ChatSession(llm, wishes, { input, output, notes });
  const onInterrupt = () => session.onInterrupt();
  const onEnd = () => session.end(128 + constants.signals.SIGTERM);
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onEnd);
  try {
    return await session.run(system);
  } finally {
    process.off('SIGINT', onInterrupt);
    process.off('SIGTERM', onEnd);
  }
}

/** @throws ERR_CHAT_TEMPLATE for a model that was not made for conversations */
function checkTemplate({ info }: LLM): void {
  if (info.hasChatTemplate || resolve(info.path) === BUNDLED_MODEL) return;
  const sentence =
    'this model brings no chat template; --chat-template FILE gives it one, ' +
    '--chat-template default the one that the library and the server take then';
  throw octavoError('ERR_CHAT_TEMPLATE', sentence, { param: 'chat-template' });
}

/** In the plain form a model may go on with what the user would say. */
const USER = '\n\nUser:';

/** What a model that brings no template is told in the plain form ends there, too. */
function withStops(
  llm: LLM,
  { chatTemplate }: ChatWishes['template'],
  params: ChatWishes['params'],
): ChatWishes['params'] {
  if (llm.info.hasChatTemplate || chatTemplate !== undefined) return params;
  const text = llm.applyChatTemplate([{ role: 'user', content: 'Hello' }]);
  if (!text.endsWith('User: Hello\n\nAssistant:')) return params;
  const { stop = [] } = params;
  return { ...params, stop: [...(typeof stop === 'string' ? [stop] : stop), USER] };
}

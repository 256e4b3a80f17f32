/** Flags of the commands that answer requests with a model of this process. */
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { defaultModel } from '../config/options.js';
import { octavoError } from '../errors.js';
import type { ServerOptions } from '../server/index.js';

/** Their values. */
export interface ModelFlags {
  model?: string;
  servedModelName?: string[];
  chatTemplate?: string;
  trustRequestChatTemplate?: boolean;
  matryoshka?: boolean;
  generationConfig: string;
  maxBodyBytes?: number;
  toolCallParser?: string;
  reasoningParser?: string;
  reasoningField?: string;
}

/** A list after a flag would swallow the model. */
const collect = (text: string, before: string[] | undefined) => [...(before ?? []), text];

export function addModelFlags(command: Command): Command {
  return command
    .option('--model <model>', 'the same as the argument')
    .option('--served-model-name <name>', 'name of the model; may be repeated; * = any', collect)
    .option(
      '--chat-template <path>',
      'a chat template in place of the model’s (a file, or its text)',
    )
    .option('--trust-request-chat-template', 'let requests bring a chat_template')
    .option('--matryoshka', 'dimensions are taken of a model without a mark of it, too')
    .option('--generation-config <word>', 'auto: sampling values of the model; vllm: none', 'auto')
    .option('--enable-auto-tool-choice', 'models may call tools (they may)')
    .option(
      '--tool-call-parser <name>',
      'form of calls of tools, as vLLM names it; auto: the template’s',
    )
    .option(
      '--reasoning-parser <name>',
      'form of reasoning; auto: the template’s; none: it is content',
    )
    .addOption(
      new Option('--reasoning-field <name>', 'how chat completions call reasoning (both)').choices([
        ...['both', 'reasoning', 'reasoning_content'],
      ]),
    )
    .option('--max-body-bytes <bytes>', 'longest body of a request', Number);
}

/** @throws ERR_INVALID_OPTION where it is named twice */
export function modelOf(
  argument: string | undefined,
  { model }: Pick<ModelFlags, 'model'>,
): string {
  if (argument === undefined || model === undefined) return argument ?? model ?? defaultModel();
  const sentence = 'the model was named twice: as an argument and by --model';
  throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'model' });
}

/** @throws ERR_INVALID_OPTION, ERR_FILE */
export async function modelOptions(flags: ModelFlags): Promise<ServerOptions> {
  const { generationConfig, chatTemplate } = flags;
  if (generationConfig !== 'auto' && generationConfig !== 'vllm') {
    const sentence = '--generation-config must be auto or vllm';
    throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'generation-config' });
  }
  return {
    servedModelName: flags.servedModelName,
    chatTemplate: chatTemplate === undefined ? undefined : await templateOf(chatTemplate),
    trustRequestChatTemplate: flags.trustRequestChatTemplate,
    matryoshka: flags.matryoshka,
    maxBodyBytes: flags.maxBodyBytes,
    toolCallParser: flags.toolCallParser,
    reasoningParser: flags.reasoningParser,
    reasoningField: flags.reasoningField as ServerOptions['reasoningField'],
    useModelDefaults: generationConfig === 'auto',
  };
}

/** A file's text; what has the marks of a template is one itself. */
export async function templateOf(given: string): Promise<string> {
  return given.includes('{%') || given.includes('{{') ? given : readText(given);
}

/** @throws ERR_FILE */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const sentence = `cannot read ${path}: ${(error as Error).message}`;
    throw octavoError('ERR_FILE', sentence, { param: path });
  }
}

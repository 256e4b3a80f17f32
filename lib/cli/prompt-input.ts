/** Where prompts come from: argument, file, stdin, a file of many. */
import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import type { GenerateParams } from '../engine/gate.js';
import type { Prompt } from '../engine/prompts.js';
import { octavoError } from '../errors.js';

/** Longest file of prompts, in bytes. */
const MAX_FILE = 1 << 30;

async function readTextFile(path: string): Promise<string> {
  try {
    const data = await readFile(path);
    if (data.length > MAX_FILE) throw new Error('it is larger than 1 GiB');
    return new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch (cause) {
    throw octavoError('ERR_FILE', `cannot read ${path}: ${(cause as Error).message}`, {
      param: path,
      cause,
    });
  }
}

/** The argument, or the file, or stdin for "-" or nothing; a trailing newline is dropped. */
export async function readPrompt(argument?: string, file?: string): Promise<string> {
  if (file !== undefined) return (await readTextFile(file)).replace(/\r?\n$/, '');
  if (argument !== undefined && argument !== '-') return argument;
  if (argument === undefined && process.stdin.isTTY) {
    throw octavoError(
      'ERR_INVALID_PROMPT',
      'there is no prompt; give it as an argument, with --file, or on stdin',
    );
  }
  return (await readAll(process.stdin)).replace(/\r?\n$/, '');
}

export interface PromptLine {
  /** 1 = the first line of the file. */
  readonly line: number;
  readonly prompt: Prompt;
  readonly params: GenerateParams;
}

/**
 * A prompts file: JSONL if its name ends in .jsonl (objects {prompt | promptTokenIds | messages,
 * …parameters}), else one prompt a line. Empty lines are passed over.
 * @throws ERR_FILE naming the line
 */
export async function readPromptsFile(path: string): Promise<PromptLine[]> {
  const jsonl = path.endsWith('.jsonl');
  const lines = (await readTextFile(path)).split(/\r?\n/);
  const out: PromptLine[] = [];
  lines.forEach((content, i) => {
    if (content.trim() === '') return;
    const line = i + 1;
    out.push(jsonl ? parseLine(path, line, content) : { line, prompt: content, params: {} });
  });
  if (out.length === 0) throw octavoError('ERR_FILE', `${path} has no prompt`, { param: path });
  return out;
}

const KEYS = ['prompt', 'promptTokenIds', 'messages'] as const;

function parseLine(path: string, line: number, content: string): PromptLine {
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (cause) {
    throw badLine(path, line, `not JSON: ${(cause as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badLine(path, line, 'must be an object with prompt, promptTokenIds or messages');
  }
  const given = KEYS.filter((key) => key in value);
  if (given.length !== 1) {
    throw badLine(path, line, 'must have exactly one of prompt, promptTokenIds and messages');
  }
  const { [given[0]]: content_, ...params } = value as Record<string, unknown>;
  return { line, prompt: { [given[0]]: content_ } as unknown as Prompt, params };
}

/** @param why what is wrong with the line, without its place */
export function badLine(path: string, line: number, why: string): Error {
  return octavoError('ERR_FILE', `${path}, line ${line}: ${why}`, { param: `line ${line}` });
}

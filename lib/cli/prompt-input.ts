/** Where prompts come from: argument, file, stdin, a file of many. */
import { createReadStream } from 'node:fs';
import type { GenerateParams } from '../engine/gate.js';
import type { Prompt } from '../engine/prompts.js';
import { octavoError } from '../errors.js';

/** Longest single prompt, in UTF-16 units: 64 Mi, far beyond any context. */
const MAX_PROMPT = 1 << 26;

/** Longest file of prompts, in bytes. */
const MAX_FILE = 1 << 30;

/** Lines of a stream as it is read, without their ends; what is no UTF-8 is an error if `fatal`. */
export async function* linesOf(
  name: string,
  stream: NodeJS.ReadableStream,
  fatal = true,
): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal });
  let last = '';
  let bytes = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MAX_FILE) throw new Error('it is larger than 1 GiB');
      const [rest, ...lines] = decoder.decode(chunk, { stream: true }).split('\n');
      last += rest;
      for (const line of lines) {
        yield last.replace(/\r$/, '');
        last = line;
      }
      if (last.length > MAX_PROMPT) throw new Error('a line is longer than 64 Mi characters');
    }
    yield last + decoder.decode();
  } catch (cause) {
    throw cannotRead(name, cause as Error);
  }
}

async function readAll(stream: NodeJS.ReadableStream, fatal: boolean): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal });
  let text = '';
  for await (const chunk of stream) {
    text += decoder.decode(chunk as Buffer, { stream: true });
    if (text.length > MAX_PROMPT) throw new Error('it is longer than 64 Mi characters');
  }
  return (text + decoder.decode()).replace(/\r?\n$/, '');
}

function cannotRead(name: string, cause: Error): Error {
  return octavoError('ERR_FILE', `cannot read ${name}: ${cause.message}`, { param: name, cause });
}

/** The argument, or the file, or stdin for "-" or nothing; a trailing newline is dropped. */
export async function readPrompt(argument?: string, file?: string): Promise<string> {
  const read = (name: string, stream: NodeJS.ReadableStream, fatal: boolean) =>
    readAll(stream, fatal).catch((cause) => {
      throw cannotRead(name, cause);
    });
  if (file !== undefined) return read(file, createReadStream(file), true);
  if (argument !== undefined && argument !== '-') return argument;
  if (argument === undefined && process.stdin.isTTY) {
    throw octavoError(
      'ERR_INVALID_PROMPT',
      'there is no prompt; give it as an argument, with --file, or on stdin',
    );
  }
  return read('stdin', process.stdin, false);
}

/** A text, and where it stands if it does not stand in the command line. */
export interface TextLine {
  readonly text: string;
  /** 1 = the first line. */
  readonly line: number | null;
}

/**
 * The arguments, or the lines of the file, or of stdin for "-" or nothing; empty lines are passed
 * over.
 * @throws ERR_INVALID_PROMPT where there is nothing to read, or two things; ERR_FILE
 */
export async function* readTexts(
  given: readonly string[],
  file?: string,
): AsyncGenerator<TextLine, void, void> {
  const isStdin = given.length === 1 && given[0] === '-';
  if (given.length > 0 && file !== undefined) {
    const sentence = 'texts were given twice: arguments and --input exclude each other';
    throw octavoError('ERR_INVALID_PROMPT', sentence, { param: 'input' });
  }
  if (given.length > 0 && !isStdin) {
    for (const text of given) yield { text, line: null };
    return;
  }
  if (file === undefined && !isStdin && process.stdin.isTTY) {
    const sentence = 'there is no text; give it as an argument, with --input, or on stdin';
    throw octavoError('ERR_INVALID_PROMPT', sentence);
  }
  const lines =
    file === undefined
      ? linesOf('stdin', process.stdin, false)
      : linesOf(file, createReadStream(file));
  let line = 0;
  for await (const text of lines) {
    line++;
    if (text.trim() !== '') yield { text, line };
  }
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
  const out: PromptLine[] = [];
  let line = 0;
  for await (const content of linesOf(path, createReadStream(path))) {
    line++;
    if (content.trim() === '') continue;
    out.push(jsonl ? parseLine(path, line, content) : { line, prompt: content, params: {} });
  }
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

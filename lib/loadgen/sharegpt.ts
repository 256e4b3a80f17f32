/** Conversations of a file in ShareGPT's form: the first turn is the prompt. */
import { createReadStream } from 'node:fs';
import { octavoError } from '../errors.js';
import type { SampleRequest } from './datasets.js';
import type { Random } from './random.js';
import type { TokenCounter } from './tokens.js';

/** Bounds that vLLM and the paper's authors leave outliers out by. */
const MIN_TOKENS = 4;
const MAX_PROMPT = 1024;
const MAX_TOTAL = 2048;

/** A rule of thumb for English, where nobody counts. */
const CHARACTERS_PER_TOKEN = 4;

export interface ShareGptOptions {
  readonly path: string;
  /** Tokens to ask for; by default as many as the second turn has. */
  readonly outputLen?: number;
}

/** @throws ERR_FILE */
export async function shareGptRequests(
  count: number,
  { path, outputLen }: ShareGptOptions,
  tokens: TokenCounter | null,
  random: Random,
): Promise<SampleRequest[]> {
  const lengthOf = async (text: string) =>
    tokens ? (await tokens.encode(text)).length : Math.ceil(text.length / CHARACTERS_PER_TOKEN);
  const requests: SampleRequest[] = [];
  for (const [prompt, completion] of random.shuffle(await readTurns(path))) {
    if (requests.length === count) break;
    const promptTokens = await lengthOf(prompt);
    const outputTokens = outputLen ?? (await lengthOf(completion));
    const isUsual =
      promptTokens >= MIN_TOKENS &&
      (outputLen !== undefined || outputTokens >= MIN_TOKENS) &&
      promptTokens <= MAX_PROMPT &&
      promptTokens + outputTokens <= MAX_TOTAL;
    if (isUsual) requests.push({ prompt, promptTokens, outputTokens });
  }
  if (requests.length === 0) {
    throw octavoError('ERR_FILE', `${path} has no conversation of a usual length`, { param: path });
  }
  // Fewer than asked for are asked again, as vLLM does.
  const own = requests.length;
  while (requests.length < count) requests.push(requests[random.integer(0, own - 1)]);
  return requests;
}

async function readTurns(path: string): Promise<[string, string][]> {
  const turns: [string, string][] = [];
  try {
    for await (const text of objectsOf(createReadStream(path))) {
      const { conversations } = JSON.parse(text) as { conversations?: { value?: unknown }[] };
      const [first, second] = conversations ?? [];
      if (typeof first?.value === 'string' && typeof second?.value === 'string') {
        turns.push([first.value, second.value]);
      }
    }
  } catch (cause) {
    const { message } = cause as Error;
    throw octavoError('ERR_FILE', `cannot read ${path}: ${message}`, { param: path, cause });
  }
  return turns;
}

const [QUOTE, BACKSLASH, OPEN, CLOSE] = Buffer.from('"\\{}');

/**
 * The texts of the objects that a stream holds, as items of an array or one after another. The
 * common file is 642 MB, more than a string can be.
 */
export async function* objectsOf(stream: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let depth = 0;
  let inString = false;
  let escaped = false;
  let before: Buffer[] = [];
  for await (const chunk of stream) {
    let start = 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPEN) {
        if (depth++ === 0) start = i;
      } else if (byte === CLOSE && depth > 0 && --depth === 0) {
        yield Buffer.concat([...before, chunk.subarray(start, i + 1)]).toString();
        before = [];
      }
    }
    if (depth > 0) before.push(chunk.subarray(start));
  }
  if (depth > 0) throw new Error('it ends within an object');
}

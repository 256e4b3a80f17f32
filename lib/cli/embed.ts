import { Command } from 'commander';
import type { LLM } from '../engine/llm.js';
import type { EmbedOptions } from '../engine/pooling-options.js';
import { octavoError } from '../errors.js';
import {
  addPoolingFlags,
  callOptionsOf,
  givenOf,
  ofLines,
  type PoolingFlags,
  print,
  withPoolingModel,
} from './pooling.js';
import { readTexts, type TextLine } from './prompt-input.js';

/** Texts that are read before they are computed; then the next ones are. */
const BATCH = 1024;

interface Flags extends PoolingFlags {
  pooling?: string;
  normalize?: boolean;
  dimensions?: number;
  promptName?: string;
}

/** `octavo embed [texts…]` */
export function embedCommand(): Command {
  const command = new Command('embed')
    .description('vectors of texts, a line of JSON each')
    .argument('[texts...]', 'the texts; "-" or nothing reads stdin, one a line')
    .option('--pooling <word>', "mean, cls or last: how tokens' vectors become one")
    .option('--normalize', 'divide vectors by their length')
    .option('--no-normalize', 'leave vectors as long as they are')
    .option('--dimensions <number>', 'only so many values, of models made for it', Number)
    .option('--prompt-name <name>', "the prompt of the model's files to put in front");
  return addPoolingFlags(command, 'texts').action(embed);
}

async function embed(texts: string[], flags: Flags): Promise<void> {
  const { pooling, normalize, dimensions, promptName } = flags;
  const options = givenOf({
    ...callOptionsOf(flags),
    ...{ pooling, normalize, dimensions, promptName },
  }) as EmbedOptions;
  const lines = readTexts(texts, flags.input);
  // What is wrong with the texts is told before a model is read.
  const first = await take(lines);
  if (first.length === 0) throw octavoError('ERR_INVALID_PROMPT', 'there is no text');
  await withPoolingModel(flags, 'embed', async (llm, signal) => {
    // Who waits for more of it waits no longer.
    signal.addEventListener('abort', () => process.stdin.destroy(), { once: true });
    let numDone = 0;
    try {
      for (let batch = first; batch.length > 0; batch = await take(lines)) {
        await embedBatch(llm, batch, numDone, { ...options, signal }, flags);
        numDone += batch.length;
      }
    } finally {
      await lines.return();
    }
  });
}

async function take(lines: AsyncGenerator<TextLine, void, void>): Promise<TextLine[]> {
  const batch: TextLine[] = [];
  while (batch.length < BATCH) {
    const { value, done } = await lines.next();
    if (done) break;
    batch.push(value);
  }
  return batch;
}

async function embedBatch(
  llm: LLM,
  batch: readonly TextLine[],
  start: number,
  options: EmbedOptions,
  { json, input = 'stdin' }: Flags,
): Promise<void> {
  const texts = batch.map(({ text }) => text);
  const outputs = await ofLines(input, batch, llm.embed(texts, options));
  for (const [i, { embedding, ...rest }] of outputs.entries()) {
    const values = Array.from(embedding);
    const said = json ? { index: start + i, embedding: values, ...rest } : values;
    await print(`${JSON.stringify(said)}\n`);
  }
}

import { Command } from 'commander';
import type { RankOptions } from '../engine/pooling-options.js';
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

interface Flags extends PoolingFlags {
  topN?: number;
  template?: string;
  tokens?: string[];
}

/** `octavo rank QUERY [documents…]` */
export function rankCommand(): Command {
  const command = new Command('rank')
    .description('documents by how well they answer a query, the best first')
    .argument('<query>', 'what is looked for')
    .argument('[documents...]', 'the documents; "-" or nothing reads stdin, one a line')
    .option('--top-n <number>', 'print so many of the best', Number)
    .option('--template <text>', 'of models that answer yes or no: their question')
    .option('--tokens <words>', 'the answers of such a model, the worse first: no,yes', (text) =>
      text.split(','),
    );
  return addPoolingFlags(command, 'documents').action(rank);
}

async function rank(query: string, given: string[], flags: Flags): Promise<void> {
  const { topN, template, tokens, input = 'stdin' } = flags;
  const options = givenOf({ ...callOptionsOf(flags), topN, template, tokens }) as RankOptions;
  const lines: TextLine[] = [];
  for await (const line of readTexts(given, flags.input)) lines.push(line);
  if (lines.length === 0) {
    throw octavoError('ERR_INVALID_PROMPT', 'there is no document', { param: 'documents' });
  }
  const documents = lines.map(({ text }) => text);
  await withPoolingModel(flags, 'rank', async (llm, signal) => {
    const call = llm.rank(query, documents, { ...options, signal });
    const ranked = await ofLines(input, lines, call);
    for (const { document, logits, ...rest } of ranked) {
      const { index, score } = rest;
      const all = { ...rest, ...(logits ? { logits: Array.from(logits) } : {}), document };
      await print(
        flags.json ? `${JSON.stringify(all)}\n` : `${score.toFixed(4)}\t${index}\t${document}\n`,
      );
    }
  });
}

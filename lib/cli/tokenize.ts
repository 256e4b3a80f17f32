import { Command } from 'commander';
import { defaultModel } from '../config/options.js';
import { openTokenizer } from '../engine/load.js';
import { withDownloads } from './download.js';
import { parseIds } from './flags.js';
import { readPrompt } from './prompt-input.js';

/** `octavo tokenize [text]`: ids of a text, or with --decode the text of ids. */
export function tokenizeCommand(): Command {
  return new Command('tokenize')
    .description('ids of a text, or the text of ids')
    .argument('[text]', 'the text; "-" or nothing reads stdin')
    .option('--model <model>', 'a Hugging Face folder, a .gguf file or org/name of the hub')
    .option('--file <path>', 'read the text from a file')
    .option('--decode', 'the argument is ids (5,6,7); print their text')
    .option('--no-special-tokens', 'do not add BOS, or with --decode leave special tokens out')
    .option('--json', 'one line of JSON: [{id, token}]')
    .action(tokenize);
}

interface Flags {
  model?: string;
  file?: string;
  decode?: boolean;
  specialTokens: boolean;
  json?: boolean;
}

async function tokenize(argument: string | undefined, flags: Flags): Promise<void> {
  const model = flags.model ?? defaultModel();
  const tokenizer = await withDownloads((loading) => openTokenizer(model, loading));
  const text = await readPrompt(argument, flags.file);
  if (flags.decode) {
    const skipSpecialTokens = !flags.specialTokens;
    const decoded = await tokenizer.decode(parseIds(text.trim()), { skipSpecialTokens });
    process.stdout.write(`${flags.json ? JSON.stringify(decoded) : decoded}\n`);
    return;
  }
  const ids = await tokenizer.encode(text, { addSpecialTokens: flags.specialTokens });
  const pieces = ids.map((id) => ({ id, token: tokenizer.idToToken(id) }));
  if (flags.json) process.stdout.write(`${JSON.stringify(pieces)}\n`);
  else for (const { id, token } of pieces) process.stdout.write(`${id}\t${token}\n`);
}

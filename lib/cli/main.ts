/** `octavo`: one file a command, errors as one sentence and an exit code. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { generateCommand } from './generate.js';
import { inspectCommand } from './inspect.js';
import { replayCommand } from './replay.js';
import { reportError } from './report.js';
import { tokenizeCommand } from './tokenize.js';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
};

const program = new Command('octavo')
  .description('LLM inference inside a Node process, around PagedAttention')
  .version(version)
  .showHelpAfterError('(octavo --help shows all commands)')
  .addCommand(generateCommand())
  .addCommand(inspectCommand())
  .addCommand(tokenizeCommand())
  .addCommand(replayCommand());

// A reader that goes away (`octavo … | head`) ends the program, not with an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  reportError(error);
}

/** `octavo`: one file a command, errors as one sentence and an exit code. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { benchCommand } from './bench-serve.js';
import { chatCommand } from './chat.js';
import { embedCommand } from './embed.js';
import { generateCommand } from './generate.js';
import { grammarCommand } from './grammar.js';
import { inspectCommand } from './inspect.js';
import { pullCommand } from './pull.js';
import { rankCommand } from './rank.js';
import { replayCommand } from './replay.js';
import { reportError, watchOutputs } from './report.js';
import { runBatchCommand } from './run-batch.js';
import { serveCommand } from './serve.js';
import { tokenizeCommand } from './tokenize.js';
import { workerCommand } from './worker.js';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
};

const program = new Command('octavo')
  .description('LLM inference inside a Node process, around PagedAttention')
  .version(version)
  .showHelpAfterError('(octavo --help shows all commands)')
  .addCommand(generateCommand())
  .addCommand(chatCommand())
  .addCommand(embedCommand())
  .addCommand(rankCommand())
  .addCommand(serveCommand())
  .addCommand(pullCommand())
  .addCommand(inspectCommand())
  .addCommand(tokenizeCommand())
  .addCommand(grammarCommand())
  .addCommand(replayCommand())
  .addCommand(benchCommand())
  .addCommand(runBatchCommand())
  .addCommand(workerCommand());

const withOwn = (command: Command): Command[] => [command, ...command.commands.flatMap(withOwn)];
for (const command of withOwn(program)) {
  // A mistyped flag or command is the caller's to mend, as a value out of range is.
  command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));
}

watchOutputs();
try {
  await program.parseAsync();
} catch (error) {
  reportError(error);
}

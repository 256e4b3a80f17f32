import { Command } from 'commander';
import { replayTrace } from '../core/trace.js';
import { readTrace } from '../engine/trace-file.js';
import { count, printRows } from './report.js';

/** `octavo replay <trace>` */
export function replayCommand(): Command {
  return new Command('replay')
    .description(
      'replay a scheduling trace (engine option traceFile); fails where it decides otherwise',
    )
    .argument('<trace>', 'the file, JSON lines')
    .option('--json', 'print the summary as JSON')
    .action(async (path: string, flags: { json?: boolean }) => {
      const summary = replayTrace(await readTrace(path));
      if (flags.json) {
        process.stdout.write(`${JSON.stringify(summary)}\n`);
        return;
      }
      const rows: [string, string][] = [
        ['requests', `${count(summary.numRequests)}, ${count(summary.numUnfinished)} unfinished`],
        ['steps', `${count(summary.numSteps)}, every decision as in the trace`],
        ['tokens computed', count(summary.numTokens)],
        [
          'tokens hit',
          `${count(summary.numPrefixHits)}, after preemption ${count(summary.numPreemptedHits)}`,
        ],
        ['preemptions', count(summary.numPreemptions)],
        ['block copies', count(summary.numBlockCopies)],
        [
          'blocks swapped',
          `${count(summary.numSwappedOut)} out, ${count(summary.numSwappedIn)} in`,
        ],
      ];
      printRows(rows, process.stdout);
    });
}

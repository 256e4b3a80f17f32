/** `octavo worker [model]` */
import { Command } from 'commander';
import { addServerFlags } from './batch-target.js';
import { within } from './bench-flags.js';
import { addEngineFlags } from './flags.js';
import { addModelFlags } from './model-flags.js';
import { addQueueFlags } from './queue-target.js';
import type { WorkerFlags } from './run-worker.js';

export function workerCommand(): Command {
  const command = new Command('worker')
    .description('answer lines that `octavo run-batch --queue` puts into a queue')
    .argument('[model]', 'a folder, a .gguf file or org/name of the hub (default: bundled)');
  addQueueFlags(command)
    .option(
      '--concurrency <number>',
      'lines at once (--max-num-seqs; of a server 64)',
      within('concurrency', { least: 1, most: 10_000 }),
    )
    .option(
      '--max-attempts <number>',
      'tries of a line, by all workers, until it has an error',
      within('max-attempts', { least: 1, most: 1_000_000 }),
      5,
    )
    .option(
      '--ack-wait <seconds>',
      'others take the lines of a worker that is silent for so long',
      within('ack-wait', { least: 1, most: 86_400 }),
      30,
    )
    .option(
      '--shutdown-timeout <seconds>',
      'how long lines may go on after SIGTERM',
      within('shutdown-timeout', { least: 0, most: 1_000_000, whole: false }),
      30,
    )
    .option('--disable-log-requests', 'no line of JSON on stdout for each line');
  return addEngineFlags(addModelFlags(addServerFlags(command))).action(
    async (model: string | undefined, flags: WorkerFlags) => {
      const { runWorker } = await import('./run-worker.js');
      await runWorker(model, flags);
    },
  );
}

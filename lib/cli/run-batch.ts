/** `octavo run-batch`: a file of requests in OpenAI's batch form. */
import { stat } from 'node:fs/promises';
import { constants } from 'node:os';
import { Presets, SingleBar } from 'cli-progress';
import { Command } from 'commander';
import { type BatchTotals, runBatch } from '../batch/run.js';
import { octavoError } from '../errors.js';
import { addServerFlags, openTarget } from './batch-target.js';
import { within } from './bench-flags.js';
import { addEngineFlags } from './flags.js';
import { addModelFlags } from './model-flags.js';
import { addQueueFlags, openQueueTarget, type QueueTargetFlags } from './queue-target.js';
import { count } from './report.js';

interface Flags extends QueueTargetFlags {
  inputFile: string;
  maxConcurrency?: number;
}

export function runBatchCommand(): Command {
  const command = new Command('run-batch')
    .description("answer a file of requests (OpenAI's batch lines); goes on where it was stopped")
    .argument('[model]', 'a folder, a .gguf file or org/name of the hub (default: bundled)')
    .requiredOption('-i, --input-file <file>', 'JSON lines {custom_id, method, url, body}')
    .requiredOption(
      '-o, --output-file <file>',
      'JSON lines {id, custom_id, response, error} as they are answered; what it has is not asked',
    )
    .option(
      '--max-concurrency <number>',
      'lines at once (64; of a model loaded here twice --max-num-seqs; in a queue 10000)',
      within('max-concurrency', { least: 1, most: 100_000 }),
    );
  addQueueFlags(addServerFlags(command)).option(
    '--run-name <name>',
    'with --queue, whose lines they are (default: this machine and the output file)',
  );
  return addEngineFlags(addModelFlags(command)).action(runBatchFile);
}

async function runBatchFile(model: string | undefined, flags: Flags): Promise<void> {
  const { inputFile: input, outputFile: output } = flags;
  const size = await sizeOf(input);
  const isQueued = flags.queue !== undefined;
  const { target, maxConcurrency, close } = isQueued
    ? await openQueueTarget(model, flags)
    : await openTarget(model, flags);
  const bar = new SingleBar(
    {
      format: '{bar} {percentage}% | {answered} answered, {failed} failed | ETA {eta_formatted}',
      stream: process.stderr,
      clearOnComplete: true,
      noTTYOutput: false,
      hideCursor: true,
    },
    Presets.shades_classic,
  );
  const stop = new AbortController();
  const kill = new AbortController();
  // The first signal lets what runs finish, the second does not.
  const onSignal = (signal: NodeJS.Signals) => {
    if (stop.signal.aborted) return kill.abort(signal);
    stop.abort(signal);
    bar.stop();
    // What is in a queue is not held by who waits for it.
    if (isQueued) return kill.abort(signal);
    process.stderr.write('octavo: finishing what runs; a second signal gives it up\n');
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    bar.start(size, 0, { answered: 0, failed: 0 });
    const totals = await runBatch({
      ...{ input, output, target, stop: stop.signal, kill: kill.signal },
      maxConcurrency: flags.maxConcurrency ?? maxConcurrency,
      onProgress: (bytes, { answered, failed }) => {
        if (!stop.signal.aborted) bar.update(bytes, { answered, failed });
      },
    });
    bar.stop();
    tell(totals, stop.signal.aborted);
    if (stop.signal.aborted) {
      process.exitCode = 128 + constants.signals[stop.signal.reason as NodeJS.Signals];
    } else if (totals.failed + totals.failedBefore > 0) process.exitCode = 1;
  } finally {
    bar.stop();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
    await close();
  }
}

function tell({ answered, failed, skipped, failedBefore }: BatchTotals, stopped: boolean): void {
  const before = failedBefore > 0 ? `, ${count(failedBefore)} of them failed` : '';
  const had = skipped > 0 ? `; ${count(skipped)} were there before${before}` : '';
  const end = stopped ? '; stopped: the same command goes on from here' : '';
  process.stderr.write(
    `octavo: ${count(answered)} answered, ${count(failed)} failed${had}${end}\n`,
  );
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    const { message } = cause as Error;
    throw octavoError('ERR_FILE', `cannot read ${path}: ${message}`, { param: path, cause });
  }
}

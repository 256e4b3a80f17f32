/** `--queue`: its flags, and `octavo run-batch` whose lines workers elsewhere answer. */
import { randomUUID } from 'node:crypto';
import { realpath, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { LineTarget } from '../batch/target.js';
import { checkQueueName, queueAddress } from '../queue/address.js';
import { openBroker } from '../queue/open.js';
import type { Broker } from '../queue/queue.js';
import { Submitter } from '../queue/submit.js';
import { modelFlag, only, serverFlag, type TargetFlags } from './batch-target.js';
import { count } from './report.js';

export interface QueueFlags {
  queue?: string;
  queueName: string;
}

export interface QueueTargetFlags extends TargetFlags, QueueFlags {
  outputFile: string;
  runName?: string;
}

/** Lines that wait in a queue at once: more than many machines work on. */
const IN_QUEUE = 10_000;

export function addQueueFlags(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--queue <url>',
        'lines go over BullMQ (redis://, rediss://) or NATS JetStream (nats://, tls://)',
      ).env('OCTAVO_QUEUE'),
    )
    .option('--queue-name <name>', 'one of several queues of a broker', 'octavo');
}

/**
 * @throws ERR_INVALID_OPTION for what is wrong with the flags or not installed, ERR_QUEUE
 */
export async function openFlaggedQueue(queue: string, name: string): Promise<Broker> {
  const address = queueAddress(queue);
  return openBroker({
    ...{ address, name: checkQueueName(name) },
    onState: (state) =>
      process.stderr.write(
        state === 'gone'
          ? `octavo: ${address.shown} is gone; waiting for it\n`
          : `octavo: ${address.shown} is back\n`,
      ),
  });
}

export async function openQueueTarget(model: string | undefined, flags: QueueTargetFlags) {
  const given = modelFlag(model, flags) ?? serverFlag(flags) ?? (flags.baseUrl && 'baseUrl');
  if (given) throw only(given, 'is for who answers; with --queue give it to octavo worker');
  const broker = await openFlaggedQueue(flags.queue as string, flags.queueName);
  try {
    const run = flags.runName ?? (await defaultRun(flags.outputFile));
    const submitter = new Submitter({ broker, run, onLost });
    await submitter.start();
    return {
      target: submitter as LineTarget,
      maxConcurrency: IN_QUEUE,
      async close() {
        await submitter.close();
        await broker.close();
        tell(submitter.totals);
      },
    };
  } catch (error) {
    await broker.close();
    throw error;
  }
}

function onLost(numLost: number): void {
  process.stderr.write(`octavo: ${count(numLost)} lines were gone from the queue; put in again\n`);
}

function tell({ repeated, late }: Submitter['totals']): void {
  if (repeated > 0) {
    process.stderr.write(`octavo: ${count(repeated)} lines were tried more than once\n`);
  }
  if (late > 0) {
    process.stderr.write(`octavo: ${count(late)} answers came a second time and were dropped\n`);
  }
}

/** The same command on the same machine goes on; an output that cannot is a run of its own. */
async function defaultRun(output: string): Promise<string> {
  const there = await stat(output).catch(() => null);
  if (there && !there.isFile()) return randomUUID();
  const path = there ? await realpath(output) : resolve(output);
  return `${hostname()}:${path}`;
}

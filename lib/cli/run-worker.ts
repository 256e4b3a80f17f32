/** What `octavo worker` does: connects, loads, works until a signal, gives back what is left. */
import { constants } from 'node:os';
import { octavoError } from '../errors.js';
import type { Broker } from '../queue/queue.js';
import { type WorkTotals, work } from '../queue/work.js';
import { jsonLines } from '../server/logs.js';
import { type OpenTarget, openTarget, type TargetFlags } from './batch-target.js';
import { openFlaggedQueue, type QueueFlags } from './queue-target.js';
import { count } from './report.js';

export interface WorkerFlags extends TargetFlags, QueueFlags {
  concurrency?: number;
  maxAttempts: number;
  ackWait: number;
  shutdownTimeout: number;
  disableLogRequests?: boolean;
}

/** How long what is given back may take to reach the broker. */
const GIVE_BACK_MS = 5000;

export async function runWorker(model: string | undefined, flags: WorkerFlags): Promise<void> {
  const { queue, queueName } = flags;
  if (queue === undefined) {
    const sentence = '--queue must say where the lines are: redis://host:6379, nats://host:4222';
    throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'queue' });
  }
  // What is wrong is told before a model is read.
  const broker = await openFlaggedQueue(queue, queueName);
  let opened: OpenTarget | null = null;
  const ending = new Ending(flags.shutdownTimeout * 1000);
  try {
    opened = await openTarget(model, flags);
    const totals = await workOn(broker, opened, flags, ending);
    // All is given back; a large model may take its time to go.
    ending.calm();
    tell(totals);
    if (ending.signal && ending.kill.signal.aborted && ending.isSecond) {
      process.exitCode = 128 + constants.signals[ending.signal];
    }
  } finally {
    await broker.close();
    await opened?.close();
    ending.close();
  }
}

async function workOn(
  broker: Broker,
  { target, running }: OpenTarget,
  flags: WorkerFlags,
  ending: Ending,
): Promise<WorkTotals> {
  const { concurrency = running, maxAttempts, ackWait, disableLogRequests } = flags;
  const logger = jsonLines(disableLogRequests ? 'error' : 'info');
  const say = (sentence: string) => process.stderr.write(`octavo: ${sentence}\n`);
  const answering = work({
    ...{ broker, target, concurrency, maxAttempts, ackWaitMs: ackWait * 1000 },
    ...{ stop: ending.stop.signal, kill: ending.kill.signal },
    onJob: (level, told, message) => logger[level](told, message),
    onTrouble: (message) => say(`the queue: ${message}`),
    onServer: (state, why) =>
      say(state === 'gone' ? `nobody answers (${why}); waiting for it` : 'it answers again'),
  });
  say(`working on the queue ${flags.queueName}, ${count(concurrency)} lines at once`);
  return answering;
}

function tell({ answered, failed, returned, repeated }: WorkTotals): void {
  const more = [
    ...(returned > 0 ? [`${count(returned)} given back`] : []),
    ...(repeated > 0 ? [`${count(repeated)} answered elsewhere as well`] : []),
  ];
  const lines = [`${count(answered)} answered`, `${count(failed)} failed`, ...more];
  process.stderr.write(`octavo: ${lines.join(', ')}\n`);
}

/** The first signal lets what runs end in its time, the second gives it back at once. */
class Ending {
  readonly stop = new AbortController();
  readonly kill = new AbortController();
  signal: NodeJS.Signals | null = null;
  isSecond = false;
  readonly #onSignal = (signal: NodeJS.Signals) => this.#heed(signal);
  readonly #timers: NodeJS.Timeout[] = [];

  constructor(readonly timeoutMs: number) {
    process.on('SIGINT', this.#onSignal);
    process.on('SIGTERM', this.#onSignal);
  }

  calm(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  close(): void {
    this.calm();
    process.off('SIGINT', this.#onSignal);
    process.off('SIGTERM', this.#onSignal);
  }

  #heed(signal: NodeJS.Signals): void {
    if (this.signal !== null) {
      this.isSecond = true;
      this.#giveBack(signal);
      return;
    }
    this.signal = signal;
    this.stop.abort();
    const time = `for ${this.timeoutMs / 1000} s`;
    process.stderr.write(`octavo: finishing what runs, ${time}; a second signal gives it back\n`);
    // More than 24 days are no time that a timer knows.
    const timeout = Math.min(this.timeoutMs, 2 ** 31 - 1);
    this.#timers.push(setTimeout(() => this.#giveBack(signal), timeout));
  }

  /** Whom the broker does not hear, others take the lines from in time. */
  #giveBack(signal: NodeJS.Signals): void {
    if (this.kill.signal.aborted) return;
    this.kill.abort();
    const exit = () => process.exit(128 + constants.signals[signal]);
    this.#timers.push(setTimeout(exit, GIVE_BACK_MS));
  }
}

/** Ctrl-C and SIGTERM end what a command asked of a model, and nothing else. */
import { constants } from 'node:os';
import { isOctavoError } from '../errors.js';

/** Runs until the end or a signal; after a signal the exit code says which. */
export async function interruptible(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const interrupt = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => interrupt.abort(signal);
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  try {
    await work(interrupt.signal);
  } catch (error) {
    // What was to be read may have been given up as well.
    if (!interrupt.signal.aborted || !isOctavoError(error)) throw error;
    process.exitCode = 128 + constants.signals[interrupt.signal.reason as NodeJS.Signals];
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

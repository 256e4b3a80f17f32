/** Processes that stand still between calls, so that none spins beside what is measured. */

interface Ending {
  stop(): void;
}

const alive = new Set<Ending>();

/** Who stands still heeds no signal: a bench that is ended would leave them, and their memory. */
export function endWithUs(worker: Ending): void {
  if (alive.size === 0) {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => {
        for (const one of alive) one.stop();
        process.kill(process.pid, signal);
      });
    }
  }
  alive.add(worker);
}

export function hasEnded(worker: Ending): void {
  alive.delete(worker);
}

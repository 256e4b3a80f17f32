/** A broker in memory, whose faults a test chooses. */
import type { Broker, Delivery, Found, Job, Outcome, TakeOptions } from '../../lib/queue/queue.js';

export class MemoryBroker implements Broker {
  maxBytes = 10_000;
  readonly jobs = new Map<string, Job & { attempt: number }>();
  readonly results = new Map<string, string>();
  /** Every text that was put in and was not there. */
  readonly puts: string[] = [];
  /** Fails what is put in. */
  refusal: Error | null = null;
  isSilent = false;
  #onDone: (id: string) => void = () => {};
  #take: TakeOptions | null = null;

  async put(jobs: readonly Job[]): Promise<void> {
    if (this.refusal) throw this.refusal;
    for (const job of jobs) {
      if (this.jobs.has(job.id)) continue;
      this.puts.push(job.text);
      this.jobs.set(job.id, { ...job, attempt: 0 });
    }
  }

  async look(ids: readonly string[]): Promise<Found[]> {
    return ids.map((id) => {
      const line = this.results.get(id);
      if (line !== undefined) return { state: 'done', line };
      return { state: this.jobs.has(id) ? 'waiting' : 'absent' };
    });
  }

  async done(): Promise<string[]> {
    return [...this.results.keys()];
  }

  async listen(onDone: (id: string) => void): Promise<void> {
    this.#onDone = onDone;
  }

  async forget(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      this.jobs.delete(id);
      this.results.delete(id);
    }
  }

  async take(options: TakeOptions) {
    this.#take = options;
    return { stop: async () => {} };
  }

  /** Answers a job, as a worker would. */
  answer(id: string, line: string): void {
    this.jobs.delete(id);
    this.results.set(id, line);
    if (!this.isSilent) this.#onDone(id);
  }

  /** Hands a job to who takes them. */
  deliver(delivery: Delivery): Promise<Outcome> {
    return (this.#take as TakeOptions).handle(delivery);
  }

  get isTaken(): boolean {
    return this.#take !== null;
  }

  async close(): Promise<void> {}
}

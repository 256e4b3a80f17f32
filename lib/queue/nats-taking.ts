/** A worker's side of JetStream: messages are pulled, kept alive, answered and acknowledged. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Consumer, JsMsg } from '@nats-io/jetstream';
import type { Outcome, TakeOptions, Taking } from './queue.js';

/** What is asked of the broker. */
export interface JobSource {
  consumer(ackWaitMs: number): Promise<Consumer>;
  result(id: string): Promise<string | null>;
  store(message: JsMsg, id: string, line: string): Promise<boolean>;
}

/** How long one question for messages may wait: so long a place may stay empty, too. */
const PULL_MS = 1000;

/** How often it is said of a job that it runs, at least: another worker may have a shorter wait. */
const ALIVE_MS = 1000;

const RETRY_MS = 250;

export class NatsTaking implements Taking {
  readonly #source: JobSource;
  readonly #options: TakeOptions;
  readonly #running = new Set<JsMsg>();
  /** Of one job that came twice there may be one outcome. */
  readonly #stored = new WeakSet<Outcome>();
  readonly #pulling: Promise<void>;
  readonly #alive: NodeJS.Timeout;
  #isStopped = false;
  #freed: () => void = () => {};

  constructor(source: JobSource, options: TakeOptions) {
    this.#source = source;
    this.#options = options;
    this.#alive = setInterval(() => this.#sayAlive(), Math.min(options.ackWaitMs / 3, ALIVE_MS));
    this.#pulling = this.#pull();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#freed();
    // What a question that is on its way still brings goes back.
    await this.#pulling;
    while (this.#running.size > 0) await this.#place();
    clearInterval(this.#alive);
  }

  /** Asks for as many as there are places, until it is stopped. */
  async #pull(): Promise<void> {
    let consumer: Consumer | null = null;
    while (!this.#isStopped) {
      const free = this.#options.concurrency - this.#running.size;
      if (free <= 0) {
        await this.#place();
        continue;
      }
      try {
        consumer ??= await this.#source.consumer(this.#options.ackWaitMs);
        const messages = await consumer.fetch({ max_messages: free, expires: PULL_MS });
        for await (const message of messages) this.#begin(message);
      } catch (error) {
        consumer = null;
        if (this.#isStopped) return;
        const { name, message } = error as Error;
        // Who has gone is told once, by the connection.
        if (!/Timeout|NoResponders|Connection|Request|Heartbeat|Status/i.test(name)) {
          this.#options.onTrouble(message);
        }
        await sleep(RETRY_MS);
      }
    }
  }

  /** Resolves when one that runs has ended, or it is stopped. */
  #place(): Promise<void> {
    return new Promise((resolve) => {
      this.#freed = resolve;
    });
  }

  #begin(message: JsMsg): void {
    this.#running.add(message);
    void this.#run(message)
      .catch((error: Error) => this.#options.onTrouble(error.message))
      .finally(() => {
        this.#running.delete(message);
        this.#freed();
      });
  }

  async #run(message: JsMsg): Promise<void> {
    const id = message.subject.slice(message.subject.lastIndexOf('.') + 1);
    const { deliveryCount: attempt } = message.info;
    // Whoever had it may have answered it and not lived to say so; or it was answered while a
    // submitter that went on put it in again.
    if ((await this.#source.result(id)) !== null) {
      await message.ackAck().catch(() => false);
      return;
    }
    const outcome = await this.#options.handle({ id, text: message.string(), attempt });
    if ('againInMs' in outcome) {
      message.nak(outcome.againInMs > 0 ? outcome.againInMs : undefined);
      return;
    }
    if (!this.#stored.has(outcome)) {
      this.#stored.add(outcome);
      const stands = await this.#source.store(message, id, outcome.line);
      if (!stands) this.#options.onRepeated(id);
    }
    // Unheard, it is delivered again, and found to have its result.
    await message.ackAck().catch(() => false);
  }

  #sayAlive(): void {
    for (const message of this.#running) {
      try {
        message.working();
      } catch {
        // The connection is closed for good.
      }
    }
  }
}

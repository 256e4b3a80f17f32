/** The largest prefixes of the cache as those see them who watch: found out anew now and then. */
import type { Scheduler } from '../core/scheduler.js';
import { PrefixSurvey } from './prefix-survey.js';
import type { PrefixFrame } from './watch-frames.js';

/** Between the beginnings of two surveys, and between two parts of one. */
const SURVEY_MS = 1000;
const PART_MS = 100;

/** Users of a prefix that are named. */
const MOST_USERS = 4;

export class WatchedPrefixes {
  /** Of the last survey that is done; null: none is. */
  found: readonly PrefixFrame[] | null = null;
  readonly #scheduler: Scheduler;
  readonly #group: number;
  #survey: PrefixSurvey | null = null;
  /** When the last one began, and what the pool had seen by then. */
  #begun = Number.NEGATIVE_INFINITY;
  #seen = '';
  #worked = Number.NEGATIVE_INFINITY;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    // The first block of the others slides out of their window.
    const { groups } = scheduler.config;
    this.#group = Math.max(
      0,
      groups.findIndex(({ window }) => window === 0),
    );
  }

  /**
   * Does a part where one is due.
   * @param turns counts the requests that began and ended
   * @returns whether one was done with it
   */
  goOn(now: number, turns: number): boolean {
    if (this.waitOf(now, turns) !== 0) return false;
    if (this.#survey === null) {
      this.#begun = now;
      this.#seen = this.#look(turns);
      this.#survey = new PrefixSurvey(this.#scheduler.pool.prefixes);
    }
    this.#worked = now;
    this.#survey.goOn();
    const { found } = this.#survey;
    if (found === null) return false;
    this.found = this.#withUsers(this.#survey, found);
    this.#survey = null;
    return true;
  }

  /** How many ms from now on the next part is due; null: there is nothing to find out. */
  waitOf(now: number, turns: number): number | null {
    if (this.#survey !== null) return Math.max(0, this.#worked + PART_MS - now);
    if (this.#seen === this.#look(turns)) return null;
    return Math.max(0, this.#begun + SURVEY_MS - now);
  }

  #look(turns: number): string {
    const { numPublished, numEvictions } = this.#scheduler.pool.prefixes;
    return `${numPublished} ${numEvictions} ${turns}`;
  }

  #withUsers(survey: PrefixSurvey, found: NonNullable<PrefixSurvey['found']>): PrefixFrame[] {
    const users = found.map(() => new Set<string>());
    const scheduler = this.#scheduler;
    for (let row = 0; row < scheduler.config.maxNumSeqs; row++) {
      const sequence = scheduler.sequenceAt(row);
      if (sequence === null) continue;
      const block = scheduler.firstBlockOf(sequence, this.#group);
      const place = survey.placeOf(scheduler.pool.prefixes.identityOf(block));
      if (place >= 0) users[place].add(sequence.group.id);
    }
    return found.map((prefix, i) => ({
      ...prefix,
      numUsers: users[i].size,
      users: [...users[i]].slice(0, MOST_USERS),
    }));
  }
}

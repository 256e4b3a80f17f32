/** What all routes of a server share. */
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BodyBudget } from './body-budget.js';
import { Generator } from './generation.js';
import { Metrics } from './metrics.js';
import { Models } from './models.js';
import type { ServerConfig } from './options.js';

/** The folder of the package. */
export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Of the package. */
export const VERSION = versionOf(join(ROOT, 'package.json'));

/** '' where a bundler has taken this file out of the package: loading a model says what to do. */
function versionOf(manifest: string): string {
  try {
    return String(JSON.parse(readFileSync(manifest, 'utf8')).version);
  } catch {
    return '';
  }
}

export const TAKES_NO_MORE = 'the server takes no more requests';

export class Service {
  readonly config: ServerConfig;
  readonly models: Models;
  readonly metrics: Metrics | null;
  readonly generator: Generator;
  readonly bodies: BodyBudget;
  readonly started = Math.floor(Date.now() / 1000);
  /** Requests whose answers are not all sent. */
  numActive = 0;
  /** Those of them that watch, until there is nothing to be seen any more. */
  numWatching = 0;
  /** Those of them that ask for work. */
  numWorking = 0;
  /** True once it takes no more. */
  isDraining = false;
  readonly #ending = new AbortController();

  constructor(models: ConstructorParameters<typeof Models>[0], config: ServerConfig) {
    this.config = config;
    // One for each who watches.
    setMaxListeners(0, this.ending);
    this.models = new Models(models, config);
    this.metrics = config.metrics ? new Metrics(this.models.all) : null;
    this.generator = new Generator(this.metrics);
    this.bodies = new BodyBudget(config.maxTotalBodyBytes);
  }

  /** Aborts when what never ends by itself has to. */
  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  /** It takes no more from now on; who watches may see the rest of it. */
  drain(): void {
    this.isDraining = true;
    this.endIfIdle();
  }

  /** Who watches waits for the others, not they for him. */
  endIfIdle(): void {
    if (this.isDraining && this.numActive === this.numWatching) this.#ending.abort();
  }

  close(): void {
    this.#ending.abort();
    this.metrics?.close();
  }
}

/** An id as OpenAI's look: nobody guesses one. */
export function newId(prefix: string): string {
  return `${prefix}${randomBytes(16).toString('hex')}`;
}

/** The id of an answer: a request that has a name of its own gives it. */
export function answerId(prefix: string, { request_id: id }: { readonly request_id?: string }) {
  return id === undefined ? newId(prefix) : prefix + id;
}

export function seconds(): number {
  return Math.floor(Date.now() / 1000);
}

/**
 * Compiled grammars, kept for whoever asks for the same again. Calls that ask at once share one
 * compilation; which grammars stay is decided by when they were last asked for, within a limit of
 * bytes. One that is no longer kept lives on with those that use it. What was refused is kept for a
 * while as well: the same text costs its work once.
 */
import { createHash } from 'node:crypto';
import { isOctavoError, octavoError } from '../errors.js';
import { Budget } from './budget.js';
import { errorOf, type GrammarFailure, grammarFailure } from './problem.js';
import { type GrammarSource, type Program, readProgram } from './reading.js';

export { type GrammarSource, specSource } from './reading.js';

/**
 * The state of one text under a grammar; the native side's. What would hold the thread for more
 * than a few milliseconds has no answer (null, false) before `settle()` has found it out.
 */
export interface Matcher {
  /**
   * Takes a token. False: it is not allowed here, and nothing has changed. One that would take long
   * is taken on trust: where it was not allowed after all, nothing is behind it.
   */
  advance(token: number): boolean;
  fork(): Matcher;
  /** Whether the text may end here. */
  complete(): boolean | null;
  /** How many of the bytes could be taken; nothing changes. */
  acceptsBytes(bytes: Uint8Array): Promise<number>;
  /** Why nothing is allowed any more: a limit was exceeded. Empty: none was. */
  readonly failure: string;
  /** The bytes with which every continuation begins. */
  forcedBytes(): Uint8Array | null;
  /** Writes which tokens are allowed: ⌈vocabulary / 32⌉ words, bit id % 32 of word id / 32. */
  fillMask(into: Int32Array, offset: number): boolean;
  /** Finds out, off the thread, what the other calls need of this place. */
  settle(): Promise<void>;
  /** Gives it back. */
  close(): void;
}

/** What the native side makes of a program. */
export interface CompiledProgram {
  start(): Matcher;
  close(): void;
  /** Bytes that it takes now; what is found out while it is used is kept, too. */
  readonly memory: number;
}

export interface CachedGrammar {
  readonly warnings: readonly string[];
  readonly numBytes: number;
  /** At the beginning of a text. */
  start(): Matcher;
  /** Gives its memory back, once no text is under it any more. */
  close(): void;
}

/** Counters since the start, and what is kept now. */
export interface GrammarCounts {
  readonly numCompiled: number;
  readonly numHits: number;
  readonly numKept: number;
  readonly numBytes: number;
}

interface Entry {
  readonly promise: Promise<CachedGrammar>;
  /** Set once it is compiled. */
  grammar: CachedGrammar | null;
  /** What it took when it was last looked at. */
  numBytes: number;
}

interface Refused {
  readonly failure: GrammarFailure;
  /** As `now` counts. */
  readonly until: number;
}

/** What was refused, and would be refused again, is known for so long; */
const REFUSED_MS = 60_000;
/** what another time might suffice for, only so long. */
const LATE_MS = 2_000;
const MAX_REFUSED = 256;

/** Entries that are looked at again with each that comes: those of a full cache are many. */
const LOOKED_AT = 16;

interface CacheOptions {
  /** Makes programs; by default here and now. */
  readonly read?: (source: GrammarSource) => Promise<Program>;
  /** In ms. */
  readonly now?: () => number;
}

export class GrammarCache {
  readonly #compile: (program: Int32Array) => Promise<CompiledProgram>;
  readonly #maxBytes: number;
  readonly #read: (source: GrammarSource) => Promise<Program>;
  readonly #now: () => number;
  /** By hash, in the order in which they were last asked for. */
  readonly #entries = new Map<string, Entry>();
  /** Goes round all entries. */
  #hand: Iterator<Entry> = this.#entries.values();
  /** Of all entries, as they were last looked at. */
  #numBytes = 0;
  /** By hash, the oldest first. */
  readonly #refused = new Map<string, Refused>();
  /** Told how long one took, from its text on. */
  onCompiled: ((ms: number) => void) | null = null;
  #numCompiled = 0;
  #numHits = 0;
  #isClosed = false;

  /**
   * @param compile off the event loop; rejects with ERR_GRAMMAR
   * @param maxBytes of all that are kept
   */
  constructor(
    compile: (program: Int32Array) => Promise<CompiledProgram>,
    maxBytes: number,
    { read = readHere, now = () => performance.now() }: CacheOptions = {},
  ) {
    this.#compile = compile;
    this.#maxBytes = maxBytes;
    this.#read = read;
    this.#now = now;
  }

  get counts(): GrammarCounts {
    return {
      numCompiled: this.#numCompiled,
      numHits: this.#numHits,
      numKept: this.#entries.size,
      numBytes: this.#countAll(),
    };
  }

  /**
   * A grammar, compiled now or before.
   * @throws ERR_GRAMMAR, what was refused shortly before without another try; ERR_CLOSED
   */
  compile(source: GrammarSource): Promise<CachedGrammar> {
    if (this.#isClosed) return Promise.reject(closed());
    const hash = createHash('sha256').update(source.key).digest('base64');
    const known = this.#entries.get(hash);
    if (known !== undefined) {
      this.#numHits++;
      this.#entries.delete(hash);
      this.#entries.set(hash, known);
      return known.promise;
    }
    const refused = this.#refused.get(hash);
    if (refused !== undefined) {
      if (this.#now() < refused.until) return Promise.reject(errorOf(refused.failure));
      this.#refused.delete(hash);
    }
    const promise = this.#build(source).catch((error: unknown) => {
      throw aboutParam(error, source.param);
    });
    const entry: Entry = { promise, grammar: null, numBytes: 0 };
    this.#entries.set(hash, entry);
    promise.then(
      (grammar) => {
        entry.grammar = grammar;
        this.#evict(entry);
      },
      (error: unknown) => {
        this.#entries.delete(hash);
        this.#refuse(hash, error);
      },
    );
    return promise;
  }

  /** Gives back what is kept, what is still being compiled included. */
  close(): void {
    this.#isClosed = true;
    for (const { promise } of this.#entries.values()) {
      promise.then(
        (grammar) => grammar.close(),
        () => {},
      );
    }
    this.#entries.clear();
    this.#numBytes = 0;
  }

  #refuse(hash: string, error: unknown): void {
    const failure = grammarFailure(error);
    if (failure === null) return;
    const until = this.#now() + (failure.isLate ? LATE_MS : REFUSED_MS);
    this.#refused.set(hash, { failure, until });
    const [oldest] = this.#refused.keys();
    if (this.#refused.size > MAX_REFUSED) this.#refused.delete(oldest);
  }

  async #build(source: GrammarSource): Promise<CachedGrammar> {
    const started = this.#now();
    const { words, warnings } = await this.#read(source);
    const compiled = await this.#compile(words);
    this.#numCompiled++;
    this.onCompiled?.(this.#now() - started);
    return {
      warnings: Object.freeze([...warnings]),
      get numBytes() {
        return compiled.memory;
      },
      start: () => compiled.start(),
      close: () => compiled.close(),
    };
  }

  #look(entry: Entry): void {
    const numBytes = entry.grammar?.numBytes ?? 0;
    this.#numBytes += numBytes - entry.numBytes;
    entry.numBytes = numBytes;
  }

  #countAll(): number {
    for (const entry of this.#entries.values()) this.#look(entry);
    return this.#numBytes;
  }

  /** Grammars grow while they are used: some are counted anew each time, before any goes all. */
  #evict(added: Entry): void {
    if (this.#isClosed) return;
    this.#look(added);
    for (let i = 0; i < LOOKED_AT; i++) {
      const { value, done } = this.#hand.next();
      if (done) {
        this.#hand = this.#entries.values();
        break;
      }
      this.#look(value);
    }
    if (this.#numBytes <= this.#maxBytes || this.#countAll() <= this.#maxBytes) return;
    for (const [hash, { grammar, numBytes }] of this.#entries) {
      if (this.#numBytes <= this.#maxBytes) return;
      if (grammar === null) continue;
      this.#numBytes -= numBytes;
      this.#entries.delete(hash);
    }
  }
}

async function readHere(source: GrammarSource): Promise<Program> {
  return readProgram(source, new Budget());
}

/** @returns the error; one that is about no parameter is now about this one */
function aboutParam(error: unknown, param: string | undefined): unknown {
  if (param !== undefined && isOctavoError(error) && error.param === undefined) {
    Object.defineProperty(error, 'param', { value: param, enumerable: true });
  }
  return error;
}

function closed(): Error {
  return octavoError('ERR_CLOSED', 'the model is closed, and compiles no grammars any more');
}

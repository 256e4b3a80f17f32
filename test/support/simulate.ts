/**
 * A seeded world for the scheduler: random arrivals, shared prefixes, forks, stops, aborts in the
 * middle of a step, pools that are much too small. The executor is fake but keeps a *model of the
 * KV*: each slot holds a number that stands for "the KV of this token after these tokens", derived
 * from the slot before it, as attention would. So it can check that every token a query attends to
 * lies in its table with the right content, and the tokens it draws depend on that content: any
 * corruption also changes the output, which is compared with the request generated alone, by a
 * plain loop without any cache.
 */
import { type BeamSearchParams, completeBeamParams } from '../../lib/core/beam-params.js';
import { NO_STATE } from '../../lib/core/hosted-states.js';
import type { RecurrentStates } from '../../lib/core/recurrent-states.js';
import {
  completeParams,
  type DrawParams,
  type SamplingParams,
  validateSamplingParams,
} from '../../lib/core/sampling-params.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import type { SchedulerOptions } from '../../lib/core/scheduler-config.js';
import { SequenceGroup } from '../../lib/core/sequence.js';
import type { Step } from '../../lib/core/step.js';
import type { FindStop } from '../../lib/core/stop.js';
import { RecordingScheduler, type TraceSink } from '../../lib/core/trace.js';
import { decodeResult } from '../../lib/wire/decode.js';
import { StepEncoder } from '../../lib/wire/encode.js';
import { beamReference } from '../reference/beam-search.js';
import {
  drawToken,
  emptyContent,
  FakeExecutor,
  logprobsOf,
  mix,
  randomFrom,
  VOCAB,
} from './fake-executor.js';

const EOS = 63;

/** "A stop string ends here": some function of the whole text. */
function stopIn(tokens: ArrayLike<number>, from: number): string | null {
  let h = 99;
  for (let i = from; i < tokens.length; i++) h = mix(h, tokens[i]);
  return (h >>> 0) % 90 === 0 ? 'stop' : null;
}

export interface Expected {
  readonly tokens: number[];
  readonly finishReason: string;
  readonly stopReason: string | number | null;
}

type Lengths = Pick<SchedulerOptions, 'maxModelLen' | 'longRopeFrom'>;

/** What the cache must hold before the first token of a request. */
function emptyFor(prompt: readonly number[], { maxTokens }: DrawParams, lengths: Lengths): number {
  const longest = Math.min(prompt.length + maxTokens, lengths.maxModelLen);
  return emptyContent(longest > (lengths.longRopeFrom ?? Number.POSITIVE_INFINITY) ? 1 : 0);
}

function contentOf(prompt: readonly number[], params: DrawParams, lengths: Lengths): number {
  return prompt.reduce((h, token) => mix(h, token), emptyFor(prompt, params, lengths));
}

/** The request alone, without any cache: what sample `index` must come out as. */
export function generateAlone(
  prompt: readonly number[],
  params: DrawParams,
  index: number,
  lengths: Lengths,
): Expected {
  const tokens = [...prompt];
  let content = contentOf(prompt, params, lengths);
  for (;;) {
    const output = tokens.slice(prompt.length);
    const banned = output.length < params.minTokens ? [...params.endTokenIds] : [];
    for (const word of params.badWordIds) {
      const head = word.slice(0, -1);
      if (head.every((id, i) => output[output.length - head.length + i] === id)) {
        banned.push(word[word.length - 1]);
      }
    }
    const allowed = params.allowedTokenIds ? [...params.allowedTokenIds] : null;
    const lists = {
      banned,
      allowed,
      bias: [...params.biasIds].map((id, i) => [id, params.biasValues[i]] as const),
      prompt: params.needsPrompt ? prompt : [],
      output: params.needsOutput ? output : [],
    };
    const key = { seed: params.seed + index, temperature: params.temperature };
    const token = drawToken(key, tokens.length, content, lists);
    if (token < 0) return { tokens: output, finishReason: 'error', stopReason: null };
    tokens.push(token);
    output.push(token);
    content = mix(content, token);
    const end = (finishReason: string, stopReason: string | number | null) => ({
      tokens: output,
      finishReason,
      stopReason,
    });
    const mayStop = output.length >= params.minTokens;
    if (mayStop && params.eosTokenIds.includes(token)) return end('stop', null);
    if (mayStop && params.stopTokenIds.includes(token)) return end('stop', token);
    if (mayStop && stopIn(tokens, prompt.length)) return end('stop', 'stop');
    if (output.length === params.maxTokens || tokens.length === lengths.maxModelLen) {
      return end('length', null);
    }
  }
}

/** The beams of a search alone, in a comparable form. */
function beamsAlone(prompt: readonly number[], params: DrawParams, lengths: Lengths): string[] {
  const { maxModelLen } = lengths;
  const start = contentOf(prompt, params, lengths);
  const beams = beamReference((generated) => logprobsOf(generated.reduce(mix, start)), {
    ...params.beam!,
    maxNew: Math.min(params.maxTokens, maxModelLen - prompt.length),
    minNew: params.minTokens,
    endIds: [...params.endTokenIds],
  });
  return beams.map(({ tokens, score }) => `${score.toFixed(9)} ${tokens}`).sort();
}

export interface World extends SchedulerOptions {
  readonly numRequests: number;
  readonly maxN: number;
  /** Chance of an abort per step, in percent. */
  readonly abortPercent: number;
  readonly promptLogprobs?: boolean;
  /** Of ten requests, so many search with beams. */
  readonly beamTenths?: number;
  /** Chance that a step fails, in percent. */
  readonly failPercent?: number;
  /** Chance that a step is refused before it runs, in percent. */
  readonly refusePercent?: number;
}

/** Small enough that everything is short. */
export const TINY_WORLD = {
  numBlocks: 40,
  blockSize: 4,
  maxModelLen: 90,
  maxNumSeqs: 8,
  maxNumBatchedTokens: 32,
  maxNumWaiting: 20,
  maxN: 3,
  promptLogprobs: true,
} as const;

export interface Outcome {
  readonly numSteps: number;
  readonly numPreemptions: number;
  readonly numCopies: number;
  readonly numHits: number;
  readonly numAborted: number;
  readonly numFailed: number;
  readonly numSwappedIn: number;
  readonly numRefused: number;
  /** Steps that were put back, and copies and swapped blocks in them. */
  readonly numPutBack: number;
  readonly numUndone: number;
  readonly numFinished: number;
  /** Sequences that began from a cached state; states that were written over the one before them,
   * and beside one that others use. */
  readonly numStateHits: number;
  readonly numOverwritten: number;
  readonly numForkedStates: number;
  readonly numStatesSwappedIn: number;
}

function isIdle({ slots, records, host }: RecurrentStates): boolean {
  const isUnused = slots.numUsed + slots.numCached === 0 && records.numFree === records.length;
  return [host.slots, host.records].every((room) => room.numFree === room.length) && isUnused;
}

interface Live {
  readonly group: SequenceGroup;
  readonly prompt: readonly number[];
  /** Tokens per sequence that were asked about, to see that each is asked about once. */
  readonly numAsked: number[];
}

export class Simulation {
  readonly scheduler: Scheduler;
  readonly #world: World;
  readonly #random: (below: number) => number;
  readonly #executor: FakeExecutor;
  readonly #encoder: StepEncoder;
  readonly #live = new Map<string, Live>();
  readonly #prefixes: number[][];
  #numSteps = 0;
  #numSubmitted = 0;
  #numAborted = 0;
  #numRefused = 0;
  #numFinished = 0;
  #numFailed = 0;
  #numPutBack = 0;
  #numUndone = 0;
  #numOverwritten = 0;
  #numForkedStates = 0;

  /** @param trace takes the scheduler's trace */
  constructor(seed: number, world: World, trace?: TraceSink) {
    const {
      numRequests: _,
      maxN: __,
      abortPercent: ___,
      promptLogprobs: ____,
      beamTenths: _____,
      failPercent: ______,
      refusePercent: _______,
      ...options
    } = world;
    this.#world = world;
    this.#random = randomFrom(seed);
    const config = { hashSeed: seed, ...options };
    this.scheduler = trace ? new RecordingScheduler(config, trace) : new Scheduler(config);
    this.#encoder = new StepEncoder(this.scheduler.config, 16);
    this.#executor = new FakeExecutor(this.scheduler.config);
    this.#prefixes = Array.from({ length: 4 }, () => this.#tokens(1 + this.#random(40)));
  }

  /** Runs until every request has ended, then checks that nothing was leaked. */
  run(): Outcome {
    const limit = this.#world.numRequests * 2000;
    while (this.#numSubmitted < this.#world.numRequests || this.scheduler.hasUnfinished) {
      if (++this.#numSteps > limit) throw new Error('somebody starves');
      while (this.#numSubmitted < this.#world.numRequests && this.#random(3) === 0) this.#submit();
      this.#abortSomebody();
      this.#step();
    }
    const { pool, stats, states } = this.scheduler;
    if (pool.usage !== 0) throw new Error('blocks were leaked');
    if (this.#live.size > 0) throw new Error('a request was lost');
    if (!this.scheduler.resetPrefixCache()) throw new Error('the cache cannot be reset');
    if (pool.prefixes.numPublished + pool.prefixes.numRoots > 0) throw new Error('prefixes leaked');
    if (states !== null && !isIdle(states)) throw new Error('states or records were leaked');
    return {
      numSteps: this.#numSteps,
      numPreemptions: stats.numPreemptions,
      numCopies: stats.numBlockCopies,
      numHits: stats.numPrefixHits,
      numAborted: this.#numAborted,
      numFailed: this.#numFailed,
      numSwappedIn: stats.numSwappedIn,
      numRefused: this.#numRefused,
      numPutBack: this.#numPutBack,
      numUndone: this.#numUndone,
      numFinished: this.#numFinished,
      numStateHits: states?.numHits ?? 0,
      numOverwritten: this.#numOverwritten,
      numForkedStates: this.#numForkedStates,
      numStatesSwappedIn: stats.numStatesSwappedIn,
    };
  }

  #tokens(count: number): number[] {
    return Array.from({ length: count }, () => this.#random(VOCAB));
  }

  #submit(): void {
    const random = this.#random;
    const id = `r${this.#numSubmitted++}`;
    const shared = random(2) === 0 ? this.#prefixes[random(this.#prefixes.length)] : [];
    const prompt = [...shared, ...this.#tokens(1 + random(30))];
    const maxTokens = 1 + random(40);
    const beams = random(10) < (this.#world.beamTenths ?? 0);
    const params = beams ? this.#beamParams(maxTokens) : this.#samplingParams(maxTokens);
    const priority = this.#world.schedulingPolicy === 'priority' ? random(3) - 1 : 0;
    const group = new SequenceGroup({ id, promptTokens: prompt, params, priority });
    try {
      this.scheduler.add(group);
    } catch (error) {
      const { code } = error as { code?: string };
      const expected = ['ERR_REQUEST_TOO_LARGE', 'ERR_PROMPT_TOO_LONG', 'ERR_OVERLOADED'];
      if (!expected.includes(code!)) throw error;
      this.#numRefused++;
      return;
    }
    this.#live.set(id, { group, prompt, numAsked: Array(params.n).fill(0) });
  }

  #beamParams(maxTokens: number): DrawParams {
    const random = this.#random;
    const input: BeamSearchParams = {
      beamWidth: 1 + random(this.#world.maxN),
      maxTokens,
      minTokens: random(3) === 0 ? random(maxTokens + 1) : 0,
      lengthPenalty: [1, 0, -0.5, 1.5][random(4)],
      earlyStopping: ([true, false, 'never'] as const)[random(3)],
      stopTokenIds: random(2) === 0 ? this.#tokens(1 + random(8)) : [],
      ignoreEos: random(3) === 0,
      cacheSalt: random(6) === 0 ? `tenant ${random(2)}` : undefined,
    };
    return completeBeamParams(input, { vocabSize: VOCAB, eosTokenIds: [EOS], seed: 1 });
  }

  #samplingParams(maxTokens: number): DrawParams {
    const random = this.#random;
    const input: SamplingParams = {
      n: random(2) === 0 ? 1 : 1 + random(this.#world.maxN),
      maxTokens,
      temperature: [1, 1, 0.1, 0][random(4)],
      minTokens: random(3) === 0 ? random(maxTokens + 1) : 0,
      stopTokenIds: random(4) === 0 ? [random(VOCAB)] : [],
      ignoreEos: random(5) === 0,
      allowedTokenIds: random(8) === 0 ? this.#tokens(6) : undefined,
      logitBias: random(8) === 0 ? { [random(VOCAB)]: random(9) } : undefined,
      repetitionPenalty: random(4) === 0 ? 1.5 : 1,
      presencePenalty: random(4) === 0 ? 0.5 : 0,
      cacheSalt: random(6) === 0 ? `tenant ${random(2)}` : undefined,
      promptLogprobs: this.#world.promptLogprobs && random(3) === 0 ? 0 : undefined,
    };
    return completeParams(validateSamplingParams(input, { vocabSize: VOCAB }), {
      vocabSize: VOCAB,
      eosTokenIds: [EOS],
      seed: random(1 << 30),
      badWordIds: random(6) === 0 ? [[random(VOCAB)], this.#tokens(2)] : [],
    });
  }

  #abortSomebody(): void {
    if (this.#live.size === 0 || this.#random(100) >= this.#world.abortPercent) return;
    const id = [...this.#live.keys()][this.#random(this.#live.size)];
    if (!this.scheduler.abort(id)) throw new Error('a live request could not be aborted');
    this.#live.delete(id);
    this.#numAborted++;
    this.scheduler.checkInvariants();
  }

  #step(): void {
    const { scheduler } = this;
    const step = scheduler.schedule();
    scheduler.checkInvariants();
    if (step === null) {
      if (scheduler.numWaiting + scheduler.numRunning > 0) throw new Error('nothing moves');
      return;
    }
    this.#checkStep(step);
    const submit = () => {
      const { tableSlab, samplerSlab } = this.#encoder;
      return this.#executor.submit(this.#encoder.encode(step), tableSlab, samplerSlab);
    };
    // A step is a value: it may be encoded before or after something happens to its sequences.
    let run = this.#random(2) === 0 ? submit() : null;
    for (let i = this.#random(3); i > 0; i--) this.#abortSomebody();
    run ??= submit();
    if (this.#random(100) < (this.#world.failPercent ?? 0)) {
      // Nothing of it ran; what it should have written or moved is garbage.
      for (const group of scheduler.discard(step)) {
        this.#live.delete(group.id);
        this.#numFailed++;
      }
      scheduler.checkInvariants();
      return;
    }
    if (this.#random(100) < (this.#world.refusePercent ?? 0)) {
      scheduler.putBack(step, this.#random(2) === 0);
      this.#numPutBack++;
      this.#numUndone += step.numCopies + step.numSwapOuts + step.numSwapIns;
      scheduler.checkInvariants();
      this.#verify();
      return;
    }
    const result = decodeResult(step, run());
    const ended = scheduler.commit(step, result, this.#findStop);
    scheduler.checkInvariants();
    for (const group of ended) this.#finish(group);
    this.#verify();
  }

  /** Whoever runs has the KV of all tokens that count as computed. */
  #verify(): void {
    const { scheduler } = this;
    for (const { group } of this.#live.values()) {
      if (group.state !== 'running') continue;
      for (const sequence of group.sequences) {
        if (!sequence.isActive) continue;
        for (let g = 0; g < scheduler.config.groups.length; g++) {
          this.#executor.verify(sequence, scheduler.tableOf(sequence, g), g);
        }
        if (scheduler.states !== null) this.#executor.verifyStates(sequence, scheduler.states);
      }
    }
  }

  #checkStep(step: Step): void {
    const { config, pool } = this.scheduler;
    if (step.numTokens > config.maxNumBatchedTokens) throw new Error('over the budget');
    if (step.numSeqs > config.maxNumSeqs) throw new Error('too many sequences');
    let sum = 0;
    for (let i = 0; i < step.numSeqs; i++) {
      const sequence = this.scheduler.sequenceAt(step.seqRows[i])!;
      const { numComputed } = sequence;
      const length = step.queryLens[i];
      if (length < 1) throw new Error('an empty query');
      sum += length;
      for (const [g, { blockSize }] of config.groups.entries()) {
        const table = this.scheduler.tableOf(sequence, g);
        if (table.length !== step.numBlocks[g][i]) throw new Error('a table has changed');
        const first = Math.floor(numComputed / blockSize);
        for (let b = first; b <= Math.floor((numComputed + length - 1) / blockSize); b++) {
          const block = table[b];
          if (pool.refCounts[block] !== 1) throw new Error('a write into a shared block');
          if (pool.prefixes.isPublished(block)) throw new Error('a write into a cached block');
        }
      }
    }
    if (sum !== step.numTokens) throw new Error('tokens were miscounted');
    if (this.scheduler.states !== null) this.#checkStates(step, this.scheduler.states);
  }

  #checkStates({ numSeqs, stateIns, stateOuts }: Step, { slots }: RecurrentStates): void {
    for (let i = 0; i < numSeqs; i++) {
      const [from, to] = [stateIns[i], stateOuts[i]];
      if (to === NO_STATE) continue;
      if (slots.isShared(to)) throw new Error('a write into a shared state');
      if (slots.isCached(to)) throw new Error('a write into a cached state');
      if (to === from) this.#numOverwritten++;
      else if (slots.isShared(from)) this.#numForkedStates++;
    }
  }

  readonly #findStop: FindStop = (sequence, _sample, mayStop) => {
    const live = this.#live.get(sequence.group.id);
    if (live === undefined) throw new Error('somebody was asked about who is not there');
    if (++live.numAsked[sequence.index] !== sequence.numOutputTokens) {
      throw new Error('a token was asked about twice or not at all');
    }
    const stop = stopIn(sequence.tokens.subarray(0, sequence.numTokens), sequence.numPromptTokens);
    // Before minTokens the answer must not count, whatever it is.
    return mayStop ? stop : 'ignored';
  };

  #finish(group: SequenceGroup): void {
    const { prompt } = this.#live.get(group.id)!;
    const { config } = this.scheduler;
    this.#live.delete(group.id);
    this.#numFinished++;
    if (group.beams !== null) {
      const ours = group.beams.finished.map((b) => `${b.score.toFixed(9)} ${b.tokens}`).sort();
      const alone = beamsAlone(prompt, group.params, config);
      if (ours.join('|') === alone.join('|')) return;
      throw new Error(`${group.id} found the beams ${ours.join('|')}, alone ${alone.join('|')}`);
    }
    for (const sequence of group.sequences) {
      const expected = generateAlone(prompt, group.params, sequence.index, config);
      const { finishReason, stopReason } = sequence;
      const actual = { tokens: [...sequence.outputTokens], finishReason, stopReason };
      if (JSON.stringify(actual) !== JSON.stringify(expected)) {
        throw new Error(
          `${group.id}.${sequence.index} came out as ${JSON.stringify(actual)}, alone it is ` +
            JSON.stringify(expected),
        );
      }
    }
    this.#checkPromptLogprobs(group, prompt);
  }

  #checkPromptLogprobs(group: SequenceGroup, prompt: readonly number[]): void {
    const asked = group.params.numPromptLogprobs >= 0;
    let content = emptyFor(prompt, group.params, this.scheduler.config);
    const expected = asked
      ? prompt.slice(1).map((tokenId, i) => {
          content = mix(content, prompt[i]);
          return `${tokenId} ${content} ${tokenId}`;
        })
      : [];
    const { promptLogprobs } = group;
    const actual = promptLogprobs
      .list(0, promptLogprobs.length)
      .map((p) => `${p.tokenId} ${p.logprob} ${p.rank}`);
    if (actual.join() !== expected.join()) throw new Error('prompt logprobs in disorder');
  }
}

/**
 * What the event loop has to do, counted, not timed: a clock would say more about the machine's
 * other guests. Turns show that something long runs elsewhere; work per turn, that what runs here
 * comes in pieces whose size does not depend on how long a request has become.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  completeParams,
  type SamplingParams,
  validateSamplingParams,
} from '../../lib/core/sampling-params.js';
import { SequenceGroup } from '../../lib/core/sequence.js';
import { TokenLogprobs } from '../../lib/core/token-logprobs.js';
import { Engine } from '../../lib/engine/engine.js';
import { Request } from '../../lib/engine/request.js';
import { OutputStream } from '../../lib/engine/stream.js';
import { octavoError } from '../../lib/errors.js';
import { LLM } from '../../lib/index.js';
import { OutputText } from '../../lib/text/output-text.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { watchEventLoop } from '../support/event-loop.js';
import { VOCAB } from '../support/fake-executor.js';
import { ScriptedExecutor } from '../support/scripted-executor.js';
import { hf320 } from '../text/support.js';

afterEach(() => {
  vi.restoreAllMocks();
});

it('reading weights, encoding a long prompt and computing steps go on beside it', async () => {
  const load = await watchEventLoop(() => LLM.load());
  const llm = load.value;
  const text = 'The whale, the whale! '.repeat(5000);
  const encode = await watchEventLoop(() => llm.tokenizer.encode(text));
  const step = await watchEventLoop(() => llm.generate('A', { maxTokens: 50, ignoreEos: true }));
  await llm.close();
  expect(load.turns).toBeGreaterThan(5);
  expect(encode.turns).toBeGreaterThan(5);
  expect(step.turns).toBeGreaterThan(50);
});

const SIZES = { numBlocks: 4000, blockSize: 4, maxModelLen: 1024 };
const NUM_STREAMS = 8;

/** Things that were done since the last turn of the event loop, and the most of any turn. */
class WorkMeter {
  most = 0;
  total = 0;
  #now = 0;

  constructor() {
    const decode = Tokenizer.prototype.decodeTokens;
    const list = TokenLogprobs.prototype.list;
    const from = Array.from;
    const { add } = this;
    vi.spyOn(Tokenizer.prototype, 'decodeTokens').mockImplementation(function (this: Tokenizer, t) {
      add(t.length);
      return decode.call(this, t);
    });
    vi.spyOn(TokenLogprobs.prototype, 'list').mockImplementation(function (
      this: TokenLogprobs,
      start,
      end,
    ) {
      add((end - start) * (1 + this.numTop));
      return list.call(this, start, end);
    });
    vi.spyOn(Array, 'from').mockImplementation(((...args: Parameters<typeof from>) => {
      const made = from.apply(Array, args);
      add(made.length);
      return made;
    }) as typeof from);
  }

  readonly add = (amount: number): void => {
    this.#now += amount;
    this.total += amount;
  };

  /** Call it every turn. */
  turn(): void {
    this.most = Math.max(this.most, this.#now);
    this.#now = 0;
  }
}

const makeExecutor = () => new ScriptedExecutor({ ...SIZES, blocksPerRow: SIZES.maxModelLen / 4 });

function makeRequest(i: number, input: SamplingParams): Request {
  const limits = { vocabSize: VOCAB };
  const sampling = validateSamplingParams({ seed: i, ...input }, limits);
  const params = completeParams(sampling, { ...limits, eosTokenIds: [], seed: 0 });
  const promptTokens = Array.from({ length: 20 }, (_, p) => (p * 7 + i) % VOCAB);
  const group = new SequenceGroup({ id: `${i}`, promptTokens, params });
  return new Request(group, null, promptTokens, new OutputText(hf320(), params));
}

/** Streams to their ends, an executor's step a turn; reads what is new of each state. */
async function workOf(maxTokens: number, input: SamplingParams): Promise<WorkMeter> {
  const engine = new Engine(makeExecutor(), { ...SIZES, maxNumSeqs: NUM_STREAMS });
  const requests = Array.from({ length: NUM_STREAMS }, (_, i) =>
    makeRequest(i, { maxTokens, ...input }),
  );
  const meter = new WorkMeter();
  const read = async (request: Request) => {
    const start = async () => {
      engine.submit(request);
      return request;
    };
    let numTokens = 0;
    for await (const { outputs } of new OutputStream(
      start,
      (open) => open.take(),
      () => {},
    )) {
      meter.add(outputs[0].delta.length);
      meter.add(outputs[0].deltaLogprobs?.length ?? 0);
      numTokens += outputs[0].deltaTokenIds.length;
    }
    expect(numTokens).toBe(maxTokens);
  };
  let isOver = false;
  const watch = () => {
    meter.turn();
    if (!isOver) setImmediate(watch);
  };
  watch();
  await Promise.all(requests.map(read));
  isOver = true;
  await engine.close();
  vi.restoreAllMocks();
  return meter;
}

it.each<[string, SamplingParams]>([
  ['plain text', {}],
  ['logprobs', { logprobs: 5, promptLogprobs: 5 }],
  ['stop strings', { stop: ['no such text', 'nor this'], minTokens: 3 }],
])('a turn of streams does as much for the 900th token as for the 90th: %s', async (_, input) => {
  const short = await workOf(90, input);
  const long = await workOf(900, input);
  // A token's own text and lists; the window of the detokenizer has at most a dozen tokens.
  expect(short.most).toBeLessThan(NUM_STREAMS * 100);
  expect(long.most).toBeLessThanOrEqual(short.most + NUM_STREAMS * 12);
  expect(long.total / 900).toBeLessThan(1.2 * (short.total / 90));
});

describe('steps that end before the event loop has had a turn', () => {
  /** A clock that goes by `ms` whenever somebody looks. */
  const clock = (ms: number) => {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => {
      now += ms;
      return now;
    });
  };

  it('leave it its turns', async () => {
    const executor = makeExecutor();
    executor.fateOf = () => 'at once';
    const engine = new Engine(executor, { ...SIZES, maxNumSeqs: 1 });
    const request = makeRequest(0, { maxTokens: 400, ignoreEos: true });
    clock(1);
    let turns = 0;
    let isOver = false;
    const watch = () => {
      turns++;
      if (!isOver) setImmediate(watch);
    };
    watch();
    engine.submit(request);
    await request.result();
    isOver = true;
    await engine.close();
    expect(executor.numSteps).toBeGreaterThanOrEqual(400);
    expect(turns).toBeGreaterThan(executor.numSteps / 10);
  });

  it('may fail in it', async () => {
    const executor = makeExecutor();
    const lost = octavoError('ERR_DEVICE_LOST', 'lost');
    executor.fateOf = (_, count) => (count < 5 ? 'run' : { reject: lost });
    const engine = new Engine(executor, { ...SIZES, maxNumSeqs: 1 });
    const request = makeRequest(0, { maxTokens: 400, ignoreEos: true });
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    clock(10);
    engine.submit(request);
    await expect(request.result()).rejects.toBe(lost);
    for (let i = 0; i < 3; i++) await new Promise(setImmediate);
    process.off('unhandledRejection', unhandled);
    await engine.close();
    expect(unhandled).not.toHaveBeenCalled();
  });
});

import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import {
  completeParams,
  type SamplingParams,
  validateSamplingParams,
} from '../../lib/core/sampling-params.js';
import { SequenceGroup } from '../../lib/core/sequence.js';
import { replayTrace, type TraceEvent } from '../../lib/core/trace.js';
import { Engine } from '../../lib/engine/engine.js';
import { Request } from '../../lib/engine/request.js';
import { octavoError } from '../../lib/errors.js';
import { LLM } from '../../lib/index.js';
import { OutputText } from '../../lib/text/output-text.js';
import { VOCAB } from '../support/fake-executor.js';
import { type Fate, ScriptedExecutor } from '../support/scripted-executor.js';
import { until } from '../support/until.js';
import { hf320 } from '../text/support.js';

const tokenizer = hf320();
const SIZES = { numBlocks: 200, blockSize: 4, maxModelLen: 64 };

function makeEngine(fateOf?: ScriptedExecutor['fateOf']) {
  const executor = new ScriptedExecutor({ ...SIZES, blocksPerRow: SIZES.maxModelLen / 4 });
  if (fateOf) executor.fateOf = fateOf;
  const trace: TraceEvent[] = [];
  const engine = new Engine(executor, { ...SIZES, maxNumSeqs: 16 }, (event) => trace.push(event));
  return { engine, executor, trace };
}

interface Ask extends SamplingParams {
  readonly prompt?: readonly number[];
  readonly badWordIds?: number[][];
  readonly text?: OutputText;
}

let numRequests = 0;

function makeRequest({ prompt = [1, 2, 3], badWordIds, text, ...input }: Ask = {}): Request {
  const limits = { vocabSize: VOCAB };
  const asked = { maxTokens: 12, ignoreEos: true, seed: 5, ...input };
  const params = completeParams(validateSamplingParams(asked, limits), {
    ...limits,
    eosTokenIds: [],
    seed: 5,
    badWordIds,
  });
  const group = new SequenceGroup({ id: `r${numRequests++}`, promptTokens: prompt, params });
  return new Request(group, null, prompt, text ?? new OutputText(tokenizer, params));
}

function submit(engine: Engine, ask?: Ask): Promise<string> {
  const request = makeRequest(ask);
  engine.submit(request);
  return endOf(request);
}

/** The ids of a request, or the code of its error. */
async function endOf(request: Request): Promise<string> {
  try {
    return (await request.result()).outputs.map((o) => o.tokenIds.join()).join(' | ');
  } catch (error) {
    return (error as { code: string }).code;
  }
}

async function alone(ask?: Ask): Promise<string> {
  const { engine } = makeEngine();
  const end = await submit(engine, ask);
  await engine.close();
  return end;
}

const OTHERS: Ask[] = [{ prompt: [9] }, { prompt: [1, 2, 3, 4, 5, 6, 7], n: 3 }, { seed: 8 }];
const expectedOf = (asks: Ask[]) => Promise.all(asks.map(alone));

/** Runs requests beside each other; after them another, which shows whether the engine lives. */
async function run(fateOf: ScriptedExecutor['fateOf'], asks = OTHERS) {
  const { engine, executor, trace } = makeEngine(fateOf);
  const ends = await Promise.all(asks.map((ask) => submit(engine, ask)));
  executor.fateOf = () => 'run';
  const later = await (async () => submit(engine))().catch((error) => error.code);
  const { numRequestsRunning, numRequestsWaiting, kvCacheUsage, ...stats } = engine.stats();
  expect({ numRequestsRunning, numRequestsWaiting }).toEqual({
    numRequestsRunning: 0,
    numRequestsWaiting: 0,
  });
  if (!later.startsWith('ERR_')) expect(kvCacheUsage).toBe(0);
  await engine.close();
  await engine.close();
  expect(executor.numCloses).toBe(1);
  return { ends, later, stats, trace };
}

const at =
  (step: number, fate: Fate): ScriptedExecutor['fateOf'] =>
  (_, count) =>
    count === step ? fate : 'run';

describe('an executor that fails', () => {
  it('to run one step: its requests end with the error, later ones are served', async () => {
    const reject = octavoError('ERR_OUT_OF_MEMORY', 'no memory for this step');
    for (const fate of [{ reject }, { throws: reject }] as const) {
      const { ends, later, stats } = await run(at(3, fate));
      expect(ends).toEqual(OTHERS.map(() => 'ERR_OUT_OF_MEMORY'));
      expect(later).toBe(await alone());
      expect(stats).toMatchObject({ numRequestsFinished: 1, numRequestsAborted: 3 });
    }
  });

  it.each<[string, Fate, string]>([
    ['is lost', { reject: octavoError('ERR_DEVICE_LOST', 'lost') }, 'ERR_DEVICE_LOST'],
    ['has a bug', { reject: octavoError('ERR_INTERNAL', 'a bug') }, 'ERR_INTERNAL'],
    ['rejects with what is no error', { reject: 'nonsense' }, 'ERR_INTERNAL'],
    ['throws', { throws: new TypeError('not a function') }, 'ERR_INTERNAL'],
    ['resolves with nothing', { resolve: undefined }, 'ERR_INTERNAL'],
    ['resolves with half a result', { resolve: { tokenIds: new Int32Array(9) } }, 'ERR_INTERNAL'],
  ])('for good (it %s): everybody gets that, and so do those who come later', async (...row) => {
    const [, fate, code] = row;
    for (const step of [0, 3]) {
      const { ends, later } = await run(at(step, fate));
      expect(ends).toEqual(OTHERS.map(() => code));
      expect(later).toBe(code);
    }
  });

  it('by hanging: close() ends it, and everybody hears ERR_CLOSED', async () => {
    const { engine, executor } = makeEngine(at(2, 'hang'));
    const ends = OTHERS.map((ask) => submit(engine, ask));
    while (executor.numSteps < 3) await turn();
    await engine.close();
    expect(await Promise.all(ends)).toEqual(OTHERS.map(() => 'ERR_CLOSED'));
    expect(() => engine.submit(makeRequest())).toThrow(
      expect.objectContaining({ code: 'ERR_CLOSED' }),
    );
  });

  it('to close: whoever closes hears why', async () => {
    const { engine, executor } = makeEngine();
    executor.close = () => Promise.reject(new Error('stuck'));
    const end = submit(engine);
    await expect(engine.close()).rejects.toThrow('stuck');
    expect(await end).toBe('ERR_CLOSED');
  });
});

describe('an executor that refuses a step', () => {
  const refusal = { reject: octavoError('ERR_INVALID_STEP', 'an id is not of the vocabulary') };

  it.each([0, 1, 5])('because of one request: it alone ends (at its token %i)', async (token) => {
    const fateOf: ScriptedExecutor['fateOf'] = ({ samples }) =>
      samples.some((s) => s.extras?.banned.includes(60) && s.position >= 3 + token)
        ? refusal
        : 'run';
    const guilty: Ask = { badWordIds: [[60]], seed: 6 };
    const { ends, later, trace, stats } = await run(fateOf, [
      OTHERS[0],
      guilty,
      ...OTHERS.slice(1),
    ]);
    const [a, b, c] = await expectedOf(OTHERS);
    expect(ends).toEqual([a, 'ERR_INVALID_STEP', b, c]);
    expect(later).toBe(await alone());
    expect(stats).toMatchObject({ numRequestsFinished: 4, numRequestsAborted: 1 });
    expect(trace.some((event) => event.type === 'putBack')).toBe(true);
    expect(replayTrace(trace)).toMatchObject({ numUnfinished: 0, numRequests: 5 });
  });

  it('once: nobody ends, and all comes out as if it had run', async () => {
    for (const step of [0, 1, 4]) {
      const { ends } = await run(at(step, refusal));
      expect(ends).toEqual(await expectedOf(OTHERS));
    }
  });

  it('whatever is in it: each is told, and none waits for ever', async () => {
    const { ends, later } = await run(() => refusal);
    expect(ends).toEqual(OTHERS.map(() => 'ERR_INVALID_STEP'));
    expect(later).toBe(await alone());
  });

  it('of several together only: they go on, one by one where they must', async () => {
    const fateOf: ScriptedExecutor['fateOf'] = ({ seqs }) =>
      new Set(seqs.map((s) => s.row)).size > 3 ? refusal : 'run';
    const { ends } = await run(fateOf);
    expect(ends).toEqual(await expectedOf(OTHERS));
  });
});

/** A text that cannot be read from its nth token on, or not ended. */
class BrokenText extends OutputText {
  readonly #good: number;
  #seen = 0;

  constructor(good: number, stop: string[] = []) {
    super(tokenizer, { stop });
    this.#good = good;
  }

  override push(...args: Parameters<OutputText['push']>) {
    if (this.#seen++ >= this.#good) throw new Error('the decoder broke');
    return super.push(...args);
  }

  override finish(): string {
    throw new Error('the decoder broke at the end');
  }

  override clone(): OutputText {
    return this;
  }
}

describe('a decoder that throws ends one request', () => {
  it.each<[string, () => Ask]>([
    ['at its first token', () => ({ text: new BrokenText(0) })],
    ['later', () => ({ text: new BrokenText(7) })],
    ['in the middle of a commit', () => ({ text: new BrokenText(3, ['no such text']) })],
    ['in the last commit', () => ({ text: new BrokenText(11, ['no such text']) })],
    ['where the text ends', () => ({ text: new BrokenText(99) })],
    ['of several samples', () => ({ text: new BrokenText(5), n: 3 })],
  ])('%s', async (_, broken) => {
    const { ends, later, stats } = await run(
      () => 'run',
      [OTHERS[0], broken(), ...OTHERS.slice(1)],
    );
    const [a, b, c] = await expectedOf(OTHERS);
    expect(ends).toEqual([a, 'ERR_TOKENIZER', b, c]);
    expect(later).toBe(await alone());
    expect(stats.numRequestsFinished + stats.numRequestsAborted).toBe(5);
  });

  it('also one that is aborted, with or without an error', async () => {
    for (const error of [undefined, new Error('mine')]) {
      const { engine, executor } = makeEngine();
      const request = makeRequest({ text: new BrokenText(99) });
      engine.submit(request);
      const other = submit(engine, OTHERS[0]);
      while (executor.numSteps < 4) await turn();
      engine.abort(request, error);
      await expect(request.result()).rejects.toThrow(error ? 'mine' : 'the decoder broke');
      expect(await other).toBe(await alone(OTHERS[0]));
      await engine.close();
    }
  });
});

describe('a request is settled once', () => {
  it('aborted before it was submitted: it never runs', async () => {
    const { engine, executor } = makeEngine();
    const request = makeRequest();
    const settled = vi.fn();
    request.onSettled(settled);
    engine.abort(request, octavoError('ERR_TIMEOUT', 'too late'));
    engine.abort(request, octavoError('ERR_ABORTED', 'again'));
    engine.submit(request);
    expect(await endOf(request)).toBe('ERR_TIMEOUT');
    expect(settled).toHaveBeenCalledTimes(1);
    await engine.close();
    expect(executor.numSteps).toBe(0);
  });

  it('aborted after its end: its output stays, and who has its id now lives on', async () => {
    const { engine } = makeEngine();
    const request = makeRequest();
    engine.submit(request);
    const end = await endOf(request);
    const group = makeRequest().group;
    Object.assign(group, { id: request.group.id });
    const next = new Request(group, null, [1, 2, 3], new OutputText(tokenizer));
    engine.submit(next);
    engine.abort(request, new Error('too late'));
    expect(await endOf(request)).toBe(end);
    expect(await endOf(next)).toBe(end);
    await engine.close();
  });

  it('a full queue leaves it as it was', async () => {
    const executor = new ScriptedExecutor({ ...SIZES, blocksPerRow: 16 });
    const engine = new Engine(executor, { ...SIZES, maxNumSeqs: 1, maxNumWaiting: 1 });
    const first = submit(engine);
    const request = makeRequest();
    expect(() => engine.submit(request)).toThrow(
      expect.objectContaining({ code: 'ERR_OVERLOADED' }),
    );
    expect(request.settled).toBe(false);
    const end = await first;
    engine.submit(request);
    expect(await endOf(request)).toBe(end);
    await engine.close();
  });
});

describe('where nothing can be drawn', () => {
  it('because of its own lists, a request is told so', async () => {
    const ask: Ask = { allowedTokenIds: [7], badWordIds: [[7, 7]] };
    const { ends, later } = await run(() => 'run', [ask, OTHERS[0]]);
    expect(ends).toEqual(['ERR_INVALID_PARAM', await alone(OTHERS[0])]);
    expect(later).toBe(await alone());
  });

  it('because the model gives no number, that is said', async () => {
    const nothing = {
      tokenIds: Int32Array.of(-1),
      logprobs: Float64Array.of(Number.NaN),
      ranks: Int32Array.of(0),
      promptLogprobs: new Float64Array(0),
      promptRanks: new Int32Array(0),
      topTokenIds: new Int32Array(0),
      topLogprobs: new Float64Array(0),
      computeMs: 0,
    };
    const { ends, later } = await run(at(3, { resolve: nothing }), [OTHERS[0]]);
    expect([ends, later]).toEqual([['ERR_NON_FINITE'], await alone()]);
  });
});

it('counts prompts and tokens of aborted requests alike', async () => {
  const { engine, executor } = makeEngine();
  const request = makeRequest({ prompt: [1, 2, 3, 4, 5] });
  engine.submit(request);
  const waiting = makeRequest();
  while (executor.numSteps < 3) await turn();
  engine.abort(waiting);
  engine.abort(request);
  const { promptTokens, generationTokens } = engine.stats();
  expect({ promptTokens, generationTokens }).toEqual({ promptTokens: 5, generationTokens: 2 });
  await engine.close();
});

it('who is told while the next step is computed gets all that was drawn', async () => {
  const params = { maxTokens: 40, ignoreEos: true, temperature: 0 };
  const llm = await LLM.load({ enablePrefixCaching: false });
  const whole = await llm.generate('The whale', params);
  for (const step of [1, 2, 7, 20]) {
    const controller = new AbortController();
    let text = '';
    let tokenIds: readonly number[] = [];
    const other = llm.generate('The whale', { ...params, maxTokens: step + 1 });
    const read = async () => {
      const options = { signal: controller.signal };
      for await (const out of llm.stream('The whale', params, options)) {
        text += out.outputs[0].delta;
        tokenIds = out.outputs[0].tokenIds;
        if (tokenIds.length === step) controller.abort();
      }
    };
    await expect(read()).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    expect(tokenIds).toEqual(whole.outputs[0].tokenIds.slice(0, tokenIds.length));
    expect(whole.outputs[0].text.startsWith(text)).toBe(true);
    const ended = (await other).outputs[0];
    expect(ended.finishReason).toBe('length');
    expect(ended.tokenIds).toEqual(whole.outputs[0].tokenIds.slice(0, step + 1));
    expect(whole.outputs[0].text.startsWith(ended.text)).toBe(true);
  }
  await until(() => expect(llm.stats().kvCacheUsage).toBe(0));
  const { numRequestsFinished, numRequestsAborted } = llm.stats();
  expect({ numRequestsFinished, numRequestsAborted }).toEqual({
    numRequestsFinished: 5,
    numRequestsAborted: 4,
  });
  await llm.close();
});

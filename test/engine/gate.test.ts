import { beforeAll, describe, expect, it } from 'vitest';
import { callOptions } from '../../lib/engine/call-options.js';
import { Deadline } from '../../lib/engine/deadline.js';
import { Gate } from '../../lib/engine/gate.js';
import { LLM } from '../../lib/index.js';

const limits = {
  vocabSize: 4096,
  maxModelLen: 64,
  eosTokenIds: [1],
  maxLogprobs: 20,
  maxListLength: 100,
};
const OPTIONS = callOptions({});
const DEFAULTS = callOptions({ useModelDefaults: true });

let gate: Gate;
let tokenizer: LLM['tokenizer'];
beforeAll(async () => {
  const llm = await LLM.load({ numThreads: 1 });
  let seed = 100;
  const model = { chatTemplate: undefined, generationDefaults: { temperature: 0.5, topK: 7 } };
  gate = new Gate(model, llm.tokenizer, limits, () => seed++);
  tokenizer = llm.tokenizer;
  await llm.close();
});

const complete = (params: unknown, options = OPTIONS) =>
  gate.checkParams(params, options).complete(new Deadline());

/** The request that a call becomes. */
async function request(prompt: unknown, params: unknown) {
  const call = gate.check(prompt, gate.checkParams(params, OPTIONS), OPTIONS);
  return gate.request(await gate.encode(call, new Deadline()));
}

describe("the model's own sampling values", () => {
  it('count where they are asked for and none is given, undefined being none', async () => {
    expect(await complete({})).toMatchObject({ temperature: 1, topK: 0 });
    const given = { temperature: undefined, topK: 3 };
    expect(await complete(given, DEFAULTS)).toMatchObject({ temperature: 0.5, topK: 3 });
    expect(() => gate.checkParams({ temperature: null }, DEFAULTS)).toThrow(/temperature must be/);
    expect(await complete({ beamWidth: 2 }, DEFAULTS)).toMatchObject({ temperature: 0, n: 2 });
  });
});

describe('a request', () => {
  it('has a seed of its own, in the order of calls, or the one given', async () => {
    const shared = gate.checkParams({}, OPTIONS);
    const calls = ['A', 'B'].map((prompt) => gate.check(prompt, shared, OPTIONS));
    const [first, second] = await Promise.all(
      calls.toReversed().map(async (c) => gate.request(await gate.encode(c, new Deadline()))),
    );
    expect(second.group.params.seed).toBe(first.group.params.seed - 1);
    expect((await request('A', { seed: 5 })).group.params.seed).toBe(5);
    expect(first.group.id).not.toBe(second.group.id);
  });

  it('has the ids of its bad words, as they stand first and after a space', async () => {
    const { group } = await request('A', { badWords: ['whale'] });
    const ids = ['whale', ' whale'].map((w) => tokenizer.encode(w, { addSpecialTokens: false }));
    expect(group.params.badWordIds).toEqual(await Promise.all(ids));
  });

  it('takes ids as they come, typed or not, and keeps none of the caller’s arrays', async () => {
    const ids = [5, 6, 7];
    const call = gate.check({ promptTokenIds: ids }, gate.checkParams({}, OPTIONS), OPTIONS);
    ids[0] = 9;
    const made = gate.request(await gate.encode(call, new Deadline()));
    expect(made.promptTokenIds).toEqual([5, 6, 7]);
    expect([...made.group.sequences[0].tokens]).toEqual([5, 6, 7]);
    expect((await request({ promptTokenIds: Uint16Array.of(8) }, {})).promptTokenIds).toEqual([8]);
  });

  it('is refused before it is made where its lists leave nothing', async () => {
    expect(() => gate.checkParams({ allowedTokenIds: [1], minTokens: 1 }, OPTIONS)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_PARAM', param: 'allowedTokenIds' }),
    );
    const [id, ...more] = await tokenizer.encode('x', { addSpecialTokens: false });
    expect(more).toEqual([]);
    const params = { allowedTokenIds: [id], badWords: ['x'] };
    await expect(request({ promptTokenIds: [9] }, params)).rejects.toMatchObject({
      code: 'ERR_INVALID_PARAM',
      param: 'allowedTokenIds',
    });
  });
});

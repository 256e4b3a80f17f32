import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { z as z3 } from 'zod/v3';
import type { EngineOptions, LLM } from '../../lib/index.js';
import { native } from '../../lib/native.js';
import { sample } from '../support/all.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import {
  errorOf,
  essence,
  expectValid,
  paramsOf,
  SCHEMAS,
  someAsks,
  watched,
  withModel,
} from '../support/structured.js';

const rng = random(SEED);
const hot = () => ({ temperature: 2, maxTokens: 400, seed: rng.integer(2 ** 31) });

describe('an output under a schema', () => {
  it('is valid JSON at temperature 2, whatever is drawn', async () => {
    await withModel({}, async (llm) => {
      const texts = new Set<string>();
      for (const json of SCHEMAS) {
        const n = sample(12, 64);
        const structuredOutputs = { json };
        const { outputs } = await llm.generate('Data: ', { ...hot(), n, structuredOutputs });
        for (const output of outputs) expectValid(output, json);
        for (const { text } of outputs) texts.add(text);
      }
      expect(texts.size).toBeGreaterThan(2 * SCHEMAS.length);
    });
  });

  it('without white space, with a text for a schema, as a stream', async () => {
    await withModel({}, async (llm) => {
      const schema = SCHEMAS[2];
      const structuredOutputs = { json: JSON.stringify(schema), disableAnyWhitespace: true };
      for await (const { outputs, finished } of llm.stream('Data: ', {
        ...hot(),
        structuredOutputs,
      })) {
        expect(outputs[0].json === undefined).toBe(!finished);
        if (!finished) continue;
        expectValid(outputs[0], schema);
        expect(outputs[0].text).toBe(JSON.stringify(outputs[0].json));
      }
    });
  });

  it('of zod is what zod makes of it, with its type', async () => {
    const Animal = z.object({
      name: z.enum(['cat', 'dog']).transform((text) => text.toUpperCase()),
      legs: z.int().min(0).max(8).default(4),
    });
    await withModel({}, async (llm) => {
      const structuredOutputs = { json: Animal };
      const { outputs } = await llm.generate('An animal: ', { ...hot(), n: 8, structuredOutputs });
      for (const { json, text } of outputs) {
        const animal: { name: string; legs: number } | undefined = json;
        expect(['CAT', 'DOG']).toContain(animal?.name);
        expect(animal?.legs).toBe(JSON.parse(text).legs ?? 4);
        // @ts-expect-error there is no such member
        expect(animal?.wings).toBeUndefined();
      }
    });
  });

  it('has no value where it ended early', async () => {
    await withModel({}, async (llm) => {
      const structuredOutputs = { json: SCHEMAS[2] };
      const { outputs } = await llm.generate('A', { maxTokens: 2, structuredOutputs });
      expect(outputs[0]).toMatchObject({ finishReason: 'length' });
      expect(outputs[0].json).toBeUndefined();
    });
  });
});

describe('an output that is', () => {
  it.each([
    ['a choice', { choice: ['yes', 'yes, of course', 'no'] }, /^(yes|yes, of course|no)$/],
    ['a regular expression', { regex: '[a-f]{3,9}(, [0-9]{2})?' }, /^[a-f]{3,9}(, [0-9]{2})?$/],
    ['a grammar', { grammar: 'root ::= "(" root? ")" | [a-c] [0-9]' }, /^\(*([a-c]\d)?\)*$/],
  ])('%s ends where it is complete', async (_, structuredOutputs, pattern) => {
    await withModel({}, async (llm) => {
      const { outputs } = await llm.generate('A', { ...hot(), n: 24, structuredOutputs });
      for (const { text, finishReason, tokenIds } of outputs) {
        expect([finishReason, text]).toEqual(['stop', expect.stringMatching(pattern)]);
        expect(llm.info.eosTokenIds).toContain(tokenIds.at(-1));
      }
      expect(new Set(outputs.map(({ text }) => text)).size).toBeGreaterThan(1);
    });
  });

  it('constrained obeys other lists as well', async () => {
    await withModel({}, async (llm) => {
      const structuredOutputs = { choice: ['yes', 'no', 'maybe'] };
      const params = { ...hot(), n: 16, structuredOutputs };
      const texts = async (more: object) => {
        const { outputs } = await llm.generate('A', { ...params, ...more });
        return new Set(outputs.map(({ text }) => text));
      };
      const first = (text: string) => llm.tokenizer.tokenToId(text)!;
      expect(await texts({ stop: 'n' })).not.toContain('no');
      const bias = { logitBias: { [first('y')]: -100, [first('m')]: -100 } };
      const biased = await texts({ ...bias, temperature: 0 });
      expect([...biased].every((text) => text === 'no' || text.length > 0)).toBe(true);
      const letters = { structuredOutputs: { regex: 'a{1,60}' }, minTokens: 5 };
      const longer = await llm.generate('A', { ...params, ...letters });
      for (const { tokenIds } of longer.outputs) expect(tokenIds.length).toBeGreaterThanOrEqual(5);
    });
  });
});

describe('a dead end', () => {
  it('ends its request alone, and says what forbids', async () => {
    await withModel({}, async (llm) => {
      const structuredOutputs = { choice: ['a'] };
      const others = llm.generate(['The sea', 'The sky'], { maxTokens: 20, seed: 1 });
      const eos = llm.info.eosTokenIds[0];
      const run = (more: object) => errorOf(llm.generate('A', { structuredOutputs, ...more }));
      expect(await run({ badWords: ['a'] })).toMatch(/^ERR_GRAMMAR: .* badWords forbid all/);
      expect(await run({ allowedTokenIds: [eos] })).toMatch(/^ERR_GRAMMAR: .* allowedTokenIds/);
      const beams = { beamWidth: 2, minTokens: 9, structuredOutputs };
      expect(await errorOf(llm.beamSearch('A', beams))).toMatch(/^ERR_GRAMMAR: .* minTokens/);
      for (const { outputs } of await others) expect(outputs[0].tokenIds).toHaveLength(20);
      expect(llm.stats().kvCacheUsage).toBe(0);
    });
  });
});

describe('an output that cannot go on', () => {
  const structuredOutputs = { regex: '[a-c]{4}|(x|y)' };
  const params = { structuredOutputs, minTokens: 4, maxTokens: 9, n: 16, temperature: 2, seed: 5 };

  it('keeps what it has, and says why it ended, beside others that go on', async () => {
    await withModel({}, async (llm) => {
      const { outputs } = await llm.generate('A', params);
      const failed = outputs.filter(({ finishReason }) => finishReason === 'error');
      expect(failed.length).toBeGreaterThan(0);
      expect(failed.length).toBeLessThan(outputs.length);
      for (const { text, error, tokenIds, json } of failed) {
        expect(text).toMatch(/^[a-c]{0,4}$|^[xy]$/);
        expect(tokenIds.length).toBeGreaterThan(0);
        expect(error?.code).toBe('ERR_GRAMMAR');
        const after = `after ${tokenIds.length} tokens: minTokens`;
        expect(error?.message).toContain(after);
        expect(json).toBeUndefined();
      }
      for (const { text, error, finishReason } of outputs) {
        if (finishReason !== 'error') expect([text, error]).toEqual([text, undefined]);
      }
      expect(llm.stats().numRequestsBy).toMatchObject({ error: 1, stop: 0, length: 0 });
      expect(llm.stats().kvCacheUsage).toBe(0);
    });
  });

  it('does so alike in a stream, and alone', async () => {
    await withModel({}, async (llm) => {
      const { outputs } = await llm.generate('A', params);
      const ends = outputs.map(({ text, finishReason, error }) => [text, finishReason, error]);
      const texts = outputs.map(() => '');
      const told: unknown[][] = [];
      for await (const { outputs: news } of llm.streamDeltas('A', params)) {
        for (const { index, newText, finishReason, error } of news) {
          texts[index] += newText;
          if (finishReason !== null) told[index] = [texts[index], finishReason, error];
        }
      }
      expect(told.map(([text, reason]) => [text, reason])).toEqual(ends.map((e) => e.slice(0, 2)));
      expect(told.map(([, , error]) => String(error))).toEqual(ends.map((e) => String(e[2])));
      for (const [i, end] of ends.entries()) {
        const one = await llm.generate('A', { ...params, n: 1, seed: params.seed + i });
        expect([one.outputs[0].text, one.outputs[0].finishReason]).toEqual(end.slice(0, 2));
      }
    });
  });
});

describe('the same tokens and logprobs', () => {
  const asks = someAsks(rng, sample(12, 40));
  const prompts = asks.map(({ prompt }) => prompt);
  const params = asks.map(paramsOf);
  const alone: ReturnType<typeof essence>[] = [];
  beforeAll(async () => {
    await withModel({ enablePrefixCaching: false, maxNumSeqs: 4 }, async (llm) => {
      for (const [i, prompt] of prompts.entries()) {
        alone.push(essence(await llm.generate(prompt, params[i])));
      }
    });
  });

  const small = { blockSize: 8, numGpuBlocksOverride: 64, maxModelLen: 240 } as const;
  it.each<[string, EngineOptions, (llm: LLM) => number]>([
    ['in a batch', {}, () => 1],
    ['in chunks of prompts', { maxNumBatchedTokens: 16, maxNumSeqs: 16 }, () => 1],
    [
      'preempted and computed again',
      { ...small, preemptionPolicy: 'recompute' },
      (llm) => llm.stats().numPreemptions,
    ],
    [
      'preempted and swapped',
      { ...small, preemptionPolicy: 'swap', swapSpace: 0.05 },
      (llm) => llm.stats().numBlocksSwappedIn,
    ],
  ])('%s as alone', async (_, options, happened) => {
    await withModel(options, async (llm) => {
      // Who came earlier grows, and takes the blocks of who came later.
      const sea = Array.from({ length: 8 }, () => 'The sea');
      const noise = llm.generate(sea, { maxTokens: 150, ignoreEos: true, seed: 1 });
      const outputs = await llm.generate(prompts, params);
      expect(outputs.map(essence)).toEqual(alone);
      await noise;
      expect(happened(llm)).toBeGreaterThan(0);
    });
  });

  it('of a sample as of a request of its own', async () => {
    await withModel({}, async (llm) => {
      const structuredOutputs = { json: SCHEMAS[2] };
      const seed = 77;
      const many = await llm.generate('Data: ', { ...hot(), seed, n: 4, structuredOutputs });
      for (const { index, tokenIds } of many.outputs) {
        const one = { ...hot(), seed: seed + index, structuredOutputs };
        const { outputs } = await llm.generate('Data: ', one);
        expect(outputs[0].tokenIds).toEqual(tokenIds);
      }
    });
  });
});

describe('without a constraint', () => {
  it('nothing of a grammar runs', async () => {
    const { addon, counts } = watched(native());
    await withModel(
      {},
      async (llm) => {
        await llm.generate(['A', 'B'], { maxTokens: 8, n: 2, allowedTokenIds: [5, 6, 7] });
        await llm.beamSearch('A', { beamWidth: 2, maxTokens: 4 });
        expect(counts).toEqual({ vocabularies: 0, compiled: 0 });
        expect(llm.stats().numMasks).toBe(0);
        const structuredOutputs = { choice: ['yes'] };
        const beside = llm.generate('B', { maxTokens: 30, ignoreEos: true });
        const { outputs } = await llm.generate('A', { structuredOutputs });
        await llm.generate('A', { structuredOutputs });
        await beside;
        expect(counts).toEqual({ vocabularies: 1, compiled: 1 });
        expect(llm.stats().numMasks).toBe(2 * outputs[0].tokenIds.length);
      },
      addon,
    );
  });
});

describe('a request that waits for its grammar', () => {
  it('holds nobody back, and ends by its deadline', async () => {
    const { addon, counts, hold, release } = watched(native());
    await withModel(
      { maxNumSeqs: 2 },
      async (llm) => {
        hold();
        let done = false;
        const params = { structuredOutputs: { choice: ['yes'] } };
        const slow = llm.generate('A', params).then((output) => {
          done = true;
          return output;
        });
        await llm.generate(['A', 'B', 'C'], { maxTokens: 5 });
        expect(done).toBe(false);
        const late = errorOf(llm.generate('A', params, { timeoutMs: 20 }));
        expect(await late).toMatch(/^ERR_TIMEOUT/);
        release();
        expect((await slow).outputs[0].text).toBe('yes');
        expect(counts.compiled).toBe(1);
      },
      addon,
    );
  });
});

describe('refused before anything is accepted', () => {
  it.each([
    [{ structuredOutputs: {} }, /^ERR_INVALID_PARAM: structuredOutputs must have exactly one/],
    [{ structuredOutputs: { regex: '(a' } }, /^ERR_GRAMMAR/],
    [{ structuredOutputs: { regex: '(?=a)' } }, /^ERR_GRAMMAR/],
    [{ structuredOutputs: { json: { type: 'nothing' } } }, /^ERR_GRAMMAR/],
    [{ structuredOutputs: { json: '{' } }, /^ERR_GRAMMAR/],
    [{ structuredOutputs: { json: z.bigint() } }, /^ERR_GRAMMAR: the zod schema has no JSON/],
    [{ structuredOutputs: { json: z3.object({ a: z3.number() }) } }, /^ERR_INVALID_PARAM: .*zod 3/],
    [
      { structuredOutputs: { json: { properties: { a: new Map() } } } },
      /^ERR_INVALID_PARAM: .*json has to be JSON data, and at \/properties\/a is a Map$/,
    ],
    [
      { structuredOutputs: { structuralTag: { format: { value: 1n } } } },
      /^ERR_INVALID_PARAM: .*structuralTag has .*at \/format\/value is a bigint/,
    ],
    [{ structuredOutputs: { grammar: 'root ::= (' } }, /^ERR_GRAMMAR/],
    [{ structuredOutputs: { json: { enum: ['x'.repeat(70_000)] } } }, /^ERR_GRAMMAR: .*65,?536/],
    [{ structuredOutputs: { choice: ['a'] }, ignoreEos: true }, /^ERR_INVALID_PARAM: ignoreEos/],
  ])('%o', async (params, sentence) => {
    await withModel({}, async (llm) => {
      expect(await errorOf(llm.generate('A', params as object))).toMatch(sentence);
      const ran: unknown[] = [];
      const options = { onOutput: (output: unknown) => ran.push(output) };
      const batch = llm.generate(['A', 'B'], [{ maxTokens: 1 }, params as object], options);
      expect((await errorOf(batch)).replace('prompt 1: ', '')).toMatch(sentence);
      expect(ran).toEqual([]);
      expect(llm.stats().numSteps).toBe(0);
    });
  });
});

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { LLM, type StructuredOutputs } from '../../lib/index.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import { errorOf, SCHEMAS } from '../support/structured.js';

let llm: LLM;
beforeAll(async () => {
  llm = await LLM.load({});
});
afterAll(() => llm.close());
const rng = random(SEED);

describe('compileGrammar', () => {
  const object = z.object({ a: z.int(), b: z.string().max(20).optional() });
  it.each<[StructuredOutputs, string[], string[]]>([
    [
      { json: object },
      ['{"a": 1}', '{"a":-20,"b":"é\\n\\u0041 🎉"}', '{\n "a": 3\n}'],
      ['{"a": 1.5}', '{"a": 1', '{"a": 1, "c": 2}', '{"b": "x"}', '', '{"a": 1} '],
    ],
    [{ json: object, disableAnyWhitespace: true }, ['{"a":1,"b":"x"}'], ['{"a": 1}']],
    [{ choice: ['ja', 'nein', ''] }, ['ja', 'nein', ''], ['j', 'jaja', 'Ja']],
    [{ regex: '\\d{2,3}€' }, ['12€', '123€'], ['1€', '12', '12$']],
    [{ grammar: 'root ::= "(" root? ")"' }, ['()', '((()))'], ['(', '())', '']],
    [{ jsonObject: true }, ['{}', '{"x": [1, {"y": null}]}'], ['[]', '1', '{"x"}']],
  ])('%j', async (spec, accepted, refused) => {
    const grammar = await llm.compileGrammar(spec);
    expect(grammar.warnings).toEqual([]);
    expect(grammar.numBytes).toBeGreaterThan(0);
    const passes = (texts: string[]) => Promise.all(texts.map((text) => grammar.accepts(text)));
    expect(await passes(accepted)).toEqual(accepted.map(() => true));
    expect(await passes(refused)).toEqual(refused.map(() => false));
    for (const text of accepted) {
      expect(await grammar.acceptedBytes(text)).toBe(Buffer.byteLength(text));
      const ids = await llm.tokenizer.encode(text, { addSpecialTokens: false });
      const [eos] = llm.info.eosTokenIds;
      expect(await grammar.accepts(ids)).toBe(true);
      expect(await grammar.accepts([...ids, eos])).toBe(true);
      expect(await grammar.accepts([...ids, eos, eos])).toBe(false);
      expect(await grammar.allowedTokens(ids)).toContain(eos);
    }
  });

  it('allows what is drawn, and nothing else is ever drawn', async () => {
    const spec = { json: SCHEMAS[2] };
    const grammar = await llm.compileGrammar(spec);
    const seed = rng.integer(2 ** 31);
    const params = { structuredOutputs: spec, temperature: 2, maxTokens: 200, seed };
    const { outputs } = await llm.generate('A', params);
    const { tokenIds } = outputs[0];
    for (const [i, id] of tokenIds.entries()) {
      const allowed = await grammar.allowedTokens(tokenIds.slice(0, i));
      expect(allowed).toContain(id);
      expect(allowed).toEqual(allowed.toSorted());
      expect(allowed.length).toBeLessThan(llm.info.vocabSize);
    }
    expect(await grammar.accepts(tokenIds)).toBe(true);
    expect(await grammar.accepts(tokenIds.slice(0, -2))).toBe(false);
    expect(await grammar.allowedTokens([tokenIds[1], tokenIds[0]])).toHaveLength(0);
  });

  it('says where a text goes wrong', async () => {
    const grammar = await llm.compileGrammar({ json: SCHEMAS[2] });
    expect(await grammar.acceptedBytes('{"name": "x", "count": "')).toBe(23);
  });

  it('is shared with requests', async () => {
    const spec = { choice: ['shared'] };
    const [a, b] = await Promise.all([llm.compileGrammar(spec), llm.compileGrammar(spec)]);
    expect(a.numBytes).toBe(b.numBytes);
    expect((await llm.generate('A', { structuredOutputs: spec })).outputs[0].text).toBe('shared');
  });

  it('has its schema read in a thread where that takes long, and refused by place', async () => {
    const defs = Array.from({ length: 8 }, (_, i) => ({
      anyOf: [{ required: [`n${i}`] }, { required: [`m${i}`] }],
    }));
    const json = { type: 'object', allOf: defs };
    const grammar = await llm.compileGrammar({ json });
    const text = JSON.stringify(Object.fromEntries(defs.map((_, i) => [`m${i}`, i])));
    expect(await grammar.accepts(text)).toBe(true);
    expect(await grammar.accepts(text.replace('m3', 'x3'))).toBe(false);
    const wrong = { ...json, properties: { a: { pattern: '\\p{Lu}' }, b: { pattern: '(?=a)' } } };
    const refused = llm.compileGrammar({ json: wrong }).catch((error) => error);
    expect(await refused).toMatchObject({
      code: 'ERR_GRAMMAR',
      param: 'structuredOutputs',
      pointer: '/properties/b/pattern',
    });
  });

  it('says so once its model is closed', async () => {
    const other = await LLM.load({});
    const grammar = await other.compileGrammar({ choice: ['a'] });
    await other.close();
    const calls = [
      () => grammar.accepts('a'),
      () => grammar.allowedTokens([]),
      () => grammar.acceptedBytes('a'),
      () => other.compileGrammar({ choice: ['b'] }),
    ];
    for (const call of calls) expect(await errorOf(call())).toMatch(/^ERR_CLOSED: .* closed/);
    expect(() => grammar.numBytes).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });

  it('refuses what is no spec, and what is no text and no ids', async () => {
    const compile = (spec: unknown) => errorOf(llm.compileGrammar(spec as StructuredOutputs));
    expect(await compile(null)).toMatch(/^ERR_INVALID_PARAM: structuredOutputs must be an object/);
    expect(await compile({ regex: '[' })).toMatch(/^ERR_GRAMMAR/);
    const grammar = await llm.compileGrammar({ regex: 'a' });
    for (const bad of [5, null, [1.5], [-1], [llm.info.vocabSize], ['a']]) {
      expect(await errorOf(grammar.accepts(bad as number[]))).toMatch(/^ERR_INVALID_PARAM/);
      expect(await errorOf(grammar.allowedTokens(bad as number[]))).toMatch(/token ids from 0/);
    }
  });
});

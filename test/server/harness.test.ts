/** Requests as lm-eval's local-completions sends them, and what it reads of the answers. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Json, serveDemo, type TestServer } from './support.js';

let server: TestServer;
beforeAll(async () => {
  server = await serveDemo();
});
afterAll(() => server.close());

const TEXTS = ['The sea was calm', 'Call me  Ishmael. — é', 'And the LORD said unto Moses'];

/** Its loglikelihood of all but the first `skip` tokens, and whether each was the likeliest. */
function read(choice: Json, skip: number, generated: number) {
  const end = choice.logprobs.tokens.length - generated;
  const logprobs: number[] = choice.logprobs.token_logprobs.slice(skip, end);
  const tops: object[] = choice.logprobs.top_logprobs.slice(skip, end);
  const isGreedy = logprobs.every((one, i) => one === Math.max(...Object.values(tops[i])));
  return { sum: logprobs.reduce((a, b) => a + b, 0), isGreedy, count: logprobs.length };
}

it.each([0, 1])('loglikelihoods are those of promptLogprobs: max_tokens %s', async (maxTokens) => {
  const { llm } = server;
  const prompts = await Promise.all(TEXTS.map((text) => llm.tokenizer.encode(text)));
  const body = { logprobs: 1, echo: true, max_tokens: maxTokens, temperature: 0, seed: 1234 };
  const byIds = await server.json('/v1/completions', { ...body, prompt: prompts });
  const byText = await server.json('/v1/completions', { ...body, prompt: TEXTS });
  const one = await server.json('/v1/completions', { ...body, prompt: prompts[1] });
  for (const [i, promptTokenIds] of prompts.entries()) {
    const params = { maxTokens: 1, temperature: 0, promptLogprobs: 1 };
    const { promptLogprobs } = await llm.generate({ promptTokenIds }, params);
    for (const skip of [1, 3]) {
      const asked = promptLogprobs!.slice(skip).map((entry) => entry!);
      const expected = {
        sum: asked.reduce((a, { logprob }) => a + logprob, 0),
        isGreedy: asked.every(({ logprob, top }) => logprob === top[0].logprob),
        count: promptTokenIds.length - skip,
      };
      expect(read(byIds.choices[i], skip, maxTokens)).toEqual(expected);
      expect(read(byText.choices[i], skip, maxTokens)).toEqual(expected);
      if (i === 1) expect(read(one.choices[0], skip, maxTokens)).toEqual(expected);
    }
    expect(byText.choices[i].text.startsWith(TEXTS[i])).toBe(true);
  }
});

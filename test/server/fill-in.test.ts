/** `suffix`: the gap in a text is filled by models whose vocabulary has tokens for it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUNDLED_MODEL } from '../../lib/config/options.js';
import { LLM } from '../../lib/index.js';
import type { Exchange } from '../../lib/server/exchange.js';
import { fillIn } from '../../lib/server/fill-in.js';
import { temporaryFolder, write } from '../support/write-model.js';
import { dataOf, type Json, serveDemo, serveModels, type TestServer } from './support.js';

const COMPLETIONS = '/v1/completions';
const MARKS = ['<|fim_prefix|>', '<|fim_suffix|>', '<|fim_middle|>', '<|fim_pad|>'];

/** The bundled model, whose last words are these tokens instead. */
function withMarks(marks: readonly string[]): string {
  const folder = temporaryFolder();
  for (const name of readdirSync(BUNDLED_MODEL)) {
    const content = readFileSync(join(BUNDLED_MODEL, name));
    if (name !== 'tokenizer.json') {
      write(folder, name, content);
      continue;
    }
    const tokenizer = JSON.parse(content.toString()) as Json;
    const { vocab, merges } = tokenizer.model;
    const words = Object.keys(vocab).sort((a, b) => vocab[b] - vocab[a]);
    marks.forEach((mark, i) => {
      tokenizer.added_tokens.push({
        ...{ id: vocab[words[i]], content: mark, single_word: false, lstrip: false },
        ...{ rstrip: false, normalized: false, special: false },
      });
      delete vocab[words[i]];
    });
    tokenizer.model.merges = merges.filter((pair: string[]) => pair.join('') in vocab);
    write(folder, name, JSON.stringify(tokenizer));
  }
  return folder;
}

let server: TestServer;
let llm: LLM;
let ids: number[];
beforeAll(async () => {
  llm = await LLM.load({ model: withMarks(MARKS), seed: 1 });
  server = await serveModels({ marked: llm });
  ids = MARKS.map((mark) => llm.tokenizer.tokenToId(mark) as number);
});
afterAll(() => server.close());

const encode = (text: string) => llm.encode(text, { addSpecialTokens: false });
const body = { prompt: 'The sea', suffix: ' was calm.', max_tokens: 4, temperature: 0 };

async function promptOf(prompt: string, suffix: string): Promise<number[]> {
  const [before, after, answer] = ids;
  const bos = llm.tokenizer.bosTokenId as number;
  return [bos, before, ...(await encode(prompt)), after, ...(await encode(suffix)), answer];
}

describe('suffix', () => {
  it('stands behind the prompt, both between their marks, in an answer and in a stream', async () => {
    const promptTokenIds = await promptOf(body.prompt, body.suffix);
    const params = { maxTokens: 4, temperature: 0, stopTokenIds: ids };
    const { outputs } = await llm.generate({ promptTokenIds }, params);
    const wish = { ...body, return_token_ids: true };
    const { choices, usage } = await server.json(COMPLETIONS, wish);
    expect(choices[0]).toMatchObject({
      ...{ prompt_token_ids: promptTokenIds, text: outputs[0].text },
      token_ids: outputs[0].tokenIds,
    });
    expect(usage.prompt_tokens).toBe(promptTokenIds.length);
    const chunks = dataOf(await server.frames(COMPLETIONS, wish));
    expect(chunks.map((one) => one.choices[0].text).join('')).toBe(outputs[0].text);
    const bare = await server.json(COMPLETIONS, { ...wish, add_special_tokens: false });
    expect(bare.choices[0].prompt_token_ids).toEqual(promptTokenIds.slice(1));
    const none = await server.json(COMPLETIONS, { ...wish, suffix: '' });
    expect(none.choices[0].prompt_token_ids).toEqual(await llm.encode(body.prompt));
  });

  it('is that of several prompts and of all their samples; echo repeats what was written', async () => {
    const wish = { ...body, prompt: ['One', 'Two'], n: 2, temperature: 1, seed: 1 };
    const { choices } = await server.json(COMPLETIONS, wish);
    const echoed = await server.json(COMPLETIONS, { ...wish, echo: true });
    expect(echoed.choices.map(({ text }: Json) => text)).toEqual(
      choices.map(({ text }: Json, i: number) => wish.prompt[i >> 1] + text),
    );
    const chunks = dataOf(await server.frames(COMPLETIONS, { ...wish, echo: true }));
    const texts = ['', '', '', ''];
    for (const one of chunks) texts[one.choices[0].index] += one.choices[0].text;
    expect(texts).toEqual(echoed.choices.map(({ text }: Json) => text));
    const told = await server.json(COMPLETIONS, { ...body, return_prompt_text: true });
    expect(told.choices[0].prompt_text).toBe(
      '<|bos|><|fim_prefix|>The sea<|fim_suffix|> was calm.<|fim_middle|>',
    );
  });

  it('of a text that spells control tokens spells none', async () => {
    const wish = { prompt: 'a<|fim_middle|>', suffix: '<|eos|>', max_tokens: 1 };
    const { choices } = await server.json(COMPLETIONS, { ...wish, return_token_ids: true });
    const { prompt_token_ids: made } = choices[0];
    expect(made.filter((id: number) => ids.includes(id))).toEqual(ids.slice(0, 3));
    expect(made).not.toContain(1);
  });

  it.each(MARKS)('an answer ends with %s, which is not told', async (mark) => {
    const id = llm.tokenizer.tokenToId(mark) as number;
    const forced = { ...body, allowed_token_ids: [id] };
    const { choices } = await server.json(COMPLETIONS, forced);
    expect(choices[0]).toMatchObject({ text: '', finish_reason: 'stop', stop_reason: id });
    const all = await server.json(COMPLETIONS, { ...forced, ignore_eos: true });
    expect(all.choices[0].finish_reason).toBe('length');
  });

  it('is rendered', async () => {
    const [one] = await server.json(`${COMPLETIONS}/render`, body);
    expect(one.token_ids).toEqual(await promptOf(body.prompt, body.suffix));
    const answer = await server.json('/inference/v1/generate', one);
    const { choices } = await server.json(COMPLETIONS, { ...body, return_token_ids: true });
    expect(answer.choices[0].token_ids).toEqual(choices[0].token_ids);
  });

  it('is refused where it cannot be', async () => {
    const refusal = async (more: object) =>
      (await server.json(COMPLETIONS, { ...body, ...more }, 400)).error;
    expect(await refusal({ prompt: [5, 6] })).toMatchObject({ param: 'suffix' });
    expect(await refusal({ truncate_prompt_tokens: 5 })).toMatchObject({ param: 'suffix' });
    expect(await refusal({ echo: true, logprobs: 1 })).toMatchObject({ param: 'suffix' });
    expect((await refusal({ suffix: ' sea'.repeat(1100) })).message).toMatch(/tokens/);
    expect(await refusal({ suffix: 5 })).toMatchObject({ param: 'suffix' });
    const other = await serveDemo();
    const { error } = await other.json(COMPLETIONS, body, 400);
    expect(error).toMatchObject({
      param: 'suffix',
      message: expect.stringMatching(/vocabulary of this model has no tokens/),
    });
    await other.close();
  });
});

describe('the tokens of', () => {
  /** Letters are tokens; a text begins with a blank where the tokenizer adds one. */
  const fake = (marks: readonly string[], blank: string) => {
    const ids = new Map(marks.map((mark, i) => [mark, 1000 + i]));
    const encode = async (form: Json, { addSpecialTokens }: Json) => {
      if (addSpecialTokens !== false) return [1];
      return [...`${blank}${form.prompt}`].map((letter) => letter.codePointAt(0));
    };
    const tokenizer = { bosTokenId: 1, tokenToId: (token: string) => ids.get(token) };
    return { tokenizer, encode, info: { maxModelLen: 100 } } as unknown as LLM;
  };

  it.each([
    [['<fim_prefix>', '<fim_suffix>', '<fim_middle>', '<fim_pad>'], ''],
    [['<fim-prefix>', '<fim-suffix>', '<fim-middle>'], ''],
    [['<｜fim▁begin｜>', '<｜fim▁hole｜>', '<｜fim▁end｜>'], ''],
    [['<|code_prefix|>', '<|code_suffix|>', '<|code_middle|>'], ''],
    [['▁<PRE>', '▁<SUF>', '▁<MID>', '▁<EOT>'], ' '],
  ])('%j, blank %j', async (marks, blank) => {
    const exchange = { signal: undefined, timeLeft: {} } as unknown as Exchange;
    const asked = { prompt: 'ab', suffix: 'c' } as Json;
    const { forms, ends } = await fillIn(exchange, fake(marks, blank), asked, ['ab']);
    const [before, ab, after, c, answer] = [[1000], [...`${blank}ab`], [1001], ['c'], [1002]];
    const code = (one: string | number) => (typeof one === 'string' ? one.codePointAt(0) : one);
    const made = [1, ...before, ...ab, ...after, ...c, ...answer].map(code);
    expect(forms.map((form) => [...form])).toEqual([[{ promptTokenIds: made }]]);
    expect(ends).toEqual(marks.map((_, i) => 1000 + i));
    const some = fake(marks.slice(0, 2), blank);
    await expect(fillIn(exchange, some, asked, ['ab'])).rejects.toMatchObject({ status: 400 });
  });
});

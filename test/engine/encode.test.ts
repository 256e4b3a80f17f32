/** `encode()`: the ids of a prompt, within the limits that requests have. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LLM } from '../../lib/index.js';
import { codeOf } from '../support/code-of.js';
import { until } from '../support/until.js';

let llm: LLM;
beforeEach(async () => {
  llm = await LLM.load({ maxNumSeqs: 2, maxNumWaiting: 2, numThreads: 1 });
});
/** Lets go of what `hang` holds, or its slots in the process's queue would be lost. */
let release = () => {};
afterEach(() => {
  release();
  release = () => {};
  return llm.close();
});

function hang() {
  const held = new Promise<number[]>((resolve) => {
    release = () => resolve([5]);
  });
  return vi.spyOn(llm.tokenizer, 'encodeNow').mockReturnValue(held);
}

const messages = [{ role: 'user', content: 'A <|eos|> whale' }];

describe('the ids', () => {
  it('are those that a generation begins with, whatever form the prompt has', async () => {
    const prompts = [
      'The sea',
      { prompt: 'A <|eos|>', parseSpecialTokens: false },
      { messages },
      { messages, parseSpecialTokens: true },
      { messages, template: { addGenerationPrompt: false } },
      { promptTokenIds: [5, 6, 7] },
    ];
    for (const prompt of prompts) {
      const { promptTokenIds } = await llm.generate(prompt, { maxTokens: 1 });
      expect(await llm.encode(prompt)).toEqual(promptTokenIds);
    }
    expect(await llm.encode({ messages })).not.toEqual(
      await llm.encode({ messages, parseSpecialTokens: true }),
    );
  });

  it('may be none, have no BOS, and be more than the context holds', async () => {
    const bare = { addSpecialTokens: false };
    expect(await llm.encode('', bare)).toEqual([]);
    const [bos, ...rest] = await llm.encode('The sea');
    expect([bos, await llm.encode('The sea', bare)]).toEqual([llm.tokenizer.bosTokenId, rest]);
    const long = 'sea '.repeat(2000);
    expect(await codeOf(llm.encode(long))).toBe('ERR_PROMPT_TOO_LONG');
    expect(await llm.encode(long, { maxTokens: 10_000 })).toEqual(await llm.tokenizer.encode(long));
  });
});

describe('nothing is tokenized', () => {
  it('of what is too long by its length, is none, or is asked for wrongly', async () => {
    const encode = vi.spyOn(llm.tokenizer, 'encodeNow');
    const one = { maxTokens: 1 };
    expect(await codeOf(llm.encode('x'.repeat(1e6)))).toBe('ERR_PROMPT_TOO_LONG');
    expect(await codeOf(llm.encode({ promptTokenIds: [5, 6] }, one))).toBe('ERR_PROMPT_TOO_LONG');
    expect(await codeOf(llm.encode({ promptTokenIds: [1e6] }))).toBe('ERR_INVALID_PROMPT');
    expect(await codeOf(llm.encode(5 as never))).toBe('ERR_INVALID_PROMPT');
    for (const options of [{ maxTokens: 0 }, { addSpecialTokens: 1 }, { priority: 1 }]) {
      expect(await codeOf(llm.encode('A', options as object))).toBe('ERR_INVALID_PARAM');
    }
    expect(encode).not.toHaveBeenCalled();
  });

  it('where the queue has no room, or nothing new is taken', async () => {
    const encode = hang();
    const entering = [1, 2].map(() => codeOf(llm.encode('A')));
    await until(() => expect(encode).toHaveBeenCalledTimes(2));
    expect(await codeOf(llm.encode('B'))).toBe('ERR_OVERLOADED');
    expect(() => llm.checkAdmission()).toThrow(/requests are waiting/);
    const drained = llm.drain();
    expect(await codeOf(llm.encode('B'))).toBe('ERR_DRAINING');
    expect(() => llm.checkAdmission()).toThrow(/takes nothing new/);
    release();
    expect(await Promise.all(entering)).toEqual(['no error', 'no error']);
    expect(await drained).toEqual({ numAborted: 0 });
    await llm.close();
    expect(await codeOf(llm.encode('B'))).toBe('ERR_CLOSED');
    expect(() => llm.checkAdmission()).toThrow(/closed/);
    expect(encode).toHaveBeenCalledTimes(2);
  });
});

it('ends with its signal, its time or a drain, and its place is free at once', async () => {
  hang();
  const leaver = new AbortController();
  const left = codeOf(llm.encode('A', { signal: leaver.signal }));
  const late = codeOf(llm.encode('A', { timeoutMs: 5 }));
  await expect.poll(() => codeOf(llm.encode('A'))).toBe('ERR_OVERLOADED');
  leaver.abort();
  expect([await left, await late]).toEqual(['ERR_ABORTED', 'ERR_TIMEOUT']);
  const drained = codeOf(llm.encode('A'));
  expect(await llm.drain({ timeoutMs: 1 })).toEqual({ numAborted: 1 });
  expect(await drained).toBe('ERR_DRAINING');
});

describe('a role', () => {
  const template = {
    chatTemplate: "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}",
  };
  const ask = (role: string) => ({ messages: [{ role, content: 'Hi' }], template });

  it('that would become a control token is refused, unless these are parsed', async () => {
    for (const role of ['eos', 'BOS', ' eos', 'e-o-s', 'pa', '|']) {
      const error = await llm.encode(ask(role)).catch((e) => e);
      expect([role, error.code]).toEqual([role, 'ERR_INVALID_PROMPT']);
      expect(error.message).toMatch(/^messages\[0\]\.role is part of a control token/);
      expect(await codeOf(llm.generate(ask(role), { maxTokens: 1 }))).toBe('ERR_INVALID_PROMPT');
    }
    const ids = await llm.encode({ ...ask('eos'), parseSpecialTokens: true });
    expect(ids).toContain(llm.tokenizer.eosTokenId);
  });

  it('may be any other word', async () => {
    for (const role of ['tool', 'function', 'developer', 'narrator', 'ipython']) {
      expect(await codeOf(llm.encode(ask(role)))).toBe('no error');
    }
  });
});

import { afterEach, describe, expect, it, vi } from 'vitest';
import { LLM } from '../../lib/index.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';

const params = { maxTokens: 40, ignoreEos: true, temperature: 0 };

describe('a detokenizer that throws', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it.each(['once', 'from then on'])(
    '%s fails its callers, and close() still frees',
    async (how) => {
      const llm = await LLM.load();
      const real = Tokenizer.prototype.decodeTokens;
      let calls = 0;
      vi.spyOn(Tokenizer.prototype, 'decodeTokens').mockImplementation(function (
        this: Tokenizer,
        tokens: string[],
      ) {
        calls++;
        if (calls === 30 || (how !== 'once' && calls > 30)) throw new Error('the decoder broke');
        return real.call(this, tokens);
      });
      const texts = [{ ...params }, { ...params, stop: ['no such text'] }, { ...params, n: 2 }];
      const ends = await Promise.allSettled(texts.map((p, i) => llm.generate(`text ${i}`, p)));
      for (const end of ends) {
        expect(end.status === 'rejected' && end.reason.message).toBe('the decoder broke');
      }
      await expect(llm.generate('more', params)).rejects.toThrow('the decoder broke');
      await llm.close();
      await llm.close();
    },
  );
});

describe('who is told while the next step is computed', () => {
  it('gets all that was drawn, whenever somebody aborts', async () => {
    const llm = await LLM.load({ enablePrefixCaching: false });
    try {
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
      const { kvCacheUsage, numRequestsFinished, numRequestsAborted } = llm.stats();
      expect({ kvCacheUsage, numRequestsFinished, numRequestsAborted }).toEqual({
        kvCacheUsage: 0,
        numRequestsFinished: 5,
        numRequestsAborted: 4,
      });
    } finally {
      await llm.close();
    }
  });
});

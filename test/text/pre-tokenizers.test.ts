import { Tokenizer as Library } from 'tokenizers';
import { describe, expect, it } from 'vitest';
import { ggufTokenizer, ggufTokenizerFiles } from '../../lib/text/gguf-tokenizer.js';
import { goldenMetadata } from './support.js';

describe('pre-tokenizers', () => {
  it('knows the aliases and refuses what it does not know, by name', async () => {
    const bpe = goldenMetadata('bpe-qwen2');
    const alias = await ggufTokenizer({ ...bpe, pre: 'deepseek-r1-qwen' });
    expect(await alias.encode("a's 12")).toEqual(await (await ggufTokenizer(bpe)).encode("a's 12"));
    for (const pre of ['default', 'superbpe', 'afmoe', 'deepseek-v9', 'constructor', '']) {
      const error = await ggufTokenizer({ ...bpe, pre }).catch((e) => e);
      expect(error.code).toBe('ERR_MODEL_UNSUPPORTED');
      expect(error.message).toContain(JSON.stringify(pre));
    }
    await expect(ggufTokenizer({ ...bpe, pre: undefined })).rejects.toMatchObject({
      code: 'ERR_MODEL_UNSUPPORTED',
    });
  });

  it('takes a word that is a token whole, without merges, only where the rule says so', async () => {
    const tokens = ['a', 'b', 'c', 'abc', 'Ġ'];
    const ids = async (pre: string) =>
      (await ggufTokenizer({ model: 'gpt2', pre, tokens, merges: [] })).encode('abc ab');
    expect(await ids('llama-bpe')).toEqual([3, 4, 0, 1]);
    for (const pre of ['tekken', 'glm4', 'lfm2', 'falcon-h1', 'minicpm5', 'youtu']) {
      expect(await ids(pre), pre).toEqual([3, 4, 0, 1]);
    }
    for (const pre of ['qwen2', 'qwen35', 'chatglm-bpe', 'kimi-k2', 'gpt-4o']) {
      expect(await ids(pre), pre).toEqual([0, 1, 2, 4, 0, 1]);
    }
  });

  it("composes characters where the model's own tokenizer does", async () => {
    const ids = async (pre: string, text: string) =>
      (await ggufTokenizer({ ...goldenMetadata('bpe-gpt-2'), pre })).encode(text);
    const [apart, composed] = ['Vie\u0323\u0302t', 'Vi\u1ec7t'];
    for (const pre of ['qwen2', 'qwen35', 'command-r', 'modern-bert', 'mpt', 'olmo', 'stablelm2']) {
      expect(await ids(pre, apart), pre).toEqual(await ids(pre, composed));
    }
    for (const pre of ['llama-bpe', 'gpt-2', 'deepseek-v3', 'kimi-k2']) {
      expect(await ids(pre, apart), pre).not.toEqual(await ids(pre, composed));
    }
  });

  it.each([
    ['tekken', 'HelloWorld 12/\n', ['Hello', 'World', 'Ġ', '1', '2', '/Ċ']],
    ['gpt-4o', "HelloWorld's 1234", ['Hello', "World's", 'Ġ', '123', '4']],
    ['smaug-bpe', "it's 12345 ok", ['it', "'s", 'Ġ', '123', '45', 'Ġok']],
    ['starcoder', 'ab 123', ['ab', 'Ġ', '1', '2', '3']],
    ['qwen35', 'a\u0301b\u0301 12', ['aÌģbÌģ', 'Ġ', '1', '2']],
    ['seed-coder', "it's 12!\n\n", ['it', "'s", 'Ġ', '1', '2', '!', 'ĊĊ']],
    ['bailingmoe2', "it's 12!\n\n\n", ['it', "'s", 'Ġ', '1', '2', '!ĊĊĊ']],
    ['bailingmoe2', 'a\n\nb', ['a', 'ĊĊ', 'b']],
    ['minicpm5', 'ab12345', ['ab', '123', '45']],
    ['glm5', 'ab12345', ['ab', '123', '45']],
    ['hunyuan', 'ab12', ['ab', '1', '2']],
    ['kimi-k2', 'Hi中文ab', ['Hi', 'ä¸Ńæĸĩ', 'ab']],
    ['deepseek-v3', 'a中b 1234+x', ['a', 'ä¸Ń', 'b', 'Ġ', '123', '4', '+x']],
    ['deepseek-coder', 'ab 12, x\n\n', ['ab', 'Ġ', '1', '2', ',', 'Ġx', 'Ċ', 'Ċ']],
    ['kormo', "it's 12!\n\n", ['it', "'s", 'Ġ', '1', '2', '!ĊĊ']],
    ['falcon', "it's (12345$", ['it', "'", 's', 'Ġ', '(', '123', '45', '$']],
    ['mpt', "it's  12", ['it', "'s", 'Ġ', 'Ġ12']],
    ['bloom', 'a1-b (c) d, e', ['a1-b', 'Ġ(', 'c', ')', 'Ġd', ',', 'Ġe']],
    ['viking', 'a12 b', ['a', '1', '2', 'Ġb']],
    ['jais-2', `a${' '.repeat(15)}b`, ['a', 'Ġ'.repeat(8), 'Ġ'.repeat(4), 'ĠĠ', 'Ġb']],
    ['ufakzeka', "İzmir'in 12", ['Ä°zmir', "'in", 'Ġ', '1', '2']],
    ['exaone-moe', "a big sea's  12!\n\n", ['aĠbigĠsea', "'s", 'Ġ', 'Ġ', '1', '2', '!Ċ', 'Ċ']],
    ['laguna', 'a \n\n b!\nc', ['a', 'Ġ', 'ĊĊ', 'Ġb', '!', 'Ċ', 'c']],
    ['spark2_5', 'a1234!\n\nb', ['a', '1', '2', '3', '4', '!', 'Ċ', 'Ċ', 'b']],
    ['chameleon', 'IMGIMGABZ a!?  b', ['IMGIMGABZ', 'Ġa', '!', '?', 'ĠĠ', 'b']],
    ['youtu', '안녕world中，Hi 12', ['ìķĪëħķ', 'world', 'ä¸Ń', 'ï¼Į', 'Hi', 'Ġ', '1', '2']],
    ['tiny_aya', 'a 1234567, 1234x', ['a', 'Ġ', '1', '234', '567', ',', 'Ġ', '123', '4', 'x']],
    ['deepseek-llm', 'ab 12,  x  ', ['ab', 'Ġ', '12', ',', 'Ġ', 'Ġx', 'ĠĠ']],
  ])('%s cuts words as it should', async (pre, text, words) => {
    const { json } = await ggufTokenizerFiles({ ...goldenMetadata('bpe-gpt-2'), pre });
    const cut = Library.fromString(json).getPreTokenizer()!.preTokenizeString(text);
    expect(cut.map(([word]) => word)).toEqual(words);
  });
});

import { describe, expect, it } from 'vitest';
import { ggufTokens } from '../../lib/model/gguf-tokens.js';

const tokens = (...more: string[]) => ['<unk>', '<s>', '</p>', 'a', ...more];
const spm = { model: 'llama', tokens: tokens(), bos_token_id: 1, eos_token_id: 3 };

describe('what ends a generation', () => {
  it('is every key that says so, once', () => {
    const keys = { eot_token_id: 2, eom_token_id: 0, fim_pad_token_id: 3, fim_sep_token_id: 1 };
    expect(ggufTokens({ ...spm, ...keys }).eosTokenIds).toEqual([3, 2, 0, 1]);
  });

  // As node-llama-cpp 3 reports them for the same files.
  it.each([
    ...['<|im_end|>', '<|eot_id|>', '<|eom_id|>', '<|end|>', '<end_of_turn>', '<|endoftext|>'],
    ...['</s>', '<|fim_pad|>', '<|repo_name|>', '<|file_sep|>', '<reponame>', '<EOT>'],
  ])('is %s, whatever its type', (name) => {
    const found = ggufTokens({ ...spm, tokens: tokens(name), token_type: [2, 3, 1, 1, 1] });
    expect(found.eosTokenIds).toEqual([3, 4]);
    expect(found.tokenizer.control_token_ids).toEqual([4]);
  });

  it.each(['<|pad|>', '<|im_start|>', '<|fim_prefix|>', 'toString', '<|END|>'])(
    'is not %s',
    (name) => expect(ggufTokens({ ...spm, tokens: tokens(name) }).eosTokenIds).toEqual([3]),
  );

  it('is not the end of a channel, where answers end by <|return|> or <|call|>', () => {
    const names = ['<|return|>', '<|call|>', '<|end|>'];
    expect(ggufTokens({ ...spm, tokens: tokens(...names) }).eosTokenIds).toEqual([3, 4, 5]);
    expect(ggufTokens({ ...spm, tokens: tokens(...names.slice(1)) }).eosTokenIds).toEqual([
      ...[3, 4, 5],
    ]);
  });
});

describe('ids that no token has', () => {
  it.each([2 ** 32 - 1, -1, 4])('%i is passed over', (id) => {
    const keys = ['padding', 'eom', 'unknown', 'bos', 'eos'].map((k) => [`${k}_token_id`, id]);
    const found = ggufTokens({ ...spm, ...Object.fromEntries(keys), model: 'gpt2' });
    expect(found).toMatchObject({ bosTokenId: undefined, eosTokenIds: [] });
    expect(Object.keys(found.tokenizer)).toEqual(['model', 'tokens', 'control_token_ids']);
  });

  it('what is no number is left for the tokenizer to refuse', () => {
    const { tokenizer } = ggufTokens({ ...spm, padding_token_id: '3' });
    expect(tokenizer.padding_token_id).toBe('3');
  });
});

describe('where a file names none, llama.cpp has', () => {
  it('1 and 2 for SentencePiece', () => {
    const { bos_token_id: _, eos_token_id: __, ...rest } = spm;
    expect(ggufTokens(rest)).toMatchObject({ bosTokenId: 1, eosTokenIds: [2] });
    expect(ggufTokens({ ...rest, tokens: ['a', 'b'] })).toMatchObject({ eosTokenIds: [] });
  });

  it('11 for byte-level ones, here only where that is a control token', () => {
    const many = Array.from({ length: 12 }, (_, i) => `t${i}`);
    const types = (last: number) => [...Array(11).fill(1), last];
    const found = (last: number) =>
      ggufTokens({ model: 'gpt2', tokens: many, token_type: types(last) });
    expect(found(3)).toMatchObject({ bosTokenId: 11, eosTokenIds: [11] });
    expect(found(1)).toMatchObject({ bosTokenId: undefined, eosTokenIds: [] });
  });

  it('101 and 102 for WordPiece, 1 for unigram, none for Gemma 4 or what it does not know', () => {
    const many = Array.from({ length: 103 }, (_, i) => `t${i}`);
    const types = many.map((_, id) => (id < 3 || id > 99 ? 3 : 1));
    const named = (model: string) => {
      const { tokenizer } = ggufTokens({ model, tokens: many, token_type: types });
      const ids = Object.entries(tokenizer).filter(([key]) => key.endsWith('_token_id'));
      return Object.fromEntries(ids);
    };
    const bert = { cls_token_id: 101, seperator_token_id: 102, unknown_token_id: 100 };
    expect(named('bert')).toEqual(bert);
    expect(named('t5')).toEqual({ eos_token_id: 1, unknown_token_id: 2 });
    expect(named('gemma4')).toEqual({});
    expect(named('constructor')).toEqual({});
  });
});

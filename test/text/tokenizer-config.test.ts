import { describe, expect, it } from 'vitest';
import { addedBy, parts, readConfig, whoAdds } from '../../lib/text/tokenizer-config.js';

const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
const text = { Sequence: { id: 'A', type_id: 0 } };
const both = { type: 'TemplateProcessing', single: [special('<s>'), text, special('</s>')] };
const behind = { type: 'TemplateProcessing', single: [text, special('</s>')] };
const level = { type: 'ByteLevel' };

describe('what a post-processor adds', () => {
  it.each<[string, unknown, object]>([
    ['none', null, { any: false, both: false }],
    ['bytes only', level, { any: false, both: false }],
    ['both ends', both, { any: true, first: '<s>', both: true }],
    ['one behind', behind, { any: true, first: undefined, both: false }],
    [
      'in a sequence',
      { type: 'Sequence', processors: [level, both] },
      { any: true, first: '<s>', both: true },
    ],
    [
      'as BERT',
      { type: 'BertProcessing', cls: ['[CLS]', 2] },
      { any: true, first: '[CLS]', both: true },
    ],
  ])('%s', (_, processor, expected) => expect(addedBy(processor)).toEqual(expected));
});

it('sequences are taken apart', () => {
  const nested = { type: 'Sequence', decoders: [{ type: 'Sequence', decoders: [level] }, both] };
  expect(parts(nested)).toEqual([level, both]);
  expect(parts('x')).toEqual([]);
});

describe('who adds', () => {
  const read = (config: object) => readConfig(config, 'x');
  const always = { by: 'library', always: true };
  it('the library where the post-processor does, but for Llama where the config says', () => {
    expect(whoAdds(read({ add_bos_token: false }), both)).toEqual(always);
    const llama = { tokenizer_class: 'LlamaTokenizer' };
    expect(whoAdds(read(llama), both)).toEqual(always);
    expect(whoAdds(read({}), behind)).toEqual({ by: 'library', always: false });
    const off = whoAdds(read({ ...llama, add_bos_token: false }), both);
    expect(off).toEqual({ by: 'us', bos: false, eos: false });
  });
  it('we elsewhere, for Llama a BOS unless told otherwise', () => {
    expect(whoAdds(read({}), null)).toEqual({ by: 'us', bos: false, eos: false });
    const gemma = whoAdds(read({ tokenizer_class: 'GemmaTokenizerFast' }), level);
    expect(gemma).toEqual({ by: 'us', bos: true, eos: false });
    const eos = whoAdds(read({ add_eos_token: true }), null);
    expect(eos).toEqual({ by: 'us', bos: false, eos: true });
  });
});

import { describe, expect, it } from 'vitest';
import { chooseFiles, folderWeights } from '../../lib/hub/select.js';

const files = (...paths: string[]) =>
  paths.map((path, i) => ({ path, size: (i + 1) * 2 ** 20, etag: '0'.repeat(40) }));
const FOLDER = [
  ...['.gitattributes', 'README.md', 'config.json', 'generation_config.json', 'tokenizer.json'],
  ...['tokenizer_config.json', 'chat_template.jinja', 'vocab.txt', 'tokenizer.model'],
  ...['model.safetensors', 'consolidated.safetensors', 'pytorch_model.bin', 'x.pth'],
  ...['onnx/model.onnx', 'onnx/config.json', 'additional_chat_templates/rag.jinja'],
];
const chosen = (paths: string[], want?: string, tokenizerOnly?: boolean) => {
  const choice = chooseFiles(files(...paths), 'org/name', want, tokenizerOnly);
  return { ...choice, files: choice.files.map(({ path }) => path) };
};

describe('a folder', () => {
  it('has what a model is read from, and nothing else', () => {
    const { kind, files: small, others } = chosen([...FOLDER, 'org-Q4_0.gguf']);
    expect({ kind, others }).toEqual({ kind: 'folder', others: ['Q4_0'] });
    expect(small).toEqual([
      ...['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json'],
      ...['chat_template.jinja', 'vocab.txt', 'tokenizer.model'],
      'additional_chat_templates/rag.jinja',
    ]);
    expect(chosen(FOLDER, undefined, true).files).toEqual([
      ...['config.json', 'tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'],
      'additional_chat_templates/rag.jinja',
    ]);
  });

  it('has one file of weights, or the shards of its index, and modules', () => {
    const weights = (paths: string[], index?: string, modules?: string) =>
      folderWeights(files(...paths), 'org/name', index, modules).map(({ path }) => path);
    expect(weights(FOLDER)).toEqual(['model.safetensors']);
    const index = JSON.stringify({
      weight_map: { a: 's-2.safetensors', b: 's-1.safetensors', c: 's-1.safetensors' },
    });
    const shards = ['s-1.safetensors', 's-2.safetensors', 's-3.safetensors'];
    expect(weights(shards, index)).toEqual(shards.slice(0, 2));
    expect(() => weights(shards.slice(0, 1), index)).toThrow(/no s-2\.safetensors/);
    const modules = JSON.stringify([{ path: '' }, { path: '1_Pooling' }, { path: '2_Dense/' }]);
    const dense = ['1_Pooling/config.json', '2_Dense/config.json', '2_Dense/model.safetensors'];
    expect(weights([...FOLDER, ...dense, '2_Dense/pytorch_model.bin'], undefined, modules)).toEqual(
      ['model.safetensors', ...dense],
    );
    for (const broken of ['{', '[]', '{"weight_map": 5}', 'null']) {
      expect(weights(shards, broken, broken)).toEqual([]);
    }
  });

  it('is refused before it is downloaded where something is missing', () => {
    const refusal = (paths: string[], want?: string) => {
      const error = expect.objectContaining({ code: 'ERR_MODEL_NOT_FOUND', param: 'model' });
      expect(() => chosen(paths, want)).toThrow(error);
      return expect(() => chosen(paths, want));
    };
    refusal(FOLDER.filter((path) => path !== 'tokenizer.json')).toThrow(/no tokenizer\.json/);
    refusal(FOLDER.filter((path) => path !== 'config.json')).toThrow(/no config\.json/);
    refusal(['config.json', 'pytorch_model.bin']).toThrow(
      /no model\.safetensors.*pytorch_model\.bin/,
    );
    refusal([]).toThrow(/it has nothing/);
    refusal(FOLDER, 'Q4_K_M').toThrow(/no GGUF files, so no Q4_K_M/);
    refusal(FOLDER, 'config.json').toThrow(/config\.json of .* is no GGUF file; without it/);
  });
});

describe('GGUF files', () => {
  const QUANTS = [
    'm-Q2_K.gguf',
    'm-Q8_0.gguf',
    'm-q4_k_m.gguf',
    'mmproj-m-F16.gguf',
    'm.imatrix.gguf',
  ];

  it('are chosen by how they are quantised', () => {
    expect(chosen(['config.json', 'README.md', ...QUANTS])).toEqual({
      kind: 'gguf',
      files: ['m-q4_k_m.gguf'],
      took: 'm-q4_k_m.gguf (5.0 MiB)',
      others: ['Q2_K', 'Q8_0'],
    });
    expect(chosen(QUANTS.filter((path) => !/q4/.test(path))).files).toEqual(['m-Q8_0.gguf']);
    expect(chosen(['m-F16.gguf', 'm.Q5_K_M.gguf']).files).toEqual(['m.Q5_K_M.gguf']);
    expect(chosen(['model.gguf']).files).toEqual(['model.gguf']);
    expect(chosen(['m-UD-Q4_K_XL.gguf', 'm-Q5_0.gguf']).files).toEqual(['m-UD-Q4_K_XL.gguf']);
    expect(chosen(['m-fp16.gguf', 'm-Q2_K.gguf']).others).toEqual(['Q2_K']);
  });

  it.each([
    ['Q8_0', 'm-Q8_0.gguf'],
    ['q8_0', 'm-Q8_0.gguf'],
    ['m-Q2_K.gguf', 'm-Q2_K.gguf'],
    ['m-Q2_K', 'm-Q2_K.gguf'],
    ['Q4_K_M', 'm-q4_k_m.gguf'],
  ])('are taken as asked: %s', (want, path) => {
    expect(chosen([...FOLDER, ...QUANTS], want).files).toEqual([path]);
  });

  it('go by their folder where their names say nothing, and by what stands before', () => {
    const paths = ['BF16/m.gguf', 'IQ4_XS/m.gguf', 'm-UD-Q6_K_XL.gguf'];
    expect(chosen(paths, 'iq4_xs').files).toEqual(['IQ4_XS/m.gguf']);
    expect(chosen(paths, 'BF16/m.gguf').files).toEqual(['BF16/m.gguf']);
    expect(chosen(paths, 'Q6_K_XL').files).toEqual(['m-UD-Q6_K_XL.gguf']);
    expect(() => chosen(paths, 'm.gguf')).toThrow(/several models.*BF16\/m\.gguf, IQ4_XS\/m\.gguf/);
  });

  it('come whole where they are split', () => {
    const part = (n: number, of = 3) => `Q4_K_M/m-Q4_K_M-0000${n}-of-0000${of}.gguf`;
    const parts = [part(2), part(1), part(3)];
    const all = [part(1), part(2), part(3)];
    expect(chosen(parts)).toMatchObject({
      files: all,
      took: 'Q4_K_M/m-Q4_K_M.gguf (3 files, 6.0 MiB)',
    });
    for (const want of ['Q4_K_M', part(2), 'm-Q4_K_M.gguf']) {
      expect(chosen([...parts, 'm-Q8_0.gguf'], want).files).toEqual(all);
    }
    expect(() => chosen(parts.slice(1))).toThrow(/only 2 of its parts/);
  });

  it('that are several, or not those asked for, are told', () => {
    expect(() => chosen(['a-Q4_K_M.gguf', 'b-Q4_K_M.gguf'])).toThrow(/several models; name a file/);
    expect(() => chosen(['a.gguf', 'b.gguf'])).toThrow(/several models/);
    expect(() => chosen(QUANTS, 'Q6_K')).toThrow(/no Q6_K; it has Q2_K, Q8_0, Q4_K_M/);
    expect(() => chosen(QUANTS, 'mmproj-m-F16.gguf')).toThrow(/has no mmproj/);
  });
});

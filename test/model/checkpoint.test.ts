import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCheckpoint, openVocabulary } from '../../lib/model/checkpoint.js';
import { kvBytesPerToken } from '../../lib/model/spec.js';
import { ROOT } from '../support/addon.js';
import { nestModel } from '../support/nest-model.js';
import { readGgufTokenizer } from '../support/tiny-gguf.js';
import { type HeaderTensor, refusal, temporaryFolder, write } from '../support/write-model.js';

const FIXTURES = join(ROOT, 'test/fixtures');
const base = temporaryFolder();
let copies = 0;

/** A copy of a fixture model that a test may spoil. */
function copyOf(name: string): string {
  const folder = join(base, `${name}-${copies++}`);
  cpSync(join(FIXTURES, 'models', name), folder, { recursive: true });
  return folder;
}

/** Changes the header of a safetensors file; the length of the JSON may change. */
function rewriteHeader(path: string, change: (header: Record<string, HeaderTensor>) => void) {
  const file = readFileSync(path);
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + length));
  change(header);
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  write(path, '', Buffer.concat([prefix, json, file.subarray(8 + length)]));
}

describe('a folder', () => {
  it('gives config, tensors, tokenizer, sizes', async () => {
    const demo = await openCheckpoint(join(ROOT, 'models/octavo-demo'));
    expect(demo).toMatchObject({ numParameters: 5_475_584, weightBytes: 10_951_168 });
    expect(demo.spec).toMatchObject({ architecture: 'llama', dtype: 'BF16', eosTokenIds: [1] });
    expect(kvBytesPerToken(demo.spec)).toBe(6 * 2 * 2 * 64 * 4);
    expect(new Set(demo.tensors.map((t) => t.name)).size).toBe(demo.tensors.length);
    expect('json' in demo.tokenizer).toBe(true);
    expect(demo.chatTemplate).toBeUndefined();
  });

  it('may be sharded, and reached by a link', async () => {
    const { files, tensors } = await openCheckpoint(join(FIXTURES, 'models/llama-sharded'));
    expect(files).toHaveLength(4);
    expect(new Set(tensors.map((t) => t.file)).size).toBe(4);
    const link = join(base, 'link');
    symlinkSync(join(FIXTURES, 'models/llama-sharded'), link);
    expect((await openCheckpoint(link)).tensors).toHaveLength(tensors.length);
  });

  it('unites the ids that end a text', async () => {
    const folder = copyOf('llama-mha');
    write(folder, 'generation_config.json', {
      eos_token_id: [5, 1],
      temperature: 0.6,
      top_p: 0.9,
      do_sample: true,
    });
    const { spec, generationDefaults } = await openCheckpoint(folder);
    expect(spec.eosTokenIds).toEqual([1, 5]);
    expect(generationDefaults).toEqual({ temperature: 0.6, topP: 0.9 });
    write(folder, 'generation_config.json', { eos_token_id: 7, do_sample: false });
    const again = await openCheckpoint(folder);
    expect(again.spec.eosTokenIds).toEqual([1, 7]);
    expect(again.generationDefaults).toEqual({ temperature: 0 });
    write(folder, 'generation_config.json', { top_k: -1 });
    expect((await openCheckpoint(folder)).generationDefaults).toEqual({ topK: 0 });
    for (const eos_token_id of [2 ** 31, Array(1025).fill(1)]) {
      write(folder, 'generation_config.json', { eos_token_id });
      expect((await refusal(openCheckpoint(folder))).message).toMatch(
        /eos_token_id is not a token/,
      );
    }
    write(folder, 'generation_config.json', { eos_token_id: 'x' });
    expect((await refusal(openCheckpoint(folder))).message).toMatch(
      /generation_config.*eos_token_id/,
    );
  });

  it.each(['model.language_model.', 'language_model.model.'] as const)(
    'may hold a text model below %s, the rest is passed over',
    async (prefix) => {
      const plain = join(FIXTURES, 'models/mistral-window');
      const folder = join(base, `nested-${copies++}`);
      mkdirSync(folder);
      nestModel(plain, folder, prefix, { model_type: 'mistral3', image_token_index: 10 });
      const nested = await openCheckpoint(folder);
      const alone = await openCheckpoint(plain);
      expect(nested.spec).toEqual({ ...alone.spec, skipped: { vision: 1 } });
      expect(nested.weightBytes).toBe(alone.weightBytes);
      const by = (list: typeof alone.tensors) => list.map(({ name, bytes }) => `${name} ${bytes}`);
      expect(by(nested.tensors)).toEqual(by(alone.tensors));
      nestModel(plain, folder, prefix, { model_type: 'paligemma' });
      expect((await refusal(openCheckpoint(folder))).message).toMatch(
        /model_type "paligemma" around "mistral"/,
      );
      nestModel(plain, folder, prefix, { model_type: 'mistral3', some_switch: false });
      expect((await refusal(openCheckpoint(folder))).message).toMatch(/"some_switch"/);
    },
  );

  it('takes special tokens of special_tokens_map.json where nothing else names them', async () => {
    const folder = copyOf('llama-mha');
    write(folder, 'tokenizer_config.json', { bos_token: '<b>', eos_token: null });
    const content = { content: '<e>', lstrip: false };
    write(folder, 'special_tokens_map.json', {
      ...{ bos_token: '<other>', eos_token: content, pad_token: '<p>' },
      additional_special_tokens: ['<x>'],
    });
    expect((await openCheckpoint(folder)).tokenizer).toMatchObject({
      config: { bos_token: '<b>', eos_token: content, pad_token: '<p>' },
    });
  });

  it('brings its chat template in one of three ways', async () => {
    const folder = copyOf('llama-mha');
    write(folder, 'tokenizer_config.json', { chat_template: 'one' });
    expect((await openCheckpoint(folder)).chatTemplate).toBe('one');
    write(folder, 'chat_template.json', { chat_template: 'two' });
    expect((await openCheckpoint(folder)).chatTemplate).toBe('two');
    write(folder, 'chat_template.jinja', 'three');
    expect((await openCheckpoint(folder)).chatTemplate).toBe('three');
    const other = copyOf('llama-mha');
    const named = [{ name: 'default', template: 'x' }];
    write(other, 'tokenizer_config.json', { chat_template: named });
    expect((await openCheckpoint(other)).chatTemplate).toEqual(named);
    write(other, 'tokenizer_config.json', { chat_template: 5 });
    expect((await refusal(openCheckpoint(other))).code).toBe('ERR_MODEL_FORMAT');
  });

  it('takes a head that is there although tied, and old rotary buffers', async () => {
    const folder = copyOf('llama-mha');
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    write(folder, 'config.json', { ...config, tie_word_embeddings: true });
    rewriteHeader(join(folder, 'model.safetensors'), (header) => {
      header['model.layers.0.self_attn.rotary_emb.inv_freq'] = {
        dtype: 'F32',
        shape: [0],
        data_offsets: [0, 0],
      };
    });
    const { tensors } = await openCheckpoint(folder);
    expect(tensors.some((t) => t.name === 'head')).toBe(false);
  });

  it.each<[string, RegExp, string, (header: Record<string, HeaderTensor>) => void]>([
    [
      'a missing tensor',
      /layers\.1\.o.*missing/,
      'ERR_MODEL_FORMAT',
      (h) => delete h['model.layers.1.self_attn.o_proj.weight'],
    ],
    ['a missing head', /head.*missing/, 'ERR_MODEL_FORMAT', (h) => delete h['lm_head.weight']],
    [
      'another shape',
      /norm.*shape \[64, 2\], not \[128\]/,
      'ERR_MODEL_FORMAT',
      (h) => {
        h['model.norm.weight'].shape = [64, 2];
      },
    ],
    [
      'a transposed matrix',
      /down_proj.*not \[128, 176\]/,
      'ERR_MODEL_FORMAT',
      (h) => {
        h['model.layers.0.mlp.down_proj.weight'].shape = [176, 128];
      },
    ],
    [
      'an integer dtype',
      /dtype I16/,
      'ERR_MODEL_UNSUPPORTED',
      (h) => {
        h['model.norm.weight'].dtype = 'I16';
      },
    ],
    [
      'an extra tensor',
      /experts/,
      'ERR_MODEL_UNSUPPORTED',
      (h) => {
        h['model.layers.0.mlp.experts.0.weight'] = {
          dtype: 'F32',
          shape: [0],
          data_offsets: [0, 0],
        };
      },
    ],
    [
      'a bias that the config denies',
      /q_proj\.bias/,
      'ERR_MODEL_UNSUPPORTED',
      (h) => {
        h['model.layers.0.self_attn.q_proj.bias'] = {
          dtype: 'F32',
          shape: [0],
          data_offsets: [0, 0],
        };
      },
    ],
  ])('%s is named', async (_, why, code, change) => {
    const folder = copyOf('llama-mha');
    rewriteHeader(join(folder, 'model.safetensors'), change);
    const error = await refusal(openCheckpoint(folder));
    expect(error).toMatchObject({ code });
    expect(error.message).toMatch(why);
    expect(error.message).toContain(folder);
  });

  it.each([
    [{}, /weight_map/],
    [{ weight_map: {} }, /empty/],
    [{ weight_map: { a: '../../etc/passwd' } }, /no shard/],
    [{ weight_map: { a: '/etc/passwd.safetensors' } }, /no shard/],
    [{ weight_map: { a: 'gone.safetensors' } }, /missing/],
    [{ weight_map: { a: 5 } }, /no shard/],
  ])('an index of %j is refused', async (index, why) => {
    const folder = copyOf('llama-sharded');
    write(folder, 'model.safetensors.index.json', index);
    const error = await refusal(openCheckpoint(folder));
    expect(error.code).toBe('ERR_MODEL_FORMAT');
    expect(error.message).toMatch(why);
  });

  it('that lacks something says what', async () => {
    expect(await refusal(openCheckpoint('/no/such/model'))).toMatchObject({
      code: 'ERR_MODEL_NOT_FOUND',
    });
    const empty = join(base, 'empty');
    mkdirSync(empty);
    expect((await refusal(openCheckpoint(empty))).message).toMatch(/no config\.json/);
    for (const name of ['tokenizer.json', 'model.safetensors']) {
      const folder = copyOf('llama-mha');
      rmSync(join(folder, name));
      const error = await refusal(openCheckpoint(folder));
      expect(error.code).toBe('ERR_MODEL_NOT_FOUND');
      expect(error.message).toContain(name);
    }
  });
});

describe('a GGUF file', () => {
  it('says the same as the folder it was made of', async () => {
    const { spec, tensors, tokenizer } = await openCheckpoint(join(FIXTURES, 'gguf/qwen2.gguf'));
    expect(spec).toMatchObject({ architecture: 'qwen2', dtype: 'F16' });
    expect(spec.ropes).toMatchObject([{ interleaved: false }]);
    expect(spec.layers[0].attention!.biases).toEqual(['q', 'k', 'v']);
    expect(tensors.filter((t) => t.name.endsWith('.bias'))).toHaveLength(6);
    expect('gguf' in tokenizer && tokenizer.gguf.model).toBe('gpt2');
  });

  it('has its rope factors read from the file', async () => {
    const gguf = await openCheckpoint(join(FIXTURES, 'gguf/llama3-rope.gguf'));
    const folder = await openCheckpoint(join(FIXTURES, 'models/llama-rope-llama3'));
    const theirs = folder.spec.ropes[0].inverseFrequencies;
    gguf.spec.ropes[0].inverseFrequencies.forEach((f, i) => {
      expect(Math.abs(f - theirs[i]) / theirs[i]).toBeLessThan(1e-5);
    });
  });

  it('may stand alone in a folder, two may not', async () => {
    const folder = join(base, 'ggufs');
    mkdirSync(folder);
    cpSync(join(FIXTURES, 'gguf/qwen3.gguf'), join(folder, 'a.gguf'));
    expect((await openCheckpoint(folder)).spec.architecture).toBe('qwen3');
    cpSync(join(FIXTURES, 'gguf/qwen3.gguf'), join(folder, 'b.gguf'));
    expect((await refusal(openCheckpoint(folder))).message).toMatch(/2 \.gguf files/);
  });

  it('of a type that is not known yet is refused by its name', async () => {
    const bytes = readFileSync(join(FIXTURES, 'gguf/llama-q8_0.gguf'));
    const at = bytes.indexOf('token_embd.weight') + 'token_embd.weight'.length + 4 + 16;
    expect(bytes.readUInt32LE(at)).toBe(8);
    bytes.writeUInt32LE(24, at); // I8 takes fewer bytes, so nothing else is wrong
    const error = await refusal(openCheckpoint(write(base, 'i8.gguf', bytes)));
    expect(error.code).toBe('ERR_MODEL_UNSUPPORTED');
    expect(error.message).toMatch(/I8.*token_embd/);
  });

  it('with fewer rows in its embedding than tokens is refused', async () => {
    const bytes = readFileSync(join(FIXTURES, 'gguf/gemma2.gguf'));
    const at = bytes.indexOf('token_embd.weight') + 'token_embd.weight'.length + 4 + 8;
    expect(bytes.readUInt32LE(at)).toBe(320);
    bytes.writeUInt32LE(319, at);
    const error = await refusal(openCheckpoint(write(base, 'rows.gguf', bytes)));
    expect(error.code).toBe('ERR_MODEL_FORMAT');
    expect(error.message).toMatch(/token_embd\.weight has 319 rows, .* 320 tokens/);
  });
});

describe('a tokenizer alone', () => {
  it('is read of a GGUF file that holds nothing else', async () => {
    const file = join(FIXTURES, 'tokenizers/unigram-normalised.gguf');
    const source = await openVocabulary(file);
    const { tokens, precompiled_charsmap } = readGgufTokenizer(file);
    expect(source).toMatchObject({ gguf: { model: 't5', tokens, eos_token_id: 1 } });
    const { gguf } = source as { gguf: Record<string, Uint8Array> };
    expect(Array.from(gguf.precompiled_charsmap)).toEqual(precompiled_charsmap);
    expect(await refusal(openCheckpoint(file))).toMatchObject({ code: 'ERR_MODEL_FORMAT' });
  });

  it('is read of a folder without weights, of any family', async () => {
    const folder = copyOf('llama-mha');
    const before = (await openCheckpoint(folder)).tokenizer;
    rmSync(join(folder, 'model.safetensors'));
    write(folder, 'config.json', '{"model_type":"nonesuch"}');
    expect(await openVocabulary(folder)).toEqual(before);
    rmSync(join(folder, 'config.json'));
    expect(await openVocabulary(folder)).toEqual(before);
    rmSync(join(folder, 'tokenizer.json'));
    const none = {
      code: 'ERR_MODEL_NOT_FOUND',
      message: expect.stringContaining('tokenizer.json'),
    };
    expect(await refusal(openVocabulary(folder))).toMatchObject(none);
    expect(await refusal(openVocabulary(join(folder, 'none')))).toMatchObject({ code: none.code });
  });
});

import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { kvBytesPerToken, openCheckpoint } from '../../lib/model/checkpoint.js';
import { ROOT } from '../support/addon.js';
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
    expect(demo.config).toMatchObject({ architecture: 'llama', dtype: 'BF16', eosTokenIds: [1] });
    expect(kvBytesPerToken(demo.config)).toBe(6 * 2 * 2 * 64 * 4);
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
    const { config, generationDefaults } = await openCheckpoint(folder);
    expect(config.eosTokenIds).toEqual([1, 5]);
    expect(generationDefaults).toEqual({ temperature: 0.6, topP: 0.9 });
    write(folder, 'generation_config.json', { eos_token_id: 7, do_sample: false });
    const again = await openCheckpoint(folder);
    expect(again.config.eosTokenIds).toEqual([1, 7]);
    expect(again.generationDefaults).toEqual({ temperature: 0 });
    write(folder, 'generation_config.json', { eos_token_id: 'x' });
    expect((await refusal(openCheckpoint(folder))).message).toMatch(
      /generation_config.*eos_token_id/,
    );
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
    const { config, tensors, tokenizer } = await openCheckpoint(join(FIXTURES, 'gguf/qwen2.gguf'));
    expect(config).toMatchObject({ architecture: 'qwen2', ropeInterleaved: false, dtype: 'F16' });
    expect(config.biases).toEqual(new Set(['q', 'k', 'v']));
    expect(tensors.filter((t) => t.name.endsWith('.bias'))).toHaveLength(6);
    expect('gguf' in tokenizer && tokenizer.gguf.model).toBe('gpt2');
  });

  it('has its rope factors read from the file', async () => {
    const gguf = await openCheckpoint(join(FIXTURES, 'gguf/llama3-rope.gguf'));
    const folder = await openCheckpoint(join(FIXTURES, 'models/llama-rope-llama3'));
    const theirs = folder.config.inverseFrequencies;
    gguf.config.inverseFrequencies.forEach((f, i) => {
      expect(Math.abs(f - theirs[i]) / theirs[i]).toBeLessThan(1e-5);
    });
  });

  it('may stand alone in a folder, two may not', async () => {
    const folder = join(base, 'ggufs');
    mkdirSync(folder);
    cpSync(join(FIXTURES, 'gguf/qwen3.gguf'), join(folder, 'a.gguf'));
    expect((await openCheckpoint(folder)).config.qkNorm).toBe(true);
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
});

import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readGguf, SkippedArray } from '../../lib/model/gguf.js';
import { ROOT } from '../support/addon.js';
import { watchEventLoop } from '../support/event-loop.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import {
  type GgufSpec,
  ggufFile,
  refusal,
  temporaryFolder,
  write,
} from '../support/write-model.js';

const folder = temporaryFolder();
const FIXTURE = join(ROOT, 'test/fixtures/gguf/llama-q8_0.gguf');
const file = (spec: GgufSpec) => write(folder, 'x.gguf', ggufFile(spec));
const TENSOR = { name: 't', dims: [32, 2], type: 8, offset: 0 };

it('reads metadata and tensors of a real file', async () => {
  const { version, metadata, tensors } = await readGguf(FIXTURE);
  expect(version).toBe(3);
  expect(metadata.get('general.architecture')).toBe('llama');
  expect(metadata.get('llama.attention.layer_norm_rms_epsilon')).toBeCloseTo(1e-6, 12);
  expect(metadata.get('tokenizer.ggml.add_bos_token')).toBe(true);
  expect(metadata.get('tokenizer.ggml.tokens')).toHaveLength(512);
  const down = tensors.find((t) => t.name === 'blk.0.ffn_down.weight')!;
  expect(down).toMatchObject({ dtype: 'Q8_0', shape: [128, 192], bytes: ((128 * 192) / 32) * 34 });
  const size = readFileSync(FIXTURE).length;
  for (const t of tensors) expect(t.offset + t.bytes).toBeLessThanOrEqual(size);
});

it('reads every kind of value', async () => {
  const metadata = {
    a: { u32: 7 },
    b: { u64: 2 ** 40 + 1 },
    c: { f32: 0.5 },
    d: { bool: true },
    e: { string: 'naïve' },
    f: { strings: ['', 'x', '日本'] },
    g: { i32s: [1, 2, 3] },
    'x.attention.head_count_kv': { i32s: [4, 0] },
    'x.attention.head_count_kv.y': { i32s: [4, 0] },
    'tokenizer.ggml.tokens': { strings: ['', 'x', '日本'] },
    'tokenizer.ggml.token_type': { i32s: [1, 2 ** 32 - 2, 3] },
  };
  const gguf = await readGguf(file({ version: 2, metadata, tensors: [TENSOR], dataBytes: 68 }));
  expect(Object.fromEntries(gguf.metadata)).toEqual({
    a: 7,
    b: 2 ** 40 + 1,
    c: 0.5,
    d: true,
    e: 'naïve',
    f: new SkippedArray(3),
    g: new SkippedArray(3),
    'x.attention.head_count_kv': Int32Array.of(4, 0),
    'x.attention.head_count_kv.y': new SkippedArray(2),
    'tokenizer.ggml.tokens': ['', 'x', '日本'],
    'tokenizer.ggml.token_type': Int32Array.of(1, -2, 3),
  });
  expect(gguf.tensors[0]).toMatchObject({ shape: [2, 32], bytes: 68 });
  expect(gguf.tensors[0].offset % 32).toBe(0);
});

it('reads strings of any characters and lengths as each alone would be', async () => {
  const pieces = ['a', 'the', 'é', 'Ġb', '日本', '\u{1f600}', '\0', '\0'.repeat(9), '', '\ufffd'];
  const long = [127, 128, 300, 40_000].map((n) => 'x'.repeat(n));
  const rng = random(SEED);
  // Some hundreds in a row without what is read one by one, then with it.
  const plain = Array.from({ length: 1500 }, () => pieces[rng.integer(9)].repeat(3));
  const mixed = Array.from({ length: 1500 }, (_, i) => `${i}${pieces[i % 10]}`);
  const ascii = Array.from({ length: 600 }, (_, i) => `token ${i}`);
  const strings = [...ascii, ...plain, ...mixed, ...long, ...plain];
  const tensors = [TENSOR];
  const metadata = { 'tokenizer.ggml.tokens': { strings } };
  const gguf = await readGguf(file({ metadata, tensors, dataBytes: 68 }));
  expect(gguf.metadata.get('tokenizer.ggml.tokens')).toEqual(strings);
  // Bytes that are no UTF-8 become what Buffer makes of them, and move nothing behind them.
  const some = { strings: [...ascii.slice(0, 40), 'é!', 'é', 'behind'] };
  const bad = ggufFile({ metadata: { ...metadata, 'tokenizer.ggml.tokens': some } });
  const at = bad.indexOf(Buffer.from('é!'));
  bad[at] = 0x41;
  const read = (await readGguf(write(folder, 'bad.gguf', bad))).metadata;
  const expected = [...some.strings.slice(0, 40), 'A\ufffd!', 'é', 'behind'];
  expect(read.get('tokenizer.ggml.tokens')).toEqual(expected);
});

it.each<[string, GgufSpec, string, RegExp]>([
  ['another magic', { magic: 'GGML' }, 'ERR_MODEL_FORMAT', /magic/],
  ['version 1', { version: 1 }, 'ERR_MODEL_UNSUPPORTED', /version 1/],
  ['big endian', { version: 3 << 24 }, 'ERR_MODEL_UNSUPPORTED', /big-endian/],
  ['an unknown type', { tensors: [{ ...TENSOR, type: 99 }] }, 'ERR_MODEL_UNSUPPORTED', /type 99/],
  [
    'half blocks',
    { tensors: [{ ...TENSOR, dims: [33] }], dataBytes: 99 },
    'ERR_MODEL_FORMAT',
    /shape/,
  ],
  ['no dimension', { tensors: [{ ...TENSOR, dims: [] }] }, 'ERR_MODEL_FORMAT', /dimensions/],
  [
    'five dimensions',
    { tensors: [{ ...TENSOR, dims: [32, 1, 1, 1, 1] }] },
    'ERR_MODEL_FORMAT',
    /dim/,
  ],
  [
    'huge dimensions',
    { tensors: [{ ...TENSOR, dims: [2 ** 33, 2 ** 33] }] },
    'ERR_MODEL_FORMAT',
    /shape/,
  ],
  ['data past the end', { tensors: [TENSOR], dataBytes: 67 }, 'ERR_MODEL_FORMAT', /truncated/],
  [
    'an offset past it',
    { tensors: [{ ...TENSOR, offset: 2 ** 52 }], dataBytes: 68 },
    'ERR_MODEL_FORMAT',
    /trunc/,
  ],
  [
    'the same name twice',
    { tensors: [TENSOR, TENSOR], dataBytes: 200 },
    'ERR_MODEL_FORMAT',
    /twice/,
  ],
  [
    'an overlap',
    { tensors: [TENSOR, { ...TENSOR, name: 'u', offset: 32 }], dataBytes: 200 },
    'ERR_MODEL_FORMAT',
    /overlap/,
  ],
  ...[0, 48, 131072].map((u32): [string, GgufSpec, string, RegExp] => [
    `alignment ${u32}`,
    { metadata: { 'general.alignment': { u32 } } },
    'ERR_MODEL_FORMAT',
    /alignment/,
  ]),
])('%s is refused by name', async (_, spec, code, why) => {
  const path = file(spec);
  const error = await refusal(readGguf(path));
  expect(error.code).toBe(code);
  expect(error.message).toMatch(why);
  expect(error.message).toContain(path);
});

it('claims that the file cannot hold are refused before memory is taken', async () => {
  const good = ggufFile({ metadata: { k: { strings: ['a', 'b'] } } });
  const claims: [number, string][] = [
    [8, 'tensor count'],
    [16, 'metadata count'],
    [24, 'key'],
    [41, 'items'],
  ];
  for (const [at, what] of claims) {
    for (const n of [2 ** 62, 2 ** 40, 2 ** 31]) {
      const bad = Buffer.from(good);
      bad.writeBigUInt64LE(BigInt(n), at);
      const error = await refusal(readGguf(write(folder, 'claim.gguf', bad)));
      expect([what, error.code]).toEqual([what, 'ERR_MODEL_FORMAT']);
    }
  }
});

it('arrays that nobody reads take no memory, however long', async () => {
  const head = ggufFile({ metadata: { a: { i32s: [] } } });
  const long = Buffer.from(head);
  const count = head.indexOf('a') + 1 + 4 + 4; // behind the key, its type, the items' type
  const path = write(folder, 'long.gguf', long);
  for (const [kind, bytes, code] of [
    [0, 1, undefined], // bytes: stepped over
    [12, 8, undefined], // doubles
    [8, 8, 'ERR_MODEL_FORMAT'], // texts: too many to look at
    [9, 12, 'ERR_MODEL_FORMAT'],
  ] as const) {
    long.writeUInt32LE(kind, count - 4);
    long.writeBigUInt64LE(BigInt(2e8), count);
    write(folder, 'long.gguf', long);
    truncateSync(path, count + 8 + 2e8 * bytes);
    const before = process.memoryUsage().rss;
    const outcome = await readGguf(path).then(
      ({ metadata }) => metadata.get('a'),
      (error) => error.code,
    );
    expect(outcome).toEqual(code ?? new SkippedArray(2e8));
    expect(process.memoryUsage().rss - before).toBeLessThan(64 << 20);
  }
});

it('truncated anywhere is refused', async () => {
  const whole = readFileSync(FIXTURE);
  const path = join(folder, 'cut.gguf');
  for (let at = 0; at < whole.length; at += 1 + Math.floor(at / 7)) {
    write(folder, 'cut.gguf', whole.subarray(0, at));
    expect((await refusal(readGguf(path))).code).toBe('ERR_MODEL_FORMAT');
  }
});

it('a vocabulary of 150,000 tokens leaves the event loop its turns', async () => {
  const strings = Array.from({ length: 150_000 }, (_, i) => `token ${i}`);
  const merges = Array.from({ length: 280_000 }, (_, i) => `a${i} b${i}`);
  const path = file({
    metadata: {
      'tokenizer.ggml.tokens': { strings },
      'tokenizer.ggml.merges': { strings: merges },
      'tokenizer.ggml.token_type': { i32s: Array(150_000).fill(1) },
    },
  });
  const { value, turns, longest } = await watchEventLoop(() => readGguf(path));
  expect(value.metadata.get('tokenizer.ggml.tokens')).toHaveLength(150_000);
  console.log(`gguf: ${turns} turns, the longest ${longest.toFixed(1)} ms`);
  expect(turns).toBeGreaterThan(10);
});

/** Parts of the server by themselves. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KvGroups } from '../../lib/core/kv-groups.js';
import type { LLM } from '../../lib/index.js';
import { parseBody } from '../../lib/server/body.js';
import type { DeltaEvent, GenerationEvent } from '../../lib/server/engine-events.js';
import { CompletionLogprobs, TokenWriter } from '../../lib/server/logprobs.js';
import { Mailbox } from '../../lib/server/mailbox.js';
import { messagesOf as blocksOf } from '../../lib/server/message-blocks.js';
import { engineSeed, kvCapacity, restOfContext } from '../../lib/server/params.js';
import { chatForms } from '../../lib/server/prompt-input.js';
import { ResponseStore } from '../../lib/server/response-store.js';
import { modelList } from '../../lib/server/schemas/answers.js';
import { chatAnswer, chatBody } from '../../lib/server/schemas/chat.js';
import { completionAnswer, completionBody } from '../../lib/server/schemas/completions.js';
import { generateAnswer, generateBody } from '../../lib/server/schemas/generate.js';
import { int64Paths } from '../../lib/server/schemas/int64.js';
import { messageAnswer } from '../../lib/server/schemas/messages.js';
import { responseAnswer, responseBody } from '../../lib/server/schemas/responses.js';
import { inWireNames } from '../../lib/server/wire-names.js';
import { dataOf, type Json, serveDemo, serveModels, type TestServer } from './support.js';

let server: TestServer;
let llm: LLM;
beforeAll(async () => {
  server = await serveDemo({ enableForceIncludeUsage: true, pingIntervalMs: 0 });
  llm = server.llm;
});
afterAll(() => server.close());

describe('tokens', () => {
  it('have the bytes that a text consists of, whole characters or not', async () => {
    const writer = new TokenWriter(llm.tokenizer);
    for (const text of [
      'The sea',
      'naïve — “𝄞” 🐋 日本',
      '\u0000\u001f\u007f\u00ad\u0100',
      'ÿþ\n\t ',
    ]) {
      const ids = await llm.tokenizer.encode(text, { addSpecialTokens: false });
      const bytes = ids.flatMap((id) => writer.text(id).bytes);
      expect(Buffer.from(bytes).toString()).toBe(text);
    }
    const whale = await llm.tokenizer.encode('🐋', { addSpecialTokens: false });
    expect(whale.length).toBeGreaterThan(1);
    const entry = { tokenId: whale[0], logprob: Number.NEGATIVE_INFINITY, rank: 1, top: [] };
    expect(writer.chat(entry)).toMatchObject({ token: '\ufffd', logprob: -9999, bytes: [0xf0] });
  });

  it('have the logprobs that the library gives, in every protocol', async () => {
    const params = { maxTokens: 3, temperature: 0, logprobs: 2, ignoreEos: true };
    const { outputs } = await llm.generate('The sea', params);
    const wish = {
      prompt: 'The sea',
      max_tokens: 3,
      temperature: 0,
      logprobs: 2,
      ignore_eos: true,
    };
    const { choices } = await server.json('/v1/completions', wish);
    const { token_logprobs, top_logprobs } = choices[0].logprobs;
    expect(token_logprobs).toEqual(outputs[0].logprobs?.map(({ logprob }) => logprob));
    expect(top_logprobs.map((top: object) => Object.values(top))).toEqual(
      outputs[0].logprobs?.map(({ top }) => top.map(({ logprob }) => logprob)),
    );
  });
});

it('tokens may be called as members of every object are', () => {
  const writer = { token: (id: number) => ['constructor', '__proto__'][id], width: () => 1 };
  const top = [0, 1].map((tokenId) => ({ tokenId, logprob: -1 - tokenId }));
  const columns = new CompletionLogprobs(writer as Json).columns(
    [{ ...top[0], rank: 1, top }],
    [0],
  );
  expect(JSON.stringify(columns.top_logprobs)).toBe('[{"constructor":-1,"__proto__":-2}]');
});

describe('a body', () => {
  it('keeps the seed of its outermost object as it is written', () => {
    const seedOf = (json: string) => parseBody(json, [['seed']]).seed;
    expect(seedOf('{"a":{"seed":9007199254740993},"seed":9007199254740995}')).toBe(
      9007199254740995n,
    );
    expect(seedOf('{"seed" : -9223372036854775808 ,"b":"\\"seed\\":1"}')).toBe(
      -9223372036854775808n,
    );
    expect(seedOf('{"seed":1,"se\\u0065d":18446744073709551615}')).toBe(18446744073709551615n);
    expect(seedOf('{"seed":5,"x":["{"]}')).toBe(5);
    expect(seedOf('{"seed":1e300}')).toBe(1e300);
  });

  it('keeps those that its schema has further in, and leaves other numbers alone', () => {
    const paths = int64Paths(generateBody);
    expect(paths).toEqual([['sampling_params', 'seed']]);
    for (const schema of [chatBody, completionBody, responseBody]) {
      expect(int64Paths(schema)).toEqual([['seed']]);
    }
    const parse = (json: string) => parseBody(json, paths) as Json;
    const big = '9007199254740993';
    const inner = `{"x":{"seed":1},"seed" : ${big}, "n":[{"seed":2}]}`;
    expect(parse(`{"sampling_params":${inner},"seed":${big}}`)).toEqual({
      sampling_params: { x: { seed: 1 }, seed: BigInt(big), n: [{ seed: 2 }] },
      seed: Number(big),
    });
    const twice = `{"sampling_params":{"seed":1${big}},"sampling_params":{"seed":${big}0}}`;
    expect(parse(twice).sampling_params.seed).toBe(BigInt(`${big}0`));
    expect(parse(`{"sampling_params":{"seed":${big},"seed":1e30}}`).sampling_params.seed).toBe(
      1e30,
    );
    expect(parse('{"sampling_params":"seed"}')).toEqual({ sampling_params: 'seed' });
  });

  it('has a seed of the engine for each seed', () => {
    expect([0, 7, 2 ** 40].map(engineSeed)).toEqual([0, 7, 2 ** 40]);
    expect(engineSeed('9007199254740993')).toBe(engineSeed(9007199254740993n));
    const seeds = [-1, -2, 2n ** 63n - 1n, 2n ** 62n, Number.MAX_SAFE_INTEGER].map(engineSeed);
    expect(new Set(seeds).size).toBe(5);
    for (const seed of seeds) expect(Number.isSafeInteger(seed + 128) && seed >= 0).toBe(true);
  });

  it('is spoken of in its own words', () => {
    expect(inWireNames('topP must be above 0; maxTokens')).toBe(
      'top_p must be above 0; max_tokens',
    );
    expect(inWireNames('no stop_topP here')).toBe('no stop_topP here');
    const sentence = 'structuredOutputs.jsonObject and toolChoice';
    expect(inWireNames(sentence)).toBe('structured_outputs.json_object and tool_choice');
    expect(inWireNames(sentence, 'guided_json')).toBe('guided_json and tool_choice');
  });
});

describe('a mailbox', () => {
  const delta = (text: string, sample = 0): DeltaEvent => ({
    ...{ type: 'delta', prompt: 0, sample, text, tokenIds: [text.length] },
    ...{ pieces: [{ type: 'content', text }], numReasoningTokens: 0 },
  });
  const end: GenerationEvent = {
    type: 'end',
    prompt: 0,
    sample: 0,
    reason: 'stop',
    stopReason: null,
  };

  it('puts what waits together, keeps the order, and ends', async () => {
    const box = new Mailbox(1000);
    for (const event of [delta('a'), delta('x', 1), delta('bc'), end]) box.push(event);
    expect(await box.take()).toEqual([{ ...delta('abc'), tokenIds: [1, 2] }, delta('x', 1), end]);
    const waits = box.take();
    box.push(delta('d', 1));
    expect(await waits).toEqual([delta('d', 1)]);
    box.push(delta('e', 1));
    box.end();
    expect([await box.take(), await box.take()]).toEqual([[delta('e', 1)], null]);
  });

  it('puts pieces together that are of the same kind and call, and no others', async () => {
    const box = new Mailbox(1000);
    const args = (index: number, json: string) => ({ type: 'arguments', index, json }) as const;
    const begun = { type: 'call', index: 1, id: 'c', name: 'f' } as const;
    const thought = { type: 'reasoning', text: 'a' } as const;
    const said = { type: 'content', text: 'b' } as const;
    const steps = [[thought], [thought, said], [args(0, '{')], [args(0, '}'), begun, args(1, '{')]];
    for (const pieces of steps) box.push({ ...delta(''), pieces: [...pieces] });
    const [{ pieces }] = (await box.take()) as Json;
    expect(pieces).toEqual([
      { type: 'reasoning', text: 'aa' },
      said,
      args(0, '{}'),
      begun,
      args(1, '{'),
    ]);
  });

  it('takes what a step brings where nothing waits, however long, and no more', async () => {
    const box = new Mailbox(10);
    const long = 'a'.repeat(100);
    expect([0, 1, 2].map((sample) => box.push(delta(long, sample)))).toEqual([true, true, true]);
    expect(box.push({ ...delta(long), prompt: 1 })).toBe(false);
    const [, , , other] = (await box.take()) ?? [];
    expect(other).toMatchObject({ prompt: 1, text: long });
    expect([box.push({ ...delta(long), prompt: 1 }), box.push(delta(long))]).toEqual([true, false]);
  });

  it('is too full only if its reader has had a turn and has not taken', async () => {
    const box = new Mailbox(10);
    const long = 'a'.repeat(100);
    for (const isReading of [true, false]) {
      expect([box.push(delta(long)), box.push(delta(long))]).toEqual([true, false]);
      const isFull = box.staysFull();
      if (isReading) await box.take();
      expect(await isFull).toBe(!isReading);
    }
  });

  it('says when too much waits, counts anew when it was emptied, and fails once', async () => {
    const box = new Mailbox(40);
    const long = 'a'.repeat(20);
    // The first finds nothing that waits, and does not count.
    expect([1, 2, 3].map(() => box.push(delta(long)))).toEqual([true, true, false]);
    expect(await box.staysFull()).toBe(true);
    await box.take();
    expect([box.push(delta(long)), await box.staysFull()]).toEqual([true, false]);
    box.fail(new Error('first'));
    box.fail(new Error('second'));
    await expect(box.take()).rejects.toThrow('first');
  });
});

it('responses are kept up to a number and up to bytes, the newest', () => {
  const stored = (n: number) => ({ response: { text: 'x'.repeat(n) }, messages: [] });
  const few = new ResponseStore(2, 1e6);
  for (const id of ['a', 'b', 'c']) few.set(id, stored(1));
  expect(['a', 'b', 'c'].map((id) => few.get(id) !== undefined)).toEqual([false, true, true]);
  const small = new ResponseStore(100, 1000);
  for (const id of ['a', 'b', 'c']) small.set(id, stored(400));
  expect([small.size, small.get('a')]).toEqual([2, undefined]);
  small.set('d', stored(2000));
  expect([small.size, small.delete('b'), small.delete('b')]).toEqual([2, true, false]);
  small.set('e', stored(400));
  expect(small.size).toBe(2);
});

it('a conversation is offered as it is first, then as strict templates want it', () => {
  const forms = (messages: object[]) =>
    [...chatForms(messages as Json, {})].map((form) =>
      (form as Json).messages.map((m: Json) => m.role[0]).join(''),
    );
  const say = (...roles: string[]) => roles.map((role) => ({ role, content: role }));
  expect(forms(say('user', 'assistant', 'user'))).toEqual(['uau']);
  expect(forms(say('system', 'user'))).toEqual(['su']);
  expect(forms(say('user', 'system'))).toEqual(['us', 'su']);
  expect(forms(say('user', 'user'))).toEqual(['uu', 'u']);
  expect(forms(say('developer', 'user', 'system', 'user'))).toEqual(['susu', 'suu', 'su']);
});

describe('the role developer', () => {
  const EACH = '{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}';
  const KNOWS = `${EACH}{% if 'developer' == 0 %}{% endif %}`;
  const FIRST =
    "{% set given = messages[0].role in ['system', 'developer'] %}" +
    '{% if given %}[first: {{ messages[0].content }}]{% endif %}' +
    "{% for m in messages[1 if given else 0:] %}{% if m.role == 'user' %}[{{ m.content }}]{% endif %}{% endfor %}";
  const say = (role: string, content: string) => ({ role, content });
  const said = [say('developer', 'a'), say('user', 'x'), say('system', 'b'), say('developer', 'c')];
  const rendered = (messages: object[], chatTemplate: string) => {
    const [form] = chatForms(messages as Json, { chatTemplate }, {}, llm.chatTemplate) as Json;
    return llm.applyChatTemplate(form.messages, form.template);
  };

  it('is kept where the template has a word for it, and is the system elsewhere', () => {
    expect(rendered(said, EACH)).toBe('[system: a][user: x][system: b][system: c]');
    expect(rendered(said, KNOWS)).toBe('[developer: a][user: x][system: b][developer: c]');
    const within = `${EACH}{{ 'what a developer says' if false }}`;
    expect(rendered(said, within)).toBe(rendered(said, EACH));
  });

  it('loses no message to a template that looks for instructions in the first only', () => {
    expect(rendered(said, FIRST)).toBe('[first: a\n\nb\n\nc][x]');
    expect(rendered([say('user', 'x'), say('developer', 'a')], FIRST)).toBe('[first: a][x]');
    expect(rendered([say('developer', 'a'), say('user', 'x')], FIRST)).toBe('[first: a][x]');
  });

  it.each(['/v1/chat/completions', '/v1/responses', '/tokenize'])('of %s', async (path) => {
    const own = await serveModels({ own: llm }, { chatTemplate: FIRST });
    const messages = [say('developer', 'a'), say('developer', 'b'), say('user', 'x')];
    const [tokens] = [await llm.encode('[first: a\n\nb][x]', { addSpecialTokens: false })];
    const body = path === '/v1/responses' ? { input: messages } : { messages };
    const answer = await own.json(path, { ...body, max_tokens: 1, max_output_tokens: 1 });
    const { usage = {}, count } = answer;
    expect(count ?? usage.prompt_tokens ?? usage.input_tokens).toBe(tokens.length);
  });
});

it('a system message among those of Anthropic stays where it is', () => {
  const turn = (role: string, content: string) => ({ role, content });
  const said = [
    turn('user', 'a'),
    turn('assistant', 'b'),
    turn('system', 'late'),
    turn('user', 'c'),
  ];
  expect(blocksOf({ messages: said } as Json)).toEqual(said);
  expect(blocksOf({ system: 'first', messages: said } as Json)).toEqual([
    turn('system', 'first'),
    ...said,
  ]);
});

it('blocks of Anthropic become messages, and those that cannot are refused by name', () => {
  const of = (...content: object[]) =>
    blocksOf({ messages: [{ role: 'user', content }] } as Json) as Json;
  const result = { type: 'tool_result', tool_use_id: 'c', content: 'no such file' };
  for (const isError of [undefined, null, false, true]) {
    expect(of({ ...result, is_error: isError })).toEqual([
      {
        role: 'tool',
        tool_call_id: 'c',
        content: isError ? 'Error: no such file' : 'no such file',
      },
    ]);
  }
  expect(() => of({ ...result, is_error: 'yes' })).toThrow(/is_error must be a boolean/);
  const text = { type: 'text', text: 'x' };
  const redacted = { type: 'redacted_thinking', data: 'c2VjcmV0' };
  expect(of(redacted, text)).toEqual([{ role: 'user', content: [text] }]);
  expect(of(redacted)).toEqual([{ role: 'user', content: null }]);
  const reference = { type: 'tool_reference', tool_name: 'add' };
  const found = 'The tool add was found.';
  expect(of({ ...result, content: [text, reference] })).toMatchObject([
    { role: 'tool', content: `x\n${found}` },
  ]);
  expect(of(reference, text)).toMatchObject([{ content: [{ type: 'text', text: found }, text] }]);
  for (const content of [[{ type: 'tool_reference' }], [{ ...reference, tool_name: 5 }]]) {
    expect(() => of({ ...result, content })).toThrow(/must have a tool_name/);
    expect(() => of(...content)).toThrow(/must have a tool_name/);
  }
});

it('streams say their usage where the server was told to', async () => {
  const body = { messages: [{ role: 'user', content: 'x' }], max_tokens: 2 };
  const chunks = dataOf(await server.frames('/v1/chat/completions', body));
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 2 } });
  const stream_options = { include_usage: false };
  const asked = dataOf(await server.frames('/v1/chat/completions', { ...body, stream_options }));
  expect(asked.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 2 } });
});

it('answers are what the document of the server says of them, and nothing more', async () => {
  const messages = [{ role: 'user', content: 'x' }];
  const wish = {
    max_tokens: 2,
    return_token_ids: true,
    return_prompt_text: true,
    prompt_logprobs: 1,
  };
  const strictly = (schema: Json, value: unknown) => schema.strict().parse(value);
  const chat = { messages, ...wish, logprobs: true, top_logprobs: 1 };
  strictly(chatAnswer, await server.json('/v1/chat/completions', chat));
  strictly(
    completionAnswer,
    await server.json('/v1/completions', { prompt: 'x', ...wish, logprobs: 1 }),
  );
  strictly(modelList, await (await fetch(`${server.url}/v1/models`)).json());
  strictly(messageAnswer, await server.json('/v1/messages', { messages, max_tokens: 2 }));
  responseAnswer.parse(await server.json('/v1/responses', { input: 'x', max_output_tokens: 2 }));
  const rendered = strictly(generateBody, await server.json('/v1/chat/completions/render', chat));
  strictly(generateAnswer, await server.json('/inference/v1/generate', rendered));
});

describe('tokens that nobody has limited', () => {
  const window = { window: 1024, blockSize: 16, numLayers: 10 };
  const kvGroups = [...Array(6).fill(window), { window: 0, blockSize: 16, numLayers: 10 }];
  const of = (numBlocks: number, n: number, maxNumBatchedTokens = 2048) => {
    const info = { maxModelLen: 32_768, blockSize: 16, numBlocks, maxNumBatchedTokens, kvGroups };
    return restOfContext({ info } as unknown as LLM, n);
  };
  const blocksOf = (prompt: number, tokens: number, n: number) => {
    const groups = kvGroups.map(({ window: w, blockSize }) => ({ window: w, blockSize }));
    const sizes = { maxModelLen: 32_768, maxNumBatchedTokens: 2048, longPrefillThreshold: 0 };
    const all = new KvGroups({ groups, blockSize: 16, ...sizes });
    return all.worstCase(prompt, Math.min(32_768, prompt + tokens), n);
  };

  it('are those of the context for one, and what the pool holds for several', () => {
    expect(of(5000, 1)).toBe(32_768);
    expect(of(1_000_000, 8)).toBe(32_768);
    for (const [numBlocks, n] of [
      [6000, 2],
      [9000, 4],
      [20_000, 8],
    ]) {
      const most = of(numBlocks, n);
      expect(most).toBeGreaterThan(1);
      expect(most).toBeLessThan(32_768);
      for (let prompt = 1; prompt < 32_768; prompt += 97) {
        expect(blocksOf(prompt, most, n)).toBeLessThan(numBlocks);
      }
      expect(blocksOf(32_768 - most - 64, most + 64, n)).toBeGreaterThanOrEqual(numBlocks);
    }
  });

  it('of all contexts together are what a router computes of blocks and their size', () => {
    const whole = { window: 0, blockSize: 16 };
    const capacity = (groups: object[], numBlocks: number, maxModelLen = 1024) =>
      kvCapacity({
        ...{ maxModelLen, numBlocks, maxNumBatchedTokens: 256, blockSize: 16 },
        kvGroups: groups as Json,
      });
    // One group: its blocks, but for the null block.
    for (const numBlocks of [2, 64, 65, 66, 1000]) {
      expect(capacity([whole], numBlocks)).toBe((numBlocks - 1) * 16);
    }
    // Two that keep all share the pool; of a long context a window keeps little.
    expect(capacity([whole, whole], 129)).toBe(1024);
    const window = { window: 64, blockSize: 16 };
    const most = Math.ceil((64 - 1 + 256) / 16) + 1;
    expect(capacity([whole, window], 1 + 64 + most)).toBe(1024);
    expect(capacity([whole, window], 1 + 2 * (64 + most) + 6)).toBe(2048 + 3 * 16);
    expect(capacity([whole, window], 64 + most)).toBeLessThan(1024);
  });
});

it('a stream may have several tokens in each frame after the first, and the same text', async () => {
  const each = await serveDemo();
  const several = await serveDemo({ streamInterval: 5 });
  const body = { prompt: 'One', max_tokens: 16, ignore_eos: true, return_token_ids: true, seed: 3 };
  const read = async (of: TestServer) => {
    const frames = await of.frames('/v1/completions', body);
    const chunks = frames.slice(0, -1).map((frame) => JSON.parse(frame.slice(6)).choices[0]);
    const text = chunks.map((choice) => choice.text).join('');
    return { text, sizes: chunks.map((choice) => choice.token_ids?.length ?? 0) };
  };
  const [fine, coarse] = [await read(each), await read(several)];
  expect(coarse.text).toBe(fine.text);
  expect(coarse.sizes.filter(Boolean)).toEqual([1, 5, 5, 5]);
  await Promise.all([each.close(), several.close()]);
});

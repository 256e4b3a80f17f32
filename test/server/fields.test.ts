/** No field that would change the answer is passed over, and none that says nothing is refused. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataOf, type Json, serveDemo, type TestServer } from './support.js';

let server: TestServer;
beforeAll(async () => {
  server = await serveDemo();
});
afterAll(() => server.close());

const messages = [{ role: 'user', content: 'The sea' }];
const CHAT = { messages, max_tokens: 2 };
const BODIES: Readonly<Record<string, object>> = {
  '/v1/chat/completions': CHAT,
  '/v1/chat/completions/render': CHAT,
  '/v1/completions': { prompt: 'The sea', max_tokens: 2 },
  '/v1/responses': { input: 'The sea', max_output_tokens: 2 },
  '/v1/messages': CHAT,
  '/v1/messages/count_tokens': { messages },
  '/tokenize': { messages },
  '/inference/v1/generate': { token_ids: [5], sampling_params: { max_tokens: 2 } },
};

const result = (content: unknown) => [{ type: 'tool_result', tool_use_id: 'x', content }];
const user = (content: unknown) => ({ messages: [{ role: 'user', content }] });
const image = { type: 'image', source: {} };
const sampling = (given: object) => ({ sampling_params: { max_tokens: 2, ...given } });
const output = (given: unknown) => ({
  input: [
    { role: 'user', content: 'x' },
    { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
    { type: 'function_call_output', call_id: 'c', output: given },
  ],
});

const DRAWN = { logits_processors: ['x'], typical_p: 0.9, mirostat: 2 };
const MORE = { dynatemp_range: 0.5, xtc_probability: 0.1, dry_multiplier: 1 };

const REFUSED: [path: string, body: object, param: string][] = [
  ['/tokenize', { tools: [{ type: 'function' }] }, 'tools[0].function'],
  ['/v1/chat/completions/render', { tool_choice: 'required' }, 'tool_choice'],
  ['/v1/completions', { reasoning_effort: 'low' }, 'reasoning_effort'],
  ['/inference/v1/generate', sampling({ thinking_token_budget: 5 }), 'thinking_token_budget'],
  ...['/v1/chat/completions', '/v1/completions', '/v1/responses'].flatMap((path) =>
    Object.entries({ ...DRAWN, ...MORE }).map(([name, value]): [string, object, string] => [
      path,
      { [name]: value },
      name,
    ]),
  ),
  ['/inference/v1/generate', { features: { mm_hashes: {} } }, 'features'],
  ['/inference/v1/generate', sampling({ truncate_prompt_tokens: 1 }), 'truncate_prompt_tokens'],
  ['/inference/v1/generate', sampling({ echo: true }), 'echo'],
  [
    '/inference/v1/generate',
    { ...sampling({ prompt_logprobs: 1 }), stream: true },
    'prompt_logprobs',
  ],
  ['/v1/messages', { mcp_servers: [{ type: 'url' }] }, 'mcp_servers'],
  ['/v1/messages', { container: 'x' }, 'container'],
  ['/v1/messages', { output_config: { format: { type: 'text' } } }, 'output_config.format.type'],
  ['/v1/messages', { system: [image] }, 'system'],
  ['/v1/messages/count_tokens', user(result([image])), 'messages.0.content'],
  ['/v1/responses', output([{ type: 'input_image', image_url: 'x' }]), 'input.2.output'],
  ['/v1/responses', { guided_json: [] }, 'guided_json'],
  ['/v1/chat/completions', { messages: [{ role: 'eos', content: 'x' }] }, 'messages[0].role'],
  ['/v1/responses', { input: [{ role: 'EOS', content: 'x' }] }, 'messages[0].role'],
  ['/tokenize', { messages: [{ role: 'pad', content: 'x' }] }, 'messages[0].role'],
];

it.each(REFUSED)('%s %j names %s', async (path, more, param) => {
  const body = { ...BODIES[path], ...more };
  const answer = await server.post(path, body);
  const { error } = (await answer.json()) as Json;
  expect(answer.status).toBe(400);
  if (path.startsWith('/v1/messages')) expect(error.message).toContain(param);
  else expect(error.param).toBe(param);
});

const NEUTRAL = {
  ...{ typical_p: 1, mirostat: 0, dynatemp_range: 0, xtc_probability: 0, dry_multiplier: 0 },
  ...{ grammar: '', logits_processors: [], json_schema: null, tools: [] },
};

const TAKEN: [path: string, body: object][] = [
  ...Object.keys(BODIES).map((path): [string, object] => [path, NEUTRAL]),
  ['/v1/messages', { output_config: { effort: 'low' }, mcp_servers: [], container: null }],
  ['/v1/messages', user(result([{ type: 'text', text: '5' }]))],
  ['/v1/messages', user(result([{ type: 'tool_reference', tool_name: 'add' }]))],
  ['/v1/messages', user([{ type: 'redacted_thinking', data: 'x' }])],
  ['/v1/responses', output([{ type: 'input_text', text: '5' }])],
  ['/v1/chat/completions', { messages: [{ role: 'ipython', content: 'x' }] }],
];

it.each(TAKEN)('%s %j asks for nothing that is not there', async (path, more) => {
  await server.json(path, { ...BODIES[path], ...more });
});

it('responses draw as every other route does', async () => {
  const draw = {
    ...{ seed: '9007199254740993', presence_penalty: 1.5, min_p: 0.01, ignore_eos: true },
    ...{ logit_bias: { 300: 5 }, repetition_penalty: 1.1, stop_token_ids: [9], min_tokens: 3 },
  };
  const { output: items } = await server.json('/v1/responses', {
    ...{ input: 'The sea', max_output_tokens: 12 },
    ...draw,
  });
  const chat = await server.json('/v1/chat/completions', { messages, max_tokens: 12, ...draw });
  expect(items[0].content[0].text).toBe(chat.choices[0].message.content);
  const plain = await server.json('/v1/chat/completions', { messages, max_tokens: 12, seed: 3 });
  expect(plain.choices[0].message.content).not.toBe(chat.choices[0].message.content);
});

it('seeds that differ in their last bit differ, wherever they stand', async () => {
  const generate = async (seed: string) => {
    const params = `{"max_tokens": 12, "seed": ${seed}}`;
    const body = `{"token_ids": [2629, 5], "sampling_params": ${params}}`;
    const answer = await server.post('/inference/v1/generate', body);
    return ((await answer.json()) as Json).choices[0].token_ids;
  };
  const one = await generate('9007199254740993');
  expect(await generate('"9007199254740993"')).toEqual(one);
  expect(await generate('9007199254740992')).not.toEqual(one);
});

it('a call of a function by its old name is a call of a tool', async () => {
  const call = { name: 'whale', arguments: '{"n": 1}' };
  const turns = (members: object) => [
    ...messages,
    { role: 'assistant', content: null, ...members },
  ];
  const chat_template = '{% for m in messages %}{{ (m.tool_calls or []) | tojson }}{% endfor %}';
  const own = await serveDemo({ chatTemplate: chat_template });
  const textOf = async (members: object) =>
    (
      await own.json('/v1/chat/completions', {
        ...CHAT,
        messages: turns(members),
        return_prompt_text: true,
      })
    ).prompt_text;
  const text = await textOf({ function_call: call });
  expect(text).toContain('whale');
  expect(text).toBe(await textOf({ tool_calls: [{ type: 'function', function: call }] }));
  await own.close();
});

describe('the text of a prompt', () => {
  it('is told of ids, too', async () => {
    const prompt = await server.llm.tokenizer.encode('The sea');
    const wish = { max_tokens: 1, return_prompt_text: true };
    for (const body of [
      { prompt },
      { prompt: 'The sea', add_special_tokens: false },
      { prompt: 'Call me. The sea', truncate_prompt_tokens: 2, echo: true },
    ]) {
      const { choices } = await server.json('/v1/completions', { ...body, ...wish });
      expect(choices[0].prompt_text).toMatch(/^( ?The)? sea$/);
      const [first] = dataOf(await server.frames('/v1/completions', { ...body, ...wish }));
      expect(first.choices[0].prompt_text).toBe(choices[0].prompt_text);
      if (body.echo) expect(choices[0].text.startsWith(choices[0].prompt_text)).toBe(true);
    }
    const chat = { messages, ...wish };
    const whole = await server.json('/v1/chat/completions', chat);
    for (const more of [{ truncate_prompt_tokens: 1000 }, { add_special_tokens: false }]) {
      const answer = await server.json('/v1/chat/completions', { ...chat, ...more });
      expect(answer.prompt_text).toBe(whole.prompt_text);
      const [first] = dataOf(await server.frames('/v1/chat/completions', { ...chat, ...more }));
      expect(first.prompt_text).toBe(whole.prompt_text);
    }
  });

  it('that is cut to fit leaves room for the token that none is asked of', async () => {
    const prompt = 'sea '.repeat(2000);
    for (const max_tokens of [0, 1]) {
      const { usage } = await server.json('/v1/completions', {
        ...{ prompt, max_tokens, echo: true, truncate_prompt_tokens: -1 },
      });
      expect(usage.prompt_tokens).toBe(server.llm.info.maxModelLen - 1);
    }
  });
});

describe('a request that is only rendered', () => {
  it.each([
    ['presence_penalty', 3],
    ['allowed_token_ids', [1e9]],
    ['allowed_token_ids', [{}]],
    ['stop_token_ids', ['a']],
    ['min_tokens', 5],
  ])('is refused for %s %j as if it were to be computed', async (name, value) => {
    for (const path of ['/v1/chat/completions', '/v1/completions']) {
      const body = { ...BODIES[path], [name]: value };
      const { error } = await server.json(path, body, 400);
      expect([path, error.param]).toEqual([path, name]);
      expect(await server.json(`${path}/render`, body, 400)).toMatchObject({ error });
    }
  });
});

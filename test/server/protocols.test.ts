/** Each protocol byte for byte: the order of frames, the members of answers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataOf, eventsOf, type Json, serveDemo, type TestServer } from './support.js';

let server: TestServer;
beforeAll(async () => {
  server = await serveDemo();
});
afterAll(() => server.close());

const messages = [{ role: 'user', content: 'The sea' }];
const CHAT = '/v1/chat/completions';
const greedy = { temperature: 0, max_tokens: 6, ignore_eos: true };

describe('chat completions', () => {
  it('answer with every member that clients read', async () => {
    const answer = await server.json(CHAT, { model: 'octavo-demo', messages, ...greedy });
    expect(answer).toEqual({
      id: expect.stringMatching(/^chatcmpl-[0-9a-f]{32}$/),
      object: 'chat.completion',
      created: expect.any(Number),
      model: 'octavo-demo',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: expect.any(String), refusal: null },
          logprobs: null,
          finish_reason: 'length',
          stop_reason: null,
        },
      ],
      usage: {
        prompt_tokens: expect.any(Number),
        completion_tokens: 6,
        total_tokens: answer.usage.prompt_tokens + 6,
        prompt_tokens_details: { cached_tokens: 0 },
        completion_tokens_details: { reasoning_tokens: 0 },
      },
      system_fingerprint: expect.stringMatching(/^octavo-/),
      service_tier: null,
      prompt_logprobs: null,
    });
    expect(
      await server.llm.chat(messages, { temperature: 0, maxTokens: 6, ignoreEos: true }),
    ).toMatchObject({ outputs: [{ text: answer.choices[0].message.content }] });
  });

  it('stream a role, pieces and a reason for each choice, then usage, then [DONE]', async () => {
    const body = { messages, n: 2, max_tokens: 5, ignore_eos: true, seed: 3 };
    const whole = await server.json(CHAT, body);
    const stream_options = { include_usage: true };
    const chunks = dataOf(await server.frames(CHAT, { ...body, stream_options }));
    const last = chunks.pop();
    expect(last).toMatchObject({ choices: [], object: 'chat.completion.chunk' });
    expect(last.usage).toMatchObject({ completion_tokens: 10 });
    expect(new Set(chunks.map(({ id }) => id))).toEqual(new Set([last.id]));
    expect(chunks.every((chunk) => chunk.usage === null && chunk.choices.length === 1)).toBe(true);
    for (const index of [0, 1]) {
      const own = chunks.map(({ choices: [one] }) => one).filter((one) => one.index === index);
      expect(own[0]).toMatchObject({
        delta: { role: 'assistant', content: '' },
        finish_reason: null,
      });
      expect(own.at(-1)).toEqual({
        ...{ index, delta: {}, logprobs: null, finish_reason: 'length', stop_reason: null },
      });
      const pieces = own.slice(1, -1);
      expect(pieces.every(({ delta }) => Object.keys(delta).join() === 'content')).toBe(true);
      const text = pieces.map(({ delta }) => delta.content).join('');
      expect(text).toBe(whole.choices[index].message.content);
    }
  });

  it('say usage in each chunk where it is asked for, and none where it is not', async () => {
    const stream_options = { include_usage: true, continuous_usage_stats: true };
    const chunks = dataOf(await server.frames(CHAT, { messages, ...greedy, stream_options }));
    const counts = chunks.map(({ usage }) => usage.completion_tokens);
    expect(counts[0]).toBe(0);
    expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    expect(counts.at(-1)).toBe(6);
    const plain = dataOf(await server.frames(CHAT, { messages, ...greedy }));
    expect(plain.every((chunk) => !('usage' in chunk))).toBe(true);
    expect(plain.at(-1).choices).toHaveLength(1);
  });

  it('give logprobs with bytes, alternatives, ids and the prompt', async () => {
    const wishes = { logprobs: true, top_logprobs: 2, prompt_logprobs: 1, return_token_ids: true };
    const answer = await server.json(CHAT, { messages, ...greedy, ...wishes });
    const [{ logprobs, token_ids: ids, message }] = answer.choices;
    expect(logprobs.content).toHaveLength(6);
    for (const { token, logprob, bytes, top_logprobs } of logprobs.content) {
      expect(Buffer.from(bytes).toString()).toBe(token);
      expect(top_logprobs).toHaveLength(2);
      expect(top_logprobs[0]).toEqual({ token, logprob, bytes });
    }
    expect(logprobs.content.map(({ token }: Json) => token).join('')).toBe(message.content);
    expect(ids).toHaveLength(6);
    const { prompt_token_ids: promptIds, prompt_logprobs: lists } = answer;
    expect(lists[0]).toBeNull();
    expect(lists).toHaveLength(promptIds.length);
    lists.slice(1).forEach((list: Json, i: number) => {
      expect(list[promptIds[i + 1]]).toMatchObject({ logprob: expect.any(Number) });
    });
    const asIds = await server.json(CHAT, {
      ...{ messages, ...greedy, logprobs: true, return_tokens_as_token_ids: true },
    });
    const [{ logprobs: named }] = asIds.choices;
    expect(named.content.map((one: Json) => one.token)).toEqual(
      ids.map((id: number) => `token_id:${id}`),
    );
  });

  it('stop at a string, and say at which', async () => {
    const { choices } = await server.json(CHAT, { messages, ...greedy, max_tokens: 40 });
    const stop = choices[0].message.content.slice(8, 12);
    const answer = await server.json(CHAT, { messages, ...greedy, max_tokens: 40, stop });
    expect(answer.choices[0]).toMatchObject({ finish_reason: 'stop', stop_reason: stop });
    const chunks = dataOf(await server.frames(CHAT, { messages, ...greedy, max_tokens: 40, stop }));
    expect(chunks.at(-1).choices[0]).toMatchObject({ finish_reason: 'stop', stop_reason: stop });
  });

  it('go on with the last message, and repeat it where echo is asked for', async () => {
    const body = {
      messages: [...messages, { role: 'assistant', content: 'It is wide' }],
      ...greedy,
      add_generation_prompt: false,
      continue_final_message: true,
    };
    const plain = await server.json(CHAT, body);
    const echoed = await server.json(CHAT, { ...body, echo: true });
    const [said] = [plain.choices[0].message.content];
    expect(echoed.choices[0].message.content).toBe(`It is wide${said}`);
    const chunks = dataOf(await server.frames(CHAT, { ...body, echo: true }));
    expect(chunks.map(({ choices: [one] }) => one.delta.content ?? '').join('')).toBe(
      `It is wide${said}`,
    );
  });
});

describe('completions', () => {
  const path = '/v1/completions';

  it('take a text, ids, and lists of either; choices are prompt-major', async () => {
    const { tokens } = await server.json('/tokenize', { prompt: 'The sea' });
    const of = async (prompt: unknown, more = {}) => {
      const { choices } = await server.json(path, { prompt, ...greedy, ...more });
      expect(choices.map(({ index }: Json) => index)).toEqual([...choices.keys()]);
      return choices.map(({ text }: Json) => text);
    };
    const [text] = await of('The sea');
    expect(await of(tokens)).toEqual([text]);
    expect(await of([tokens])).toEqual([text]);
    expect(await of(['The sea', 'The sea'])).toEqual([text, text]);
    expect(await of(['The sea', 'A'], { n: 2 })).toHaveLength(4);
    const [other] = await of('A');
    expect(await of([tokens, 'A'], { n: 2 })).toEqual([text, text, other, other]);
  });

  it('have 16 tokens where nothing is said, and the members that clients read', async () => {
    const answer = await server.json(path, { prompt: 'The sea', ignore_eos: true });
    expect(answer.usage.completion_tokens).toBe(16);
    expect(answer).toMatchObject({
      id: expect.stringMatching(/^cmpl-/),
      object: 'text_completion',
      choices: [{ index: 0, logprobs: null, finish_reason: 'length', stop_reason: null }],
    });
  });

  it('echo the prompt, with its logprobs, and nothing more where no token is asked for', async () => {
    const body = { prompt: 'The sea, the', echo: true, logprobs: 1, max_tokens: 0 };
    const { choices, usage } = await server.json(path, body);
    const [{ text, logprobs, finish_reason }] = choices;
    expect([text, finish_reason, usage.completion_tokens]).toEqual(['The sea, the', 'length', 0]);
    const ids = await server.llm.tokenizer.encode('The sea, the');
    expect(logprobs.tokens).toHaveLength(ids.length);
    expect(logprobs.token_logprobs[0]).toBeNull();
    expect(logprobs.top_logprobs[0]).toBeNull();
    const { promptLogprobs } = await server.llm.generate('The sea, the', {
      maxTokens: 1,
      promptLogprobs: 1,
    });
    expect(logprobs.token_logprobs.slice(1)).toEqual(
      promptLogprobs?.slice(1).map((one) => one?.logprob),
    );
    logprobs.tokens.forEach((token: string, i: number) => {
      if (i > 0) expect(text.startsWith(token, logprobs.text_offset[i])).toBe(true);
    });
    const one = await server.json(path, { ...body, max_tokens: 1, temperature: 0 });
    expect(one.choices[0].logprobs.tokens.slice(0, -1)).toEqual(logprobs.tokens);
    expect(one.choices[0].text.startsWith('The sea, the')).toBe(true);
  });

  it('stream what they answer', async () => {
    const body = {
      prompt: ['The sea', 'A'],
      ...greedy,
      n: 2,
      seed: 5,
      temperature: 1,
      logprobs: 0,
      echo: true,
    };
    const whole = await server.json(path, body);
    const stream_options = { include_usage: true };
    const chunks = dataOf(await server.frames(path, { ...body, stream_options }));
    expect(chunks.pop()).toMatchObject({ choices: [], usage: whole.usage });
    whole.choices.forEach((choice: Json, index: number) => {
      const own = chunks.map(({ choices: [one] }) => one).filter((one) => one.index === index);
      expect(own.map(({ text }) => text).join('')).toBe(choice.text);
      for (const name of ['tokens', 'token_logprobs', 'text_offset', 'top_logprobs']) {
        expect(own.flatMap(({ logprobs }) => logprobs?.[name] ?? [])).toEqual(
          choice.logprobs[name],
        );
      }
      expect(own.map((one) => one.finish_reason).filter(Boolean)).toEqual(['length']);
      expect(own.at(-1).finish_reason).toBe('length');
    });
  });

  it('search with beams; n is how many', async () => {
    const body = { prompt: 'The sea', max_tokens: 6, n: 3, use_beam_search: true, temperature: 0 };
    const beams = await server.llm.beamSearch('The sea', { beamWidth: 3, maxTokens: 6 });
    const texts = beams.outputs.map(({ text }) => text);
    const { choices } = await server.json(path, body);
    expect(choices.map(({ text }: Json) => text)).toEqual(texts);
    const chunks = dataOf(await server.frames(path, body));
    const streamed = texts.map((_, i) =>
      chunks.flatMap(({ choices: [one] }) => (one.index === i ? one.text : [])).join(''),
    );
    expect(streamed).toEqual(texts);
    expect(await server.json(path, { ...body, stop: 'x' }, 400)).toMatchObject({
      error: { param: 'stop' },
    });
  });

  it('draw by seeds of 64 bits, each its own', async () => {
    const draw = async (seed: string) => {
      const answer = await server.post(path, `{"prompt":"The sea","max_tokens":12,"seed":${seed}}`);
      const { choices, error } = (await answer.json()) as Json;
      return choices?.[0].text ?? error.param;
    };
    expect(await draw('7')).toBe(
      (await server.llm.generate('The sea', { maxTokens: 12, seed: 7 })).outputs[0].text,
    );
    const seeds = ['9223372036854775807', '9223372036854775806', '-9223372036854775808', '-1'];
    const texts = await Promise.all([...seeds, ...seeds].map(draw));
    expect(texts.slice(0, 4)).toEqual(texts.slice(4));
    expect(new Set(texts).size).toBe(4);
    for (const seed of ['9223372036854775808', '1.5', '"7.0"', '1e30'])
      expect(await draw(seed)).toBe('seed');
  });

  it('cut prompts that are too long, from the side that was asked for', async () => {
    const ids = [2629, 1327, 5, 6, 7];
    const of = async (more: object) =>
      (await server.json(path, { prompt: ids, ...greedy, return_token_ids: true, ...more }))
        .choices[0];
    expect((await of({ truncate_prompt_tokens: 2 })).prompt_token_ids).toEqual([6, 7]);
    const right = { truncate_prompt_tokens: 2, truncation_side: 'right' };
    expect((await of(right)).prompt_token_ids).toEqual([2629, 1327]);
    const long = Array(3000).fill(5);
    const cut = await server.json(path, { ...greedy, prompt: long, truncate_prompt_tokens: -1 });
    expect(cut.usage.prompt_tokens).toBe(1024 - 6);
  });
});

describe('responses', () => {
  const path = '/v1/responses';
  const body = { input: 'The sea', temperature: 0, max_output_tokens: 6, model: 'octavo-demo' };

  it('come in the order that clients insist on', async () => {
    const events = eventsOf(await server.frames(path, body));
    expect(events.map(({ sequence_number: n }) => n)).toEqual([...events.keys()]);
    const types = events.map(({ type }) => type.replace('response.', ''));
    const deltas = types.filter((type) => type === 'output_text.delta');
    expect(types).toEqual([
      ...['created', 'in_progress', 'output_item.added', 'content_part.added', ...deltas],
      ...['output_text.done', 'content_part.done', 'output_item.done', 'incomplete'],
    ]);
    const whole = await server.json(path, body);
    expect(events[0].response).toMatchObject({ status: 'in_progress', output: [], usage: null });
    const last = events.at(-1).response;
    expect(Object.keys(last)).toEqual(Object.keys(whole));
    expect(last.output[0].content[0].text).toBe(whole.output[0].content[0].text);
    const text = events
      .map(({ type, delta }) => (type.endsWith('text.delta') ? delta : ''))
      .join('');
    expect(text).toBe(last.output[0].content[0].text);
    expect(last).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      usage: { output_tokens: 6 },
    });
  });

  it('go on from one before, which is kept and can be asked for', async () => {
    const first = await server.json(path, body);
    const next = await server.json(path, {
      ...body,
      input: 'And?',
      previous_response_id: first.id,
    });
    const said = first.output[0].content[0].text;
    const { outputs } = await server.llm.chat(
      [...messages, { role: 'assistant', content: said }, { role: 'user', content: 'And?' }],
      { temperature: 0, maxTokens: 6 },
    );
    expect(next.output[0].content[0].text).toBe(outputs[0].text);
    const get = (method: string) => fetch(`${server.url}${path}/${first.id}`, { method });
    expect(await (await get('GET')).json()).toEqual(first);
    expect(await (await get('DELETE')).json()).toMatchObject({ deleted: true });
    expect((await get('GET')).status).toBe(404);
    const lost = { ...body, previous_response_id: first.id };
    expect(await server.json(path, lost, 400)).toMatchObject({
      error: { param: 'previous_response_id' },
    });
    const unkept = await server.json(path, { ...body, store: false });
    expect((await fetch(`${server.url}${path}/${unkept.id}`)).status).toBe(404);
  });

  it('take items of every kind, parts, instructions and logprobs', async () => {
    const input = [
      { role: 'developer', content: [{ type: 'input_text', text: 'Be brief.' }] },
      { type: 'message', role: 'user', content: 'Hi' },
      { type: 'reasoning', id: 'r', summary: [], content: [] },
      { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
      { type: 'function_call_output', call_id: 'c', output: [{ type: 'input_text', text: '5' }] },
      { role: 'assistant', content: [{ type: 'output_text', text: 'Five.', annotations: [] }] },
      { role: 'user', content: 'And?' },
    ];
    const more = {
      instructions: 'Say it.',
      include: ['message.output_text.logprobs'],
      top_logprobs: 1,
    };
    const answer = await server.json(path, { ...body, input, ...more });
    expect(answer.instructions).toBe('Say it.');
    expect(answer.output[0].content[0].logprobs[0].top_logprobs).toHaveLength(1);
    for (const tools of [[], [{ type: 'web_search' }]]) {
      const wish = { ...body, tools, tool_choice: 'required' };
      expect((await server.json(path, wish, 400)).error.param).toBe('tool_choice');
      await server.json(path, { ...wish, tool_choice: 'auto' });
    }
    const unknown = { ...body, input: [{ type: 'item_reference', id: 'x' }] };
    expect(await server.json(path, unknown, 400)).toMatchObject({ error: { param: 'input.0' } });
  });
});

describe("Anthropic's messages", () => {
  const path = '/v1/messages';
  const body = { model: 'octavo-demo', max_tokens: 6, temperature: 0, messages };

  it('come as blocks, in their order', async () => {
    const events = eventsOf(await server.frames(path, body));
    const types = events.map(({ type }) => type);
    const deltas = types.filter((type) => type === 'content_block_delta');
    expect(types).toEqual([
      ...['message_start', 'content_block_start', ...deltas, 'content_block_stop'],
      ...['message_delta', 'message_stop'],
    ]);
    const whole = await server.json(path, body);
    expect(whole).toEqual({
      id: expect.stringMatching(/^msg_/),
      ...{ type: 'message', role: 'assistant', model: 'octavo-demo' },
      content: [{ type: 'text', text: events.map(({ delta }) => delta?.text ?? '').join('') }],
      ...{ stop_reason: 'max_tokens', stop_sequence: null },
      usage: {
        input_tokens: expect.any(Number),
        output_tokens: 6,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
      },
    });
    expect(events[0].message).toMatchObject({ content: [], stop_reason: null });
    expect(events.at(-2)).toMatchObject({
      delta: { stop_reason: 'max_tokens' },
      usage: { output_tokens: 6 },
    });
  });

  it('stop at a sequence, take systems and blocks, and count as they compute', async () => {
    const whole = await server.json(path, { ...body, max_tokens: 30 });
    const stop = whole.content[0].text.slice(8, 11);
    const stopped = await server.json(path, { ...body, max_tokens: 30, stop_sequences: [stop] });
    expect(stopped).toMatchObject({ stop_reason: 'stop_sequence', stop_sequence: stop });
    const billing = { type: 'text', text: 'x-anthropic-billing-header: cch=1234;' };
    const cache_control = { type: 'ephemeral' };
    const rich = {
      model: '',
      system: [billing, { type: 'text', text: 'Be brief.', cache_control }],
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'Hi', cache_control }] },
        { role: 'assistant', content: [{ type: 'tool_use', id: 'c', name: 'f', input: { a: 1 } }] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'c', content: '5' }] },
      ],
    };
    const count = await server.json(`${path}/count_tokens?beta=true`, rich);
    const { usage } = await server.json(path, { ...rich, max_tokens: 3 });
    expect(count.input_tokens).toBe(usage.input_tokens + usage.cache_read_input_tokens);
    const plain = { ...rich, system: 'Be brief.' };
    expect(await server.json(`${path}/count_tokens`, plain)).toEqual(count);
  });

  it('leave a late system message where it is', async () => {
    const [user] = messages;
    const late = { role: 'system', content: 'Be brief.' };
    const said = [user, { role: 'assistant', content: 'It is wide' }, late, user];
    const chat = await server.json(CHAT, { messages: said, ...greedy, return_prompt_text: true });
    expect(chat.prompt_text.indexOf('Be')).toBeGreaterThan(chat.prompt_text.indexOf('wide'));
    const { content, usage } = await server.json(path, { ...body, messages: said });
    expect(content[0].text).toBe(chat.choices[0].message.content);
    expect(usage.input_tokens + usage.cache_read_input_tokens).toBe(chat.usage.prompt_tokens);
  });

  it('go on with what the assistant has begun to say', async () => {
    const begun = { role: 'assistant', content: [{ type: 'text', text: 'It is wide' }] };
    const count = async (messages: object[]) =>
      (await server.json(`${path}/count_tokens`, { messages })).input_tokens;
    const { content, usage } = await server.json(path, {
      ...{ ...body, messages: [...messages, begun] },
    });
    const chat = await server.json(CHAT, {
      ...{ messages: [...messages, begun], max_tokens: 6, temperature: 0 },
      ...{ add_generation_prompt: false, continue_final_message: true },
    });
    expect(content[0].text).toBe(chat.choices[0].message.content);
    expect(await count([...messages, begun])).toBe(chat.usage.prompt_tokens);
    expect(usage.input_tokens + usage.cache_read_input_tokens).toBe(chat.usage.prompt_tokens);
    // A call is no text that could be gone on with.
    const call = { type: 'tool_use', id: 'c', name: 'f', input: {} };
    expect(await count([...messages, { role: 'assistant', content: [call] }])).toBeGreaterThan(0);
  });

  it('have errors of their own form', async () => {
    const { max_tokens: _, ...without } = body;
    const answer = await server.post(path, without);
    expect(answer.status).toBe(400);
    const { error, type, request_id } = (await answer.json()) as Json;
    expect([type, error.type]).toEqual(['error', 'invalid_request_error']);
    expect(request_id).toBe(answer.headers.get('x-request-id'));
    const tools = { ...body, tools: [{ input_schema: {} }] };
    expect((await server.json(path, tools, 400)).error.message).toMatch(
      /tools\.0\.name: is needed/,
    );
    expect((await server.json(path, { ...body, model: 'x' }, 404)).error.type).toBe(
      'not_found_error',
    );
  });
});

describe('ids', () => {
  it('of /tokenize and back', async () => {
    const { tokens, count, token_strs, max_model_len } = await server.json('/tokenize', {
      ...{ prompt: 'The sea', return_token_strs: true },
    });
    expect([tokens, count, max_model_len]).toEqual([
      await server.llm.tokenizer.encode('The sea'),
      3,
      1024,
    ]);
    expect(token_strs).toHaveLength(3);
    expect(await server.json('/detokenize', { tokens: tokens.slice(1) })).toEqual({
      prompt: 'The sea',
    });
    const bare = await server.json('/tokenize', { prompt: 'The sea', add_special_tokens: false });
    expect(bare.tokens).toEqual(tokens.slice(1));
    const chat = await server.json('/tokenize', { messages });
    const { usage } = await server.json(CHAT, { messages, max_tokens: 1 });
    expect(chat.count).toBe(usage.prompt_tokens);
    expect(await server.json('/tokenize', {}, 400)).toMatchObject({ error: { param: 'prompt' } });
  });

  it('rendered are computed as the request itself would be', async () => {
    const body = { messages, ...greedy, logprobs: true, stop: 'zzz', seed: 5, n: 2 };
    const rendered = await server.json(`${CHAT}/render`, body);
    const answer = await server.json('/inference/v1/generate', rendered);
    const whole = await server.json(CHAT, { ...body, return_token_ids: true });
    expect(rendered.token_ids).toEqual(whole.prompt_token_ids);
    expect(answer.choices.map(({ token_ids: ids }: Json) => ids)).toEqual(
      whole.choices.map(({ token_ids: ids }: Json) => ids),
    );
    expect(answer.choices[0].logprobs.content).toEqual(whole.choices[0].logprobs.content);
    const [first, second] = await server.json('/v1/completions/render', {
      prompt: ['The sea', [5, 6]],
    });
    expect([first.token_ids, second.token_ids]).toEqual([
      await server.llm.tokenizer.encode('The sea'),
      [5, 6],
    ]);
    const chunks = dataOf(await server.frames('/inference/v1/generate', { ...rendered }));
    const ids = chunks.flatMap(({ choices: [one] }) => (one.index === 1 ? one.token_ids : []));
    expect(ids).toEqual(whole.choices[1].token_ids);
  });
});

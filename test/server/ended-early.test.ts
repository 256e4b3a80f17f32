/** Answers that their grammar ends early: what they have stays, and each protocol says so. */
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { octavoError } from '../../lib/errors.js';
import { chatAnswer } from '../../lib/server/schemas/chat.js';
import { completionAnswer } from '../../lib/server/schemas/completions.js';
import { messageAnswer } from '../../lib/server/schemas/messages.js';
import { responseAnswer } from '../../lib/server/schemas/responses.js';
import {
  call,
  content,
  reasoning,
  type ScriptedServer,
  serveScript,
} from '../support/scripted-llm.js';
import { dataOf, eventsOf, serveDemo, type TestServer } from './support.js';

const CHAT = '/v1/chat/completions';
const RESPONSES = '/v1/responses';
const MESSAGES = '/v1/messages';
const messages = [{ role: 'user' as const, content: 'The sea' }];
const why = 'the output cannot go on after 5 tokens: it takes too much work';
const said = { message: why, type: 'BadRequestError', param: 'structured_outputs', code: 400 };

/** Reasoning, a text, and a call that is cut. */
const CUT = {
  steps: [[reasoning('Hm.')], [content('I look.')], ...call(0, 'f', '{"a"', ': 1').slice(0, -1)],
  reason: 'error' as const,
  error: octavoError('ERR_GRAMMAR', why, { param: 'structuredOutputs' }),
};

describe('a sample that ends with an error', () => {
  let server: ScriptedServer;
  beforeAll(async () => {
    server = await serveScript([CUT]);
  });
  afterAll(() => server.close());

  it('is a choice with that reason and all it has', async () => {
    const answer = await server.json(CHAT, { messages });
    chatAnswer.strict().parse(answer);
    const [choice] = answer.choices;
    expect(choice).toMatchObject({ finish_reason: 'error', error: said });
    expect(choice.message).toMatchObject({
      ...{ content: 'I look.', reasoning: 'Hm.' },
      tool_calls: [{ function: { name: 'f', arguments: '{"a": 1' } }],
    });
    const chunks = dataOf(await server.frames(CHAT, { messages }));
    expect(chunks.at(-1).choices[0]).toMatchObject({
      ...{ delta: {}, finish_reason: 'error', error: said },
    });
    expect(chunks.slice(0, -1).every(({ choices: [one] }) => !('error' in one))).toBe(true);
    const answered = await server.json('/v1/completions', { prompt: 'a' });
    completionAnswer.strict().parse(answered);
    expect(answered.choices[0]).toMatchObject({ finish_reason: 'error', error: said });
  });

  it('is a response that failed, with its items', async () => {
    const answer = await server.json(RESPONSES, { input: 'The sea' });
    responseAnswer.parse(answer);
    expect(answer).toMatchObject({
      ...{ status: 'failed', error: { code: 'invalid_prompt', message: why } },
      incomplete_details: null,
      output: [
        { type: 'reasoning' },
        { type: 'message', content: [{ text: 'I look.' }] },
        { type: 'function_call', status: 'incomplete', arguments: '{"a": 1' },
      ],
    });
    const frames = eventsOf(await server.frames(RESPONSES, { input: 'The sea' }));
    expect(frames.at(-1)).toMatchObject({
      type: 'response.failed',
      response: { status: 'failed', error: { message: why }, output: [{}, {}, {}] },
    });
    const kept = await (await fetch(`${server.url}${RESPONSES}/${answer.id}`)).json();
    expect(kept).toMatchObject({ status: 'failed', output: [{}, {}, {}] });
  });

  it('is a message that ended with an error; a stream tells it last', async () => {
    const body = { messages, max_tokens: 9 };
    const answer = await server.json(MESSAGES, body);
    messageAnswer.strict().parse(answer);
    const error = { type: 'invalid_request_error', message: why };
    expect(answer).toMatchObject({ stop_reason: 'error', error });
    expect(answer.content).toMatchObject([
      { type: 'thinking' },
      { type: 'text', text: 'I look.' },
      { type: 'tool_use', input: {} },
    ]);
    const frames = eventsOf(await server.frames(MESSAGES, body));
    expect(frames.slice(-3)).toMatchObject([
      { type: 'content_block_stop', index: 2 },
      { type: 'message_delta', delta: { stop_reason: 'error' } },
      { type: 'error', error },
    ]);
  });
});

describe('clients', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await serveDemo();
  });
  afterAll(() => server.close());
  const streamed: string[] = [];
  afterEach(() => {
    streamed.length = 0;
  });

  // Nothing may follow what is complete, and nothing may end so early.
  const wish = { structured_outputs: { choice: ['a whale'] }, min_tokens: 40 };

  it('of OpenAI read what there is', async () => {
    const client = new OpenAI({ apiKey: 'x', baseURL: `${server.url}/v1`, maxRetries: 0 });
    const body = { model: 'octavo-demo', messages, ...wish };
    const { choices } = await client.chat.completions.create(body);
    expect(choices[0]).toMatchObject({
      ...{ finish_reason: 'error', message: { content: 'a whale' } },
      error: { message: expect.stringContaining('min_tokens') },
    });
    const stream = await client.chat.completions.create({ ...body, stream: true });
    let reason: string | null = null;
    for await (const {
      choices: [choice],
    } of stream) {
      streamed.push(choice.delta.content ?? '');
      reason = choice.finish_reason ?? reason;
    }
    expect([streamed.join(''), reason]).toEqual(['a whale', 'error']);
    const response = await client.responses.create({
      ...{ model: 'octavo-demo', input: 'The sea' },
      ...wish,
    });
    expect(response).toMatchObject({ status: 'failed', output_text: 'a whale' });
    expect(response.error?.message).toContain('min_tokens');
  });

  it('of Anthropic get the text before the error', async () => {
    const other = await serveScript([CUT]);
    const client = new Anthropic({ apiKey: 'x', baseURL: other.url, maxRetries: 0 });
    const stream = client.messages.stream({ model: 'octavo-demo', max_tokens: 9, messages });
    stream.on('text', (text) => streamed.push(text));
    await expect(stream.finalMessage()).rejects.toThrow(/cannot go on/);
    expect(streamed.join('')).toBe('I look.');
    await other.close();
  });
});

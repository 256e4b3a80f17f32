import { Ajv } from 'ajv';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type ChatEvent, isOctavoError, LLM, type ToolDefinition } from '../../lib/index.js';
import { AnswerParser } from '../../lib/tools/parser.js';
import { sample } from '../support/all.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import { FAMILIES } from '../support/tool-families.js';
import { collect } from '../tools/support.js';

let llm: LLM;
beforeAll(async () => {
  llm = await LLM.load();
});
afterAll(() => llm.close());
afterEach(() => vi.restoreAllMocks());

const rng = random(SEED);
const hot = () => ({ temperature: 2, maxTokens: 500, seed: rng.integer(2 ** 31) });
const messages = [{ role: 'user', content: 'How is the sea?' }];

const parameters = {
  type: 'object',
  properties: {
    place: { type: 'string', maxLength: 12 },
    days: { type: 'integer', minimum: 1, maximum: 14 },
    unit: { enum: ['m', 'ft'] },
  },
  required: ['place', 'unit'],
  additionalProperties: false,
} as const;
const tools: ToolDefinition[] = [
  { type: 'function', function: { name: 'waves', description: 'Heights.', parameters } },
  { type: 'function', function: { name: 'stop' } },
];
const isValid = new Ajv({ strict: false }).compile(parameters);

const using = (family: string, more: object = {}) => ({
  tools,
  template: { chatTemplate: FAMILIES[family].source },
  ...more,
});

/** The code of what a call throws, and what it is about. */
async function refusal(call: Promise<unknown>): Promise<[string, unknown]> {
  try {
    await call;
  } catch (error) {
    if (!isOctavoError(error)) throw error;
    return [error.code, error.param];
  }
  return ['no error', undefined];
}

describe('calls that are drawn', () => {
  it.each(['hermes', 'qwen3_coder', 'glm45', 'mistral_v3', 'llama3', 'gemma4', 'lfm2'])(
    '%s: always parse, whatever is drawn',
    async (family) => {
      const n = sample(4, 16);
      const options = using(family, { toolChoice: 'required', parallelToolCalls: false });
      const { outputs } = await llm.chat(messages, { ...hot(), n }, options);
      for (const { text, toolCalls, finishReason, content } of outputs) {
        if (finishReason === 'length') continue;
        expect({ text, finishReason, content }).toEqual({
          text,
          finishReason: 'tool_calls',
          content: '',
        });
        expect(toolCalls).toHaveLength(1);
        const [{ name, arguments: args, id }] = toolCalls!;
        expect(id).not.toBe('');
        expect(['waves', 'stop']).toContain(name);
        if (name === 'waves') expect({ args, valid: isValid(args) }).toEqual({ args, valid: true });
        else expect(args).toEqual({});
      }
    },
  );

  it('a named tool is called once', async () => {
    const options = using('hermes', { toolChoice: { name: 'stop' } });
    const { outputs } = await llm.chat(messages, hot(), options);
    expect(outputs[0].toolCalls).toMatchObject([{ name: 'stop', arguments: {} }]);
  });

  it('none is called where none may be', async () => {
    const options = using('hermes', { toolChoice: 'none' });
    const { outputs } = await llm.chat(messages, { ...hot(), maxTokens: 60 }, options);
    expect(outputs[0].toolCalls).toBeUndefined();
    expect(outputs[0].content).toBe(outputs[0].text);
  });

  it('a stream tells them as they come, and the same in the end', async () => {
    const options = using('hermes', { toolChoice: 'required' });
    const params = { ...hot(), maxTokens: 300 };
    const { template, ...chat } = options;
    const events: ChatEvent[] = [];
    let reason: string | null = null;
    for await (const { outputs } of llm.streamDeltas({ messages, template, chat }, params)) {
      for (const { events: more, finishReason } of outputs) {
        events.push(...more!);
        reason = finishReason;
      }
    }
    const whole = (await llm.chat(messages, params, options)).outputs[0];
    const answer = collect(events);
    expect(answer.calls.map(({ name, text }) => [name, text])).toEqual(
      whole.toolCalls?.map(({ name, argumentsText }) => [name, argumentsText]),
    );
    expect([answer.content, reason]).toEqual([whole.content, whole.finishReason]);
  });

  it('ids of a conversation that was rendered elsewhere are answered alike', async () => {
    const { template, ...chat } = using('hermes', { toolChoice: 'required' });
    const prompt = { messages, template, chat } as const;
    const promptTokenIds = await llm.encode(prompt);
    const params = { ...hot(), maxTokens: 200 };
    const [a, b] = await Promise.all([
      llm.generate(prompt, params),
      llm.generate({ promptTokenIds, chat, template }, params),
    ]);
    expect(b.outputs[0].toolCalls?.map((call) => call.argumentsText)).toEqual(
      a.outputs[0].toolCalls?.map((call) => call.argumentsText),
    );
    expect(a.promptTokenIds).toEqual(promptTokenIds);
  });
});

describe('reasoning', () => {
  const template = { chatTemplate: FAMILIES.minimax_m2.source };

  it('ends when its budget is spent', async () => {
    const reasoning = { budget: 10 };
    const params = { ...hot(), maxTokens: 60 };
    const { outputs } = await llm.chat(messages, params, { template, reasoning });
    const [{ text, numReasoningTokens }] = outputs;
    const [thought] = text.split('</think>');
    expect(text).toContain('</think>');
    // The budget, and the marker, which is no token of this vocabulary.
    expect(numReasoningTokens).toBeGreaterThanOrEqual(10);
    expect(numReasoningTokens).toBeLessThanOrEqual(10 + '</think>'.length);
    expect(outputs[0].reasoning ?? '').toBe(thought.trim());
  });

  it('with none of it, at once', async () => {
    const options = { template, reasoning: { budget: 0 } };
    const { outputs } = await llm.chat(messages, { ...hot(), maxTokens: 30 }, options);
    expect(outputs[0].text.startsWith('</think>')).toBe(true);
    expect(outputs[0].reasoning).toBeUndefined();
  });

  it('and then what the content must be', async () => {
    const structuredOutputs = {
      json: {
        type: 'object',
        properties: { n: { type: 'integer' } },
        required: ['n'],
        additionalProperties: false,
      },
    };
    const params = { ...hot(), maxTokens: 100, structuredOutputs };
    const { outputs } = await llm.chat(messages, params, { template, reasoning: { budget: 5 } });
    const [{ content, finishReason, json }] = outputs;
    expect(finishReason).toBe('stop');
    expect(JSON.parse(content!)).toEqual(json);
    expect(Number.isInteger((json as { n: number }).n)).toBe(true);
  });
});

describe('what cannot be', () => {
  it('a call where the template knows no tools', async () => {
    const template = { chatTemplate: '{% for m in messages %}{{ m.content }}{% endfor %}' };
    const required = llm.chat(messages, hot(), { tools, template, toolChoice: 'required' });
    expect(await refusal(required)).toEqual(['ERR_INVALID_PARAM', 'toolChoice']);
    const { outputs } = await llm.chat(messages, { ...hot(), maxTokens: 5 }, { tools, template });
    expect(outputs[0].content).toBe(outputs[0].text);
  });

  it('a strict tool whose schema cannot be enforced, by its place', async () => {
    const hard = { type: 'object', properties: { a: { type: 'string', pattern: '(?=a)b' } } };
    const strict = {
      type: 'function',
      function: { name: 'f', parameters: hard, strict: true },
    } as const;
    const refused = llm.chat(messages, hot(), using('hermes', { tools: [tools[0], strict] }));
    expect(await refusal(refused)).toEqual(['ERR_GRAMMAR', 'tools[1].function.parameters']);
    const lax = { ...strict, function: { ...strict.function, strict: false } };
    const options = using('hermes', {
      tools: [lax],
      toolChoice: 'required',
      parallelToolCalls: false,
    });
    const { outputs } = await llm.chat(messages, hot(), options);
    expect(outputs[0].toolCalls?.[0].name).toBe('f');
  });

  it('a format that there is none of', async () => {
    const refused = llm.chat(messages, hot(), using('hermes', { toolCallParser: 'x' }));
    expect(await refusal(refused)).toEqual(['ERR_INVALID_PARAM', 'toolCallParser']);
  });
});

it('a stop string before minTokens ends neither text nor content', async () => {
  const params = { minTokens: 40, maxTokens: 60, stop: ['e'], seed: 1 };
  const { outputs } = await llm.chat(messages, params);
  expect(outputs[0].tokenIds.length).toBeGreaterThanOrEqual(40);
  expect(outputs[0].content).toBe(outputs[0].text);
});

describe('an answer', () => {
  it('is decoded once, whether it is told apart or not', async () => {
    const decode = vi.spyOn(llm.tokenizer, 'decodeTokens');
    const perToken = async (options: object) => {
      decode.mockClear();
      const { outputs } = await llm.chat(messages, { ...hot(), maxTokens: 120 }, options);
      return decode.mock.calls.length / outputs[0].tokenIds.length;
    };
    // The window of a decoder is cut back now and then.
    expect(await perToken({})).toBeLessThan(1.3);
    const options = using('glm45', { toolChoice: { name: 'waves' }, reasoning: { budget: 20 } });
    expect(await perToken(options)).toBeLessThan(1.3);
  });

  it('that has no tools and no reasoning is its text, and nobody parses it', async () => {
    const parse = vi.spyOn(AnswerParser.prototype, 'push');
    const params = { ...hot(), maxTokens: 40, n: 2, stop: ['e', 'qu'] };
    const { outputs } = await llm.chat(messages, params, using('hermes', { tools: [] }));
    for (const output of outputs) {
      expect(output).toMatchObject({ content: output.text, numReasoningTokens: 0 });
      expect(output.toolCalls).toBeUndefined();
    }
    const texts = ['', ''];
    for await (const { outputs: news } of llm.streamDeltas({ messages, chat: {} }, params)) {
      for (const { index, events, newText } of news) {
        texts[index] += newText;
        expect(events).toEqual(newText === '' ? [] : [{ type: 'content', text: newText }]);
      }
    }
    expect(texts.join('').length).toBeGreaterThan(0);
    expect(parse).not.toHaveBeenCalled();
    await llm.chat(messages, { maxTokens: 4 }, using('hermes'));
    expect(parse).toHaveBeenCalled();
  });

  it('is cut by a stop string where its text is', async () => {
    for (const skipSpecialTokens of [true, false]) {
      const params = { ...hot(), maxTokens: 200, stop: ['"place"'], skipSpecialTokens };
      const options = using('hermes', { toolChoice: { name: 'waves' } });
      const { outputs } = await llm.chat(messages, params, options);
      const [{ toolCalls, finishReason, stopReason, text }] = outputs;
      expect([finishReason, stopReason]).toEqual(['stop', '"place"']);
      expect(text).toMatch(/"arguments": \{\s*$/);
      const [{ name, argumentsText }] = toolCalls!;
      expect([name, text.endsWith(argumentsText), argumentsText.trim()]).toEqual([
        ...['waves', true, '{'],
      ]);
    }
  });

  it('of which states are kept costs nothing for calls that nobody looks at', async () => {
    const options = using('hermes', { toolChoice: { name: 'waves' } });
    const { template, ...chat } = options;
    const params = { ...hot(), maxTokens: 300 };
    const states: { argumentsText: string; list: () => unknown }[] = [];
    const parse = vi.spyOn(JSON, 'parse');
    let calls = 0;
    for await (const { outputs } of llm.stream({ messages, template, chat }, params)) {
      calls = parse.mock.calls.length;
      const [output] = outputs;
      const text = output.text;
      states.push({ argumentsText: text, list: () => output.toolCalls });
    }
    expect(calls).toBe(0);
    const texts = states.map(({ list }) => {
      const [call] = (list() as { argumentsText: string }[] | undefined) ?? [];
      return call?.argumentsText ?? '';
    });
    expect(texts).toEqual(texts.toSorted((a, b) => a.length - b.length));
    expect(texts[0].length).toBeLessThan(texts.at(-1)!.length);
    expect(parse.mock.calls.length).toBeGreaterThan(0);
  });
});

describe('a sample that its grammar leaves nothing to go on with', () => {
  it('keeps its calls and its reasoning', async () => {
    const schema = { type: 'object', properties: { a: { const: 'x' } }, required: ['a'] };
    const tool = {
      type: 'function',
      function: { name: 'f', parameters: { ...schema, additionalProperties: false } },
    } as const;
    const options = using('hermes', { tools: [tool], toolChoice: { name: 'f' } });
    const params = { ...hot(), minTokens: 400, maxTokens: 500 };
    const { outputs } = await llm.chat(messages, params, options);
    const [{ finishReason, error, toolCalls, content }] = outputs;
    expect([finishReason, error?.code, content]).toEqual(['error', 'ERR_GRAMMAR', '']);
    expect(error?.message).toMatch(/minTokens/);
    expect(toolCalls).toMatchObject([{ name: 'f', arguments: { a: 'x' } }]);
  });
});

/** What requests with tools, reasoning and formats of output ask of the library; what is refused. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { octavoError } from '../../lib/errors.js';
import { content, type ScriptedServer, serveScript } from '../support/scripted-llm.js';
import type { Json } from './support.js';

let server: ScriptedServer;
const logged: Json[] = [];
const nothing = () => {};
beforeAll(async () => {
  const info = (line: Json) => logged.push(line);
  const logger = { info, debug: nothing, warn: nothing, error: nothing } as Json;
  server = await serveScript([{ steps: [[content('x')]] }], { logger, toolCallParser: 'hermes' });
});
beforeEach(() => {
  server.asked.length = 0;
  logged.length = 0;
});
afterAll(() => server.close());

const CHAT = '/v1/chat/completions';
const COMPLETIONS = '/v1/completions';
const RESPONSES = '/v1/responses';
const MESSAGES = '/v1/messages';
const messages = [{ role: 'user', content: 'x' }];
const parameters = { type: 'object', properties: { a: { type: 'number' } }, required: ['a'] };
const f = { name: 'f', description: 'Does it', parameters };
const tool = { type: 'function', function: f };
const tools = [tool, { type: 'function', function: { name: 'g' } }];

const BASE: Readonly<Record<string, object>> = {
  [CHAT]: { messages, tools },
  [COMPLETIONS]: { prompt: 'x' },
  [RESPONSES]: {
    input: 'x',
    tools: [
      { type: 'function', ...f },
      { type: 'function', name: 'g' },
    ],
  },
  [MESSAGES]: {
    messages,
    max_tokens: 9,
    tools: [
      { name: 'f', description: 'Does it', input_schema: parameters },
      { name: 'g', input_schema: {} },
    ],
  },
};

/** What a request, with these fields more, asked. */
async function asked(path: string, more: object) {
  await server.json(path, { ...BASE[path], ...more });
  return server.asked.splice(0)[0];
}

const chatOf = async (path: string, more: object) => (await asked(path, more)).chat;

const refusal = async (path: string, more: object) =>
  (await server.json(path, { ...BASE[path], ...more }, 400)).error;

describe('tools', () => {
  it('are the same whatever the protocol; parameters are completed', async () => {
    for (const path of [CHAT, RESPONSES, MESSAGES]) {
      const { tools: told, ...rest } = await chatOf(path, {});
      expect(told).toEqual([
        tool,
        {
          type: 'function',
          function: { name: 'g', parameters: { type: 'object', properties: {} } },
        },
      ]);
      expect(rest).toEqual({ toolCallParser: 'hermes' });
    }
  });

  it.each([null, undefined, {}, { type: 'object' }, { $schema: 'x', properties: {} }])(
    'have parameters %j',
    async (given) => {
      const { tools: told } = await chatOf(CHAT, {
        tools: [{ type: 'function', function: { name: 'f', parameters: given, strict: null } }],
      });
      const made = told?.[0].function.parameters;
      expect(made).toEqual({ ...given, type: 'object', properties: {} });
    },
  );

  it('are absent where their list is empty', async () => {
    for (const path of [CHAT, RESPONSES, MESSAGES]) {
      expect(await chatOf(path, { tools: [] })).toEqual({ toolCallParser: 'hermes' });
      expect(await chatOf(path, { tools: null })).toEqual({ toolCallParser: 'hermes' });
    }
  });

  it.each([
    [CHAT, 'required', 'required'],
    [CHAT, 'none', 'none'],
    [CHAT, 'auto', 'auto'],
    [CHAT, { type: 'function', function: { name: 'g' } }, { name: 'g' }],
    [
      CHAT,
      { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [tool] } },
      { allowed: ['f'], mode: 'required' },
    ],
    [RESPONSES, 'required', 'required'],
    [RESPONSES, { type: 'function', name: 'g' }, { name: 'g' }],
    [
      RESPONSES,
      { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'f' }] },
      { allowed: ['f'], mode: 'auto' },
    ],
    [MESSAGES, { type: 'any' }, 'required'],
    [MESSAGES, { type: 'auto' }, 'auto'],
    [MESSAGES, { type: 'none' }, 'none'],
    [MESSAGES, { type: 'tool', name: 'g' }, { name: 'g' }],
  ])('%s tool_choice %j', async (path, tool_choice, expected) => {
    expect((await chatOf(path, { tool_choice })).toolChoice).toEqual(expected);
  });

  it.each([
    [CHAT, { parallel_tool_calls: false }],
    [RESPONSES, { parallel_tool_calls: false }],
    [MESSAGES, { tool_choice: { type: 'auto', disable_parallel_tool_use: true } }],
  ])('%s are called one at a time for %j', async (path, more) => {
    expect((await chatOf(path, more)).parallelToolCalls).toBe(false);
  });

  it('may be chosen only of those that there are', async () => {
    const nobody = { type: 'function', function: { name: 'h' }, name: 'h' };
    expect((await refusal(CHAT, { tool_choice: nobody })).param).toBe('tool_choice');
    expect((await refusal(CHAT, { tool_choice: 'required', tools: [] })).param).toBe('tool_choice');
    expect((await refusal(CHAT, { tool_choice: 'sometimes' })).param).toBe('tool_choice');
    expect((await refusal(RESPONSES, { tool_choice: nobody })).param).toBe('tool_choice');
    expect((await refusal(RESPONSES, { tool_choice: { type: 'web_search' } })).message).toMatch(
      /nothing is known of the type "web_search"/,
    );
    const one = { tool_choice: { type: 'tool', name: 'h' } };
    expect((await refusal(MESSAGES, one)).message).toMatch(/"h" is not one of the tools/);
    expect((await refusal(CHAT, { tools: [{ type: 'function' }] })).param).toBe(
      'tools[0].function',
    );
  });

  it('that are chosen need a name', async () => {
    for (const type of ['function', 'custom']) {
      for (const more of [{}, { [type]: {} }]) {
        const { param, message } = await refusal(CHAT, { tool_choice: { type, ...more } });
        expect([param, message]).toEqual([
          `tool_choice.${type}.name`,
          `tool_choice.${type}.name: is needed`,
        ]);
      }
    }
    const nameless = { tool_choice: { type: 'function' } };
    expect((await refusal(RESPONSES, nameless)).param).toBe('tool_choice.name');
    const message = /tool_choice\.name: is needed/;
    expect((await refusal(MESSAGES, { tool_choice: { type: 'tool' } })).message).toMatch(message);
  });

  it('of others are passed over, and the log says which', async () => {
    const hosted = { type: 'web_search', search_context_size: 'low' };
    const own = { type: 'web_search_20250305', name: 'web_search', max_uses: 3 };
    for (const [path, given] of [
      [CHAT, [...tools, hosted]],
      [RESPONSES, [{ type: 'function', ...f }, hosted]],
      [MESSAGES, [{ name: 'f', input_schema: {} }, own]],
    ] as const) {
      const { tools: told } = await chatOf(path, { tools: given });
      expect(told?.map((one) => one.function.name)).not.toContain('web_search');
      const line = logged.find((one) => one.tools !== undefined);
      expect(line.tools).toEqual([(given.at(-1) as Json).type]);
      logged.length = 0;
    }
  });

  it('were functions once', async () => {
    const old = { tools: undefined, functions: [f], function_call: { name: 'f' } };
    expect(await chatOf(CHAT, old)).toMatchObject({
      ...{ tools: [tool], toolChoice: { name: 'f' }, parallelToolCalls: false },
    });
  });

  it('of free text have one argument, by its regular expression', async () => {
    const format = { type: 'grammar', syntax: 'regex', definition: 'a+' };
    const custom = [{ type: 'custom', name: 'p', description: 'P', format }];
    const { tools: told } = await chatOf(RESPONSES, { tools: custom });
    expect(told?.[0].function).toMatchObject({
      ...{ name: 'p', description: 'P', strict: true },
      parameters: { properties: { input: { pattern: '^(?:a+)$' } }, required: ['input'] },
    });
    const lark = { type: 'grammar', grammar: { syntax: 'lark', definition: 'start: "a"' } };
    const chat = [{ type: 'custom', custom: { name: 'p', format: lark } }];
    const { tools: others } = await chatOf(CHAT, { tools: chat });
    expect(others?.[0].function.description).toContain('start: "a"');
    expect(others?.[0].function.strict).toBeUndefined();
  });

  it('count as part of the prompt, wherever prompts are counted', async () => {
    const { tools: given } = BASE[CHAT] as Json;
    await server.json('/tokenize', { messages, tools: given });
    await server.json(`${CHAT}/render`, { messages, tools: given });
    const { max_tokens: _, ...count } = BASE[MESSAGES] as Json;
    await server.json(`${MESSAGES}/count_tokens`, count);
    expect(server.asked.map(({ chat }) => chat.tools?.length)).toEqual([2, 2, 2]);
  });

  it('are asked of prompts that are cut, too', async () => {
    await server.json(CHAT, { ...BASE[CHAT], truncate_prompt_tokens: 2 });
    const [, { prompt, chat }] = server.asked;
    expect([prompt.promptTokenIds, chat.tools?.length]).toEqual([[6, 7], 2]);
  });
});

describe('reasoning', () => {
  it.each([
    [CHAT, { reasoning_effort: 'high' }, { effort: 'high' }],
    [CHAT, { reasoning_effort: 'none' }, { enabled: false }],
    [CHAT, { thinking_token_budget: 50 }, { budget: 50 }],
    [CHAT, { thinking_token_budget: -1 }, undefined],
    [CHAT, { chat_template_kwargs: { enable_thinking: false } }, { enabled: false }],
    [CHAT, { chat_template_kwargs: { thinking: true } }, { enabled: true }],
    [RESPONSES, { reasoning: { effort: 'low', summary: 'auto' } }, { effort: 'low' }],
    [RESPONSES, { reasoning: { effort: 'none' } }, { enabled: false }],
    [RESPONSES, { reasoning: { effort: null } }, undefined],
    [MESSAGES, { thinking: { type: 'enabled', budget_tokens: 9 } }, { enabled: true, budget: 9 }],
    [MESSAGES, { thinking: { type: 'disabled' } }, { enabled: false }],
    [MESSAGES, { thinking: { type: 'adaptive' } }, undefined],
    [MESSAGES, { output_config: { effort: 'max' } }, { effort: 'max' }],
  ])('%s %j', async (path, more, expected) => {
    expect((await chatOf(path, more)).reasoning).toEqual(expected);
  });

  it('is taken back under either of its names', async () => {
    for (const name of ['reasoning', 'reasoning_content']) {
      const turn = { role: 'assistant', content: 'y', [name]: 'So.' };
      const { prompt } = await asked(CHAT, { messages: [...messages, turn, ...messages] });
      expect(prompt.messages[1][name]).toBe('So.');
    }
  });

  it('is of conversations', async () => {
    expect((await refusal(COMPLETIONS, { reasoning_effort: 'low' })).param).toBe(
      'reasoning_effort',
    );
    const budget = { thinking_token_budget: 5 };
    expect((await refusal(COMPLETIONS, budget)).param).toBe('thinking_token_budget');
    await server.json(COMPLETIONS, { prompt: 'x', reasoning_effort: 'none' });
  });
});

const schema = { type: 'object', properties: { a: { type: 'integer' } } };
const named = { name: 'n', schema };

describe('what an output must be', () => {
  it.each([
    [CHAT, { response_format: { type: 'text' } }, undefined],
    [CHAT, { response_format: null }, undefined],
    [CHAT, { response_format: { type: 'json_object' } }, { jsonObject: true }],
    [CHAT, { response_format: { type: 'json_object', schema } }, { json: schema }],
    [CHAT, { response_format: { type: 'json_schema', json_schema: named } }, { json: schema }],
    [
      CHAT,
      { response_format: { type: 'json_schema', json_schema: { ...named, strict: true } } },
      { json: schema },
    ],
    [
      CHAT,
      { response_format: { type: 'json_schema', json_schema: { ...named, strict: false } } },
      { json: schema, strict: false },
    ],
    [
      CHAT,
      { response_format: { type: 'structural_tag', format: { type: 'any_text' } } },
      { structuralTag: { type: 'structural_tag', format: { type: 'any_text' } } },
    ],
    [COMPLETIONS, { response_format: { type: 'json_object' } }, { jsonObject: true }],
    [COMPLETIONS, { structured_outputs: { regex: 'a+' } }, { regex: 'a+' }],
    [COMPLETIONS, { structured_outputs: { choice: ['a', 'b'] } }, { choice: ['a', 'b'] }],
    [COMPLETIONS, { structured_outputs: { json_object: true } }, { jsonObject: true }],
    [
      COMPLETIONS,
      { structured_outputs: { json: schema, regex: null, disable_any_whitespace: true } },
      { json: schema, disableAnyWhitespace: true },
    ],
    [COMPLETIONS, { guided_json: schema, guided_decoding_backend: 'xgrammar' }, { json: schema }],
    [COMPLETIONS, { guided_json: JSON.stringify(schema) }, { json: JSON.stringify(schema) }],
    [COMPLETIONS, { guided_regex: 'a' }, { regex: 'a' }],
    [COMPLETIONS, { guided_choice: ['a'] }, { choice: ['a'] }],
    [COMPLETIONS, { guided_grammar: 'root ::= "a"' }, { grammar: 'root ::= "a"' }],
    [
      COMPLETIONS,
      { guided_json: schema, guided_whitespace_pattern: ' ?' },
      { json: schema, whitespacePattern: ' ?' },
    ],
    [COMPLETIONS, { grammar: 'root ::= "a"' }, { grammar: 'root ::= "a"' }],
    [COMPLETIONS, { grammar: '' }, undefined],
    [COMPLETIONS, { json_schema: schema }, { json: schema }],
    [RESPONSES, { text: { format: { type: 'text' }, verbosity: 'low' } }, undefined],
    [RESPONSES, { text: { format: { type: 'json_object' } } }, { jsonObject: true }],
    [RESPONSES, { text: { format: { type: 'json_schema', ...named } } }, { json: schema }],
    [
      RESPONSES,
      { text: { format: { type: 'json_schema', ...named, strict: false } } },
      { json: schema, strict: false },
    ],
    [RESPONSES, { guided_choice: ['a'] }, { choice: ['a'] }],
    [MESSAGES, { output_config: { format: { type: 'json_schema', schema } } }, { json: schema }],
    [MESSAGES, { output_format: { type: 'json_schema', schema } }, { json: schema }],
  ])('%s %j', async (path, more, expected) => {
    expect((await asked(path, more)).params.structuredOutputs).toEqual(expected);
  });

  it('of ids is asked for as of texts', async () => {
    const sampling_params = { structured_outputs: { regex: 'a' } };
    await server.json('/inference/v1/generate', { token_ids: [5], sampling_params });
    expect(server.asked[0].params.structuredOutputs).toEqual({ regex: 'a' });
    const rendered = await server.json(`${COMPLETIONS}/render`, { prompt: 'x', guided_regex: 'a' });
    expect(rendered[0].sampling_params.guided_regex).toBe('a');
  });

  it.each([
    [CHAT, { response_format: { type: 'xml' } }, 'response_format.type'],
    [CHAT, { response_format: { type: 'json_schema' } }, 'response_format.json_schema.schema'],
    [CHAT, { response_format: { type: 'json_object' }, guided_regex: 'a' }, 'guided_regex'],
    [COMPLETIONS, { structured_outputs: {} }, 'structured_outputs'],
    [COMPLETIONS, { structured_outputs: { regex: 'a', choice: ['a'] } }, 'structured_outputs'],
    [RESPONSES, { text: { format: { type: 'json_schema', name: 'n' } } }, 'text.format.schema'],
    [RESPONSES, { text: { format: { type: 'json_object' } }, guided_regex: 'a' }, 'guided_regex'],
  ])('%s %j is refused by its name', async (path, more, param) => {
    expect((await refusal(path, more)).param).toBe(param);
  });

  it.each([
    [CHAT, { response_format: { type: 'json_schema', json_schema: named } }, 'response_format'],
    [COMPLETIONS, { guided_json: schema }, 'guided_json'],
    [COMPLETIONS, { structured_outputs: { json: schema } }, 'structured_outputs.json'],
    [RESPONSES, { text: { format: { type: 'json_schema', ...named } } }, 'text.format'],
  ])('%s %j is what errors of the engine are about', async (path, more, field) => {
    const sentence = 'structuredOutputs.json: #/properties/a cannot be enforced';
    const error = octavoError('ERR_GRAMMAR', sentence, { param: 'structuredOutputs.json' });
    const other = await serveScript([{ steps: [], error }]);
    const answer = await other.json(path, { ...BASE[path], ...more }, 400);
    expect(answer.error).toMatchObject({
      param: field,
      message: `${field}: #/properties/a cannot be enforced`,
    });
    await other.close();
  });
});

it('a thread of messages is refused in the way that makes clients send all of it', async () => {
  for (const thread of [{ type: 'create' }, { type: 'continue', previous_message_id: 'msg_1' }]) {
    const error = await refusal(MESSAGES, { thread });
    expect(error.details).toEqual({ error_code: 'thread_unsupported_request', unsupported: [] });
  }
  await server.json(MESSAGES, { ...BASE[MESSAGES], thread: null });
});

describe('conversations with calls', () => {
  const turns = (call: object, result: object = {}) => [
    ...messages,
    { role: 'assistant', ...call },
    { role: 'tool', tool_call_id: 'c', content: '5', ...result },
  ];
  const calls = [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{"a": 1}' } }];

  it.each([null, '', [], undefined])('have a content %j beside calls', async (given) => {
    const { prompt } = await asked(CHAT, {
      messages: turns({ content: given, tool_calls: calls }),
    });
    expect(prompt.messages[1].tool_calls).toEqual(calls);
  });

  it('have an empty content, and empty calls, without calls', async () => {
    const empty = { role: 'assistant', content: '', tool_calls: [] };
    const { prompt } = await asked(CHAT, { messages: [...messages, empty, ...messages] });
    expect(prompt.messages[1]).toEqual({ role: 'assistant', content: '' });
  });

  it('have calls of custom tools, which are those of functions', async () => {
    const custom = [{ id: 'c', type: 'custom', custom: { name: 'p', input: 'a' } }];
    const { prompt } = await asked(CHAT, {
      messages: turns({ content: null, tool_calls: custom }),
    });
    const [call] = prompt.messages[1].tool_calls;
    expect(call.function).toEqual({ name: 'p', arguments: '{"input":"a"}' });
  });

  it("are offered with ids as Mistral's templates want them, where others are refused", async () => {
    const refused = octavoError('ERR_CHAT_TEMPLATE', 'ids have nine letters');
    const steps = [[content('x')]];
    const strict = await serveScript([{ steps, error: refused }, { steps }]);
    const foreign = [{ ...calls[0], id: 'call_0123456789' }];
    const given = turns(
      { content: null, tool_calls: foreign },
      { tool_call_id: 'call_0123456789' },
    );
    await strict.json(CHAT, { messages: given, tools });
    const [, turn, result] = strict.asked[1].prompt.messages;
    expect(turn.tool_calls[0].id).toMatch(/^[A-Za-z0-9]{9}$/);
    expect(result.tool_call_id).toBe(turn.tool_calls[0].id);
    expect(strict.asked[0].prompt.messages[1].tool_calls[0].id).toBe('call_0123456789');
    await strict.close();
  });

  it('have results in parts', async () => {
    const output = [{ type: 'input_text', text: '5' }];
    const input = [
      { role: 'user', content: 'x' },
      { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
      { type: 'function_call_output', call_id: 'c', output },
    ];
    const { prompt } = await asked(RESPONSES, { input });
    expect(prompt.messages[2]).toMatchObject({ role: 'tool', content: '5' });
    const parts = [{ type: 'text', text: '5' }];
    const chat = await asked(CHAT, { messages: turns({ tool_calls: calls }, { content: parts }) });
    expect(chat.prompt.messages[2].content).toEqual(parts);
  });
});

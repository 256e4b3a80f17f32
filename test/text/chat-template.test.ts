import { describe, expect, it } from 'vitest';
import {
  type ChatMessage,
  ChatTemplate,
  defaultChatTemplate,
} from '../../lib/text/chat-template.js';
import { demoTokenizer } from './support.js';

const talk: ChatMessage[] = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: ' Hi ' },
  { role: 'assistant', content: 'Hello.' },
  { role: 'user', content: 'Bye' },
];
const tokens = { bosToken: '<s>', eosToken: '</s>' };

// In the manner of well-known models' templates, in our own words.
const llama3 = `{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{#- The system message comes first, whoever wrote it #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- set call = message.tool_calls[0].function %}
        {{- '{"name": "' + call.name + '", "parameters": ' }}
        {{- (call.arguments | tojson) + '}<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
`;

const qwen = `{%- if tools %}
    {{- '<|im_start|>system\\n# Tools\\n<tools>' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '\\n</tools><|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(looking=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- set c = message.content %}
    {%- set answer = c.startswith('<tool_response>') and c.endswith('</tool_response>') %}
    {%- if ns.looking and message.role == "user" and not(answer) %}
        {%- set ns.looking = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "assistant" and '</think>' in content and loop.index0 < ns.last %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}`;

const mistral = `{%- if messages[0]["role"] == "system" %}
    {%- set system = messages[0]["content"] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in turns %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("Roles must alternate user/assistant/user/assistant.") }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system is defined %}
            {{- "[INST] " + system + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"] | trim + eos_token }}
    {%- endif %}
{%- endfor %}`;

describe('templates in the manner of well-known models', () => {
  it('Llama 3: headers, trimmed text, the date', () => {
    const template = new ChatTemplate(llama3, { bosToken: '<|begin_of_text|>' });
    const now = new Date(2025, 0, 9);
    const head = '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: ';
    const turns =
      '\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>' +
      '<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>' +
      '<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>';
    const begin = '<|start_header_id|>assistant<|end_header_id|>\n\n';
    expect(template.render(talk, { now })).toBe(`${head}09 Jan 2025${turns}${begin}`);
    const variables = { date_string: '1 May 2020' };
    expect(template.render(talk, { variables, addGenerationPrompt: false })).toBe(
      `${head}1 May 2020${turns}`,
    );
    const call = {
      role: 'assistant',
      tool_calls: [{ function: { name: 'f', arguments: { a: [1, 'é'] } } }],
    };
    expect(template.render([call], { now })).toContain(
      '{"name": "f", "parameters": {"a": [1, "é"]}}',
    );
  });

  it('Qwen: ChatML, tools as JSON, thinking switched off and cut from earlier turns', () => {
    const template = new ChatTemplate(qwen);
    const thought: ChatMessage[] = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: '<think>hm</think>\n\nHello.' },
      { role: 'user', content: 'Bye' },
    ];
    const text =
      '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n' +
      '<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n';
    expect(template.render(thought)).toBe(text);
    expect(template.render(thought, { variables: { enable_thinking: false } })).toBe(
      `${text}<think>\n\n</think>\n\n`,
    );
    const tools = [{ type: 'function', function: { name: 'now', parameters: {} } }];
    expect(template.render(thought, { tools })).toContain(
      '<tools>\n{"type": "function", "function": {"name": "now", "parameters": {}}}\n</tools>',
    );
  });

  it('Mistral: instructions, and a refusal in its own words', () => {
    const template = new ChatTemplate(mistral, tokens);
    expect(template.render(talk)).toBe(
      '<s>[INST]  Hi [/INST] Hello.</s>[INST] Be brief.\n\nBye[/INST]',
    );
    const twice = [talk[1], talk[3]];
    expect(() => template.render(twice)).toThrow(
      expect.objectContaining({
        code: 'ERR_CHAT_TEMPLATE',
        message: expect.stringMatching(
          /^The chat template refused the messages: Roles must alternate/,
        ),
      }),
    );
  });
});

describe('default templates', () => {
  it('is ChatML where its markers are tokens', () => {
    const known = ['<|im_start|>', '<|im_end|>'];
    const chatml = new ChatTemplate(
      defaultChatTemplate((token) => known.includes(token)),
      tokens,
    );
    expect(chatml.render(talk.slice(0, 2))).toBe(
      '<|im_start|>system\nBe brief.<|im_end|>\n' +
        '<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n',
    );
    expect(defaultChatTemplate((token) => token === known[0])).toBe(
      defaultChatTemplate(() => false),
    );
  });

  it('is plain text elsewhere, with one BOS after encoding', async () => {
    const tokenizer = demoTokenizer();
    const plain = defaultChatTemplate((token) => tokenizer.tokenToId(token) !== undefined);
    const text = new ChatTemplate(plain, tokenizer).render(talk);
    expect(text).toBe(
      '<|bos|>System: Be brief.\n\nUser: Hi\n\nAssistant: Hello.\n\nUser: Bye\n\nAssistant:',
    );
    const ids = await tokenizer.encode(text);
    expect(ids.filter((id) => id === 0)).toEqual([0]);
    expect(new ChatTemplate(plain).render(talk, { addGenerationPrompt: false })).toMatch(
      /^System.*Bye\n\n$/s,
    );
  });
});

describe('messages', () => {
  const echo = new ChatTemplate(
    '{% for m in messages %}[{{ m.role }}|{{ m.content }}|{{ m.name }}]{% endfor %}',
  );

  it('joins parts and keeps other members', () => {
    const parts = [
      { type: 'text' as const, text: 'a' },
      { type: 'text' as const, text: 'b' },
    ];
    expect(echo.render([{ role: 'user', content: parts, name: 'Ann' }])).toBe('[user|a\nb|Ann]');
    expect(echo.render([{ role: 'user', content: '' }])).toBe('[user||]');
  });

  it('does not change what it is given', () => {
    const given: ChatMessage[] = [{ role: 'user', content: [{ type: 'text', text: 'a' }] }];
    const before = structuredClone(given);
    new ChatTemplate('{% set messages = [] %}{{ messages }}').render(Object.freeze(given));
    expect(given).toEqual(before);
  });

  it.each<[string, unknown, string]>([
    ['nothing', undefined, 'messages must be an array'],
    ['text', 'hi', 'messages must be an array'],
    ['none', [], 'messages must not be empty'],
    ['a null', [null], 'messages[0]'],
    ['no role', [{ content: 'a' }], 'messages[0].role must be a string'],
    ['an empty role', [{ role: '', content: 'a' }], 'messages[0].role must not be empty'],
    ['no content', [talk[1], { role: 'user' }], 'messages[1].content is missing'],
    [
      'a number',
      [{ role: 'user', content: 5 }],
      'messages[0].content must be a string or an array',
    ],
    [
      'an image',
      [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }],
      'messages[0].content',
    ],
    ['a part without text', [{ role: 'user', content: [{ type: 'text' }] }], 'messages[0].content'],
  ])('refuses %s', (_, messages, where) => {
    const attempt = () => echo.render(messages as never);
    expect(attempt).toThrow(expect.objectContaining({ code: 'ERR_INVALID_PROMPT' }));
    expect(attempt).toThrow(where);
  });
});

describe('several templates', () => {
  const list = [
    { name: 'default', template: 'plain {{ messages | length }}' },
    { name: 'tool_use', template: 'tools {{ tools | length }}' },
  ];

  it('takes tool_use for tools, default otherwise, and one by name', () => {
    for (const source of [list, { default: list[0].template, tool_use: list[1].template }]) {
      const template = new ChatTemplate(source);
      expect(template.names).toEqual(['default', 'tool_use']);
      expect(template.render(talk)).toBe('plain 4');
      expect(template.render(talk, { tools: [{}, {}] })).toBe('tools 2');
      expect(template.render(talk, { tools: [{}], templateName: 'default' })).toBe('plain 4');
      expect(() => template.render(talk, { templateName: 'rag' })).toThrow(
        /"rag"; there are default, tool_use/,
      );
    }
    expect(new ChatTemplate([{ name: 'only', template: 'x' }]).render(talk)).toBe('x');
  });
});

describe('another template, with variables', () => {
  const template = new ChatTemplate('own');

  it('is rendered in place of the own one, and parsed once', () => {
    const chatTemplate =
      '{{ bos_token }}{{ name }}{{ deep.x }}{{ messages | length }}{{ tools is none }}';
    expect(template.render(talk, { chatTemplate, name: 'N', deep: { x: 1 } })).toBe('N14True');
    expect(template.render(talk, { chatTemplate, name: 'N', variables: { deep: { x: 2 } } })).toBe(
      'N24True',
    );
    expect(template.render(talk)).toBe('own');
    expect(() => template.render(talk, { chatTemplate: '{% if %}' })).toThrow(
      /template is damaged/,
    );
  });

  it('gets messages as transformers passes them, and only then as vLLM would', () => {
    const call = { function: { name: 'f', arguments: '{"b": 1.0, "a": 2}' } };
    const turns: ChatMessage[] = [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'assistant', content: 'c', tool_calls: [] },
    ];
    const render = (chatTemplate: string) => template.render(turns, { chatTemplate });
    expect(
      render(
        '{{ messages[0].content | length }}{{ messages[1].content is defined }}{{ messages[2].tool_calls }}',
      ),
    ).toBe('2False[]');
    expect(render('{{ messages[1].tool_calls[0].function.arguments | length }}')).toBe('18');
    expect(render('{{ messages[1].tool_calls[0].function.arguments.items() | list }}')).toBe(
      "[('b', 1.0), ('a', 2)]",
    );
    expect(render("{{ 'x' + messages[0].content }}")).toBe('xa\nb');
  });
});

describe("what OpenAI's clients write", () => {
  const render = (source: string, turn: object, options = {}) =>
    new ChatTemplate(source).render(
      [talk[1], { role: 'assistant', ...turn } as ChatMessage],
      options,
    );
  const call = (args: unknown) => ({
    tool_calls: [{ id: 'c', function: { name: 'f', arguments: args } }],
  });

  it.each([[{ content: null }], [{}]])('content %j beside calls is a text', (content) => {
    expect(render("{{ '<' + messages[1].content + '>' }}", { ...content, ...call({}) })).toBe('<>');
    expect(render('{{ messages[1].content | trim }}|', { ...content, ...call({}) })).toBe('|');
  });

  it.each([
    ['{"b": 1.0, "a": "é"}', "{'b': 1.0, 'a': 'é'}"],
    ['', '{}'],
    [null, '{}'],
    [{ x: [1] }, "{'x': [1]}"],
    ['no JSON', 'no JSON'],
    ['[1]', '[1]'],
  ])('arguments %j are %s', (args, text) => {
    expect(
      render('{{ messages[1].tool_calls[0].function.arguments }}', { content: '', ...call(args) }),
    ).toBe(text);
  });

  it('arguments stay a text for templates that add them to one, and are no "[object Map]"', () => {
    const source = "{{ 'x' + messages[1].tool_calls[0].function.arguments }}";
    expect(render(source, { content: '', ...call('{"a": 1}') })).toBe('x{"a": 1}');
    expect(() => render(source, { content: '', ...call({ a: 1 }) })).toThrow(
      /can only|unsupported operand/,
    );
  });

  it.each([[[]], [null], [undefined]])('tool_calls %j is a plain answer', (calls) => {
    const llama =
      "{% if 'tool_calls' in messages[1] %}{{ raise_exception('one call') }}{% endif %}{{ messages[1].content }}";
    expect(render(llama, { content: 'b', tool_calls: calls })).toBe('b');
    const other =
      "{% if messages[1].tool_calls | length == 0 %}{{ raise_exception('one call') }}{% endif %}b";
    expect(
      render(other.replace('| length', '| default([1]) | length'), {
        content: 'b',
        tool_calls: calls,
      }),
    ).toBe('b');
  });

  it('members that are null or undefined are none, in tools neither', () => {
    expect(
      render('{{ messages[1] | tojson }}', { content: 'b', name: undefined, refusal: null }),
    ).toBe('{"role": "assistant", "content": "b"}');
    expect(
      render(
        '{{ tools | tojson }}',
        { content: 'b' },
        { tools: [{ name: 'f', description: undefined }] },
      ),
    ).toBe('[{"name": "f"}]');
  });

  it('reasoning is found under the names that templates read', () => {
    const source = '{{ messages[1].reasoning_content }}{{ messages[1].thinking }}';
    for (const name of ['reasoning_content', 'thinking', 'reasoning']) {
      expect(render(source, { content: 'b', [name]: 'r' })).toBe('rr');
    }
  });

  it('tools and documents are none where there are none', () => {
    expect(render('{{ tools is none }}{{ documents is none }}', { content: 'b' })).toBe('TrueTrue');
  });

  it('parts reach templates that go over them; images only those', () => {
    const content = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    expect(
      render('{% for p in messages[1].content %}<{{ p.text }}>{% endfor %}', { content }),
    ).toBe('<a><b>');
    expect(render('{{ messages[1].content }}', { content })).toBe('a\nb');
    const image = { content: [{ type: 'image' }] };
    expect(render('{% for p in messages[1].content %}{{ p.type }}{% endfor %}', image)).toBe(
      'image',
    );
    expect(() => render('{{ messages[1].content }}', image)).toThrow(/only parts of type "text"/);
  });
});

describe('bad templates', () => {
  it('are refused when made: none, no string, too long', () => {
    for (const source of [
      [],
      {},
      [{ name: 'default' }],
      [null],
      { default: 5 },
      'x'.repeat((1 << 20) + 1),
      null,
    ]) {
      expect(() => new ChatTemplate(source as never)).toThrow(
        expect.objectContaining({ code: 'ERR_CHAT_TEMPLATE' }),
      );
    }
    expect(new ChatTemplate('x'.repeat(1 << 20)).render(talk).length).toBe(1 << 20);
  });

  it('are refused when used: damaged, or failing', () => {
    for (const source of ['{% if %}', '{{ ', '{% for x in messages %}', '{{ 1 + nothing() }}']) {
      const template = new ChatTemplate(source);
      expect(() => template.render(talk), source).toThrow(
        expect.objectContaining({ code: 'ERR_CHAT_TEMPLATE' }),
      );
    }
  });

  it('see nothing of the process', () => {
    for (const source of [
      "{{ messages['constructor'] }}",
      "{{ messages[0]['__proto__'] }}",
      '{{ process }}{{ globalThis }}',
    ]) {
      let text = '';
      try {
        text = new ChatTemplate(source).render(talk);
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_CHAT_TEMPLATE' });
      }
      expect(text).toBe('');
    }
  });
});

it('variables cannot replace the messages', () => {
  const template = new ChatTemplate('{{ messages | length }}{{ extra }}');
  expect(template.render(talk, { variables: { messages: [], extra: '!' } })).toBe('4!');
});

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

describe('functions of templates', () => {
  const run = (source: string) => new ChatTemplate(source).render(talk);
  it("range is Python's, up to 100,000", () => {
    expect(run('{{ range(3) }} {{ range(1, 8, 3) }} {{ range(3, 0, -2) }} {{ range(2, 1) }}')).toBe(
      run('{{ [0, 1, 2] }} {{ [1, 4, 7] }} {{ [3, 1] }} {{ [] }}'),
    );
    expect(run('{{ range(100000) | length }}')).toBe('100000');
    for (const bad of ['range(100001)', 'range(1, 5, 0)', 'range(0, 1, 0.000001)']) {
      expect(() => run(`{{ ${bad} }}`), bad).toThrow(/range\(\) of/);
    }
  });

  it('constants have both spellings', () => {
    expect(
      run('{{ true and True and not false and not False and none is none and None is none }}'),
    ).toBe('true');
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

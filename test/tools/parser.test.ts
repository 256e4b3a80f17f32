import { describe, expect, it } from 'vitest';
import { checkTools } from '../../lib/tools/definitions.js';
import { AnswerParser } from '../../lib/tools/parser.js';
import type { ToolDefinition } from '../../lib/tools/types.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import { FAMILIES } from '../support/tool-families.js';
import { type Answer, collect, parse, subject, writtenBy } from './support.js';

const tool = (name: string, properties: object = {}): ToolDefinition => ({
  type: 'function',
  function: { name, parameters: { type: 'object', properties } },
});
const tools = [tool('get', { city: { type: 'string' } }), tool('get_all'), tool('put')];
const hermes = subject(FAMILIES.hermes.source);
const qwen3 = subject(FAMILIES.qwen3.source);
const coder = subject(FAMILIES.qwen3_coder.source);
const llama = subject(FAMILIES.llama3.source);

/** In one piece and character by character, which must be the same but for made-up ids. */
function read(
  own: typeof hermes,
  text: string,
  beginning: 'start' | 'reasoning' = 'start',
): Answer {
  const whole = parse(own, tools, text, beginning, () => text.length);
  const slow = parse(own, tools, text, beginning, () => 1);
  const same = (answer: Answer) => ({
    ...answer,
    calls: answer.calls.map((c) => ({ ...c, id: '' })),
  });
  expect(same(slow)).toEqual(same(whole));
  return whole;
}

describe('content', () => {
  it.each([
    'Plain text.',
    ' leading and trailing \n',
    'a < b, <tool and <tool_cal',
    '<tool_call>\n{"name": "unknown", "arguments": {}}\n</tool_call>',
    '<tool_call> is a marker',
    '<tool_call>\n{"nome": "get"}',
    'x <tool_call><tool_call> y',
    '',
    '\n\n',
  ])('%j is content as it is', (text) => {
    expect(read(hermes, text)).toEqual({ content: text, reasoning: '', calls: [] });
  });

  it('an unknown name does not hide the call after it', () => {
    const other = '<tool_call>\n{"name": "no", "arguments": {}}\n</tool_call>\n';
    const own = '<tool_call>\n{"name": "put", "arguments": {}}\n</tool_call>';
    const { content, calls } = read(hermes, other + own);
    expect(content).toBe(other.trimEnd());
    expect(calls).toMatchObject([{ name: 'put', text: '{}', ended: true }]);
  });

  it('without tools nothing is a call', () => {
    const text = '<tool_call>\n{"name": "put", "arguments": {}}\n</tool_call>';
    expect(parse(hermes, [], text, 'start', () => 3)).toEqual({
      content: text,
      reasoning: '',
      calls: [],
    });
  });

  it('of markers and words at random is never lost', () => {
    const pieces = [
      '<tool_call>',
      '\n',
      '{"name": "',
      'get',
      '", "arguments": ',
      '{"city": "x"}',
      '}',
      ' ',
    ];
    const { integer } = random(SEED);
    for (let i = 0; i < 500; i++) {
      const text = Array.from({ length: integer(12) }, () => pieces[integer(pieces.length)]).join(
        '',
      );
      const { content, calls } = parse(hermes, tools, text, 'start', () => 1 + integer(5));
      const told = content + calls.map((call) => call.name + call.text).join('');
      // What a call takes are its markers; all letters that are none are told, in some order.
      const letters = (value: string) =>
        [...value.replace(/tool_call|name|arguments|[^a-z]/g, '')].sort().join('');
      // Of what the end cuts off, the head is not told, unless it is part of arguments.
      const kept = text.replace(/\s*<tool_call>\s*(\{"name": "(get)?)?$/, '');
      expect([letters(text), letters(kept)], text).toContain(letters(told));
      if (calls.length === 0) expect(content).toBe(kept);
    }
  });

  it('spaces between content and calls belong to neither', () => {
    const call = '<tool_call>\n{"name": "put", "arguments": {}}\n</tool_call>';
    expect(read(hermes, `Wait.\n\n${call}\n`)).toMatchObject({ content: 'Wait.', calls: [{}] });
    expect(read(hermes, `\n${call}`)).toMatchObject({ content: '', calls: [{}] });
  });
});

describe('calls', () => {
  it('are told before their arguments have ended', () => {
    const { callable } = checkTools({ tools });
    const parser = new AnswerParser(hermes.marked, callable, 'start');
    expect(parser.push('<tool_call>\n{"name": "get')).toEqual([]);
    expect(parser.push('", "arguments": ')).toMatchObject([
      { type: 'call', index: 0, name: 'get' },
    ]);
    expect(parser.push('{"city": "Pa')).toEqual([
      { type: 'arguments', index: 0, json: '{"city": "Pa' },
    ]);
    expect(parser.push('ris"}')).toEqual([{ type: 'arguments', index: 0, json: 'ris"}' }]);
    expect(parser.push('}\n</tool_call>')).toEqual([{ type: 'call-end', index: 0 }]);
    expect(parser.finish()).toEqual([]);
  });

  it('names that begin alike are told apart', () => {
    const glm = subject(FAMILIES.glm47.source);
    expect(read(glm, '<tool_call>get_all</tool_call>').calls).toMatchObject([{ name: 'get_all' }]);
    expect(read(glm, '<tool_call>get</tool_call>').calls).toMatchObject([{ name: 'get' }]);
    expect(read(glm, '<tool_call>get_al</tool_call>').calls).toEqual([]);
  });

  it('that are cut off stay without an end', () => {
    const { calls } = read(hermes, '<tool_call>\n{"name": "get", "arguments": {"city": "Par');
    expect(calls).toMatchObject([{ name: 'get', text: '{"city": "Par', ended: false }]);
    // Whole arguments make a whole call, whatever is missing of its markers.
    const { calls: whole } = read(hermes, '<tool_call>\n{"name": "get", "arguments": {}}\n</too');
    expect(whole).toMatchObject([{ text: '{}', ended: true }]);
  });

  it('white space where the template has other does no harm', () => {
    const text = '<tool_call>{"name":"get","arguments":{"city":"a"}}</tool_call>';
    expect(read(hermes, text).calls).toMatchObject([{ name: 'get', text: '{"city":"a"}' }]);
  });

  it('without a marker stand alone', () => {
    const text = '{"name": "get", "parameters": {"city": "a"}}';
    expect(read(llama, text).calls).toMatchObject([{ name: 'get', text: '{"city": "a"}' }]);
    expect(read(llama, '{"type": "function", "name": "put", "parameters": {}}').calls).toHaveLength(
      1,
    );
    expect(read(llama, `So: ${text}`)).toMatchObject({ content: `So: ${text}`, calls: [] });
  });

  it('arguments that break off into something else are not lost', () => {
    const { content, calls } = read(hermes, '<tool_call>\n{"name": "get", "arguments": none of it');
    expect(calls).toMatchObject([{ name: 'get', text: '' }]);
    expect(content).toBe('none of it');
  });
});

describe('what is no argument', () => {
  it('ends its call at the marker of its end, and the answer goes on', () => {
    const broken = '<tool_call>\n{"name": "get", "arguments": none of it}\n</tool_call>';
    const put = '<tool_call>\n{"name": "put", "arguments": {"a": 1}}\n</tool_call>';
    const { content, calls } = read(hermes, `${broken}\n${put}\nAnd on.`);
    expect(calls).toMatchObject([
      { name: 'get', text: '{}', ended: true },
      { name: 'put', text: '{"a": 1}', ended: true },
    ]);
    expect(content).toBe('none of it}\nAnd on.');
  });

  it('ends its call where another begins', () => {
    const text =
      '<tool_call>\n{"name": "get", "arguments": oh ' +
      '<tool_call>\n{"name": "put", "arguments": {}}\n</tool_call>';
    expect(read(hermes, text)).toMatchObject({
      content: 'oh ',
      calls: [
        { name: 'get', text: '{}', ended: true },
        { name: 'put', text: '{}', ended: true },
      ],
    });
  });

  it('leaves what was read of tagged arguments', () => {
    const call =
      '<tool_call>\n<function=get>\n<parameter=city>\nParis\n</parameter>\n' +
      '<oh>dear</oh>\n</function>\n</tool_call>';
    expect(read(coder, `${call}\n${call}\nSo.`)).toMatchObject({
      content: '<oh>dear</oh>\n</function>\n<oh>dear</oh>\n</function>\nSo.',
      calls: [
        { name: 'get', text: '{"city": "Paris"}', ended: true },
        { name: 'get', text: '{"city": "Paris"}', ended: true },
      ],
    });
  });

  it('leaves what was read of quoted ones, and of Python', () => {
    const gemma = subject(FAMILIES.gemma4.source);
    const quoted = gemma.marks.mark('<|tool_call>call:get{a:{b:[1,2],c}}<tool_call|>');
    expect(read(gemma, quoted)).toMatchObject({
      content: 'c}}',
      calls: [{ text: '{"a": {"b": [1, 2]}}', ended: true }],
    });
    const lfm = subject(FAMILIES.lfm2.source);
    const python = lfm.marks.mark('<|tool_call_start|>[get(city="x", (y)]<|tool_call_end|>So.');
    const { calls, content } = read(lfm, python);
    expect(calls).toMatchObject([{ text: '{"city": "x"}', ended: true }]);
    expect(content).toBe('(ySo.');
  });

  it('of markers at random ends every call that is not the last, with JSON', () => {
    const { integer } = random(SEED);
    const parts = [
      ...['<tool_call>\n<function=', 'get>\n', '<parameter=city>\n', 'x', '\n</parameter>\n'],
      ...['</function>\n</tool_call>', '\n', '</function>', '<parameter=', '>\n'],
    ];
    let ended = 0;
    for (let i = 0; i < 1000; i++) {
      const some = Array.from({ length: integer(16) }, () => parts[integer(parts.length)]);
      const text = `${parts[0]}${parts[1]}${some.join('')}`;
      const { calls } = parse(coder, tools, text, 'start', () => 1 + integer(9));
      for (const [at, call] of calls.entries()) {
        if (at < calls.length - 1) expect([text, call.ended]).toEqual([text, true]);
        if (!call.ended) continue;
        ended++;
        expect(() => JSON.parse(call.text), text).not.toThrow();
      }
    }
    expect(ended).toBeGreaterThan(200);
  });
});

describe('calls whose head is cut off', () => {
  const call = '<tool_call>\n{"name": "get", "arguments": {"city": "x"}}\n</tool_call>';

  it('are no content from their marker on, and calls once their name has come', () => {
    const marker = '<tool_call>'.length;
    const name = call.indexOf('get') + 3;
    for (let length = 1; length <= call.length; length++) {
      const { content, calls } = read(hermes, call.slice(0, length));
      expect([length, content]).toEqual([length, length < marker ? call.slice(0, length) : '']);
      expect(calls.map((one) => one.name)).toEqual(length > name ? ['get'] : []);
    }
    expect(read(hermes, call.slice(0, name + 5)).calls).toMatchObject([
      { name: 'get', text: '', ended: false },
    ]);
  });

  it('leave the text before them, and the calls', () => {
    for (const cut of ['<tool_call>', '<tool_call>\n{"name": "ge']) {
      expect(read(hermes, `Wait.\n\n${cut}`)).toMatchObject({ content: 'Wait.', calls: [] });
      const { content, calls } = read(hermes, `${call}\n${cut}`);
      expect([content, calls.length]).toEqual(['', 1]);
    }
    const { calls } = read(hermes, `${call}\n<tool_call>\n{"name": "put", "argu`);
    expect(calls).toMatchObject([{ ended: true }, { name: 'put', text: '', ended: false }]);
  });

  it('have no name while it may still become another', () => {
    const glm = subject(FAMILIES.glm47.source);
    for (const name of ['get', 'put']) {
      expect(read(glm, `<tool_call>${name}`)).toMatchObject({ content: '', calls: [] });
    }
  });

  it('of a format without a marker are calls from their name on', () => {
    expect(read(llama, '{"name": "get", "para')).toMatchObject({
      ...{ content: '', calls: [{ name: 'get', text: '', ended: false }] },
    });
    const early = '{"name": "ge';
    expect(read(llama, early)).toMatchObject({ content: early, calls: [] });
    const must = parse(llama, tools, early, 'start', () => 1, true);
    expect(must).toMatchObject({ content: '', calls: [] });
  });

  it('are told where one had to come, however little of it has', () => {
    for (const text of ['<', '<tool_c', '\n<tool_call>']) {
      const must = parse(hermes, tools, text, 'start', () => 1, true);
      expect(must).toMatchObject({ content: '', calls: [] });
    }
  });

  it.each(Object.entries(FAMILIES))('leak no markers of %s', (_, { source }) => {
    const own = subject(source);
    const turn = { content: '', calls: [{ name: 'put', args: {} }] };
    const { text, beginning } = writtenBy(own, tools, turn);
    const chars = Array.from(text);
    for (let length = 1; length <= chars.length; length++) {
      const cut = chars.slice(0, length).join('');
      const { content } = parse(own, tools, cut, beginning, () => length, true);
      expect([cut, content.trim()]).toEqual([cut, '']);
    }
  });

  it('as channels leak none either', () => {
    const own = subject(FAMILIES.harmony.source);
    const start = own.marks.mark('<|channel|>');
    for (const name of ['comment', 'commentary to=functions.pu', 'fina', 'analysi']) {
      expect(parse(own, tools, start + name, 'start', () => 1).content).toBe('');
    }
  });
});

describe('tagged arguments', () => {
  const call = (...params: [string, string][]) =>
    `<tool_call>\n<function=f>\n${params.map(param).join('')}</function>\n</tool_call>`;
  const param = ([k, v]: [string, string]) => `<parameter=${k}>\n${v}\n</parameter>\n`;
  const typed = (properties: object) => (text: string) => {
    const own = [
      { type: 'function', function: { name: 'f', parameters: { type: 'object', properties } } },
    ] as const;
    const [{ text: json }] = parse(coder, own, text, 'start', () => 2).calls;
    return JSON.parse(json);
  };

  it('become what the schema says', () => {
    const read = typed({
      s: { type: 'string' },
      n: { type: 'number' },
      b: { type: 'boolean' },
      sn: { type: ['string', 'null'] },
      u: { anyOf: [{ type: 'integer' }, { type: 'string' }] },
      r: { $ref: '#/properties/n' },
      e: { enum: ['1', 2] },
      any: {},
    });
    const params: [string, string][] = [
      ['s', '42'],
      ['n', '42'],
      ['b', 'True'],
      ['sn', 'null'],
      ['u', '7'],
      ['r', '-1.5e3'],
      ['e', '2'],
      ['any', '{"a": [1]}'],
    ];
    expect(read(call(...params))).toEqual({
      ...{ s: '42', n: 42, b: true, sn: null, u: 7, r: -1500, e: 2, any: { a: [1] } },
    });
    expect(read(call(['u', '7 up'], ['sn', 'nil'], ['any', 'text "q"']))).toEqual({
      ...{ u: '7 up', sn: 'nil', any: 'text "q"' },
    });
  });

  it('texts keep what looks like markers', () => {
    const read = typed({ s: { type: 'string' } });
    for (const s of [
      'a\n</parameter',
      '<parameter=x>',
      '</function>',
      '\n\n',
      'a "b" \\ c',
      '\u0001',
    ]) {
      expect(read(call(['s', s]))).toEqual({ s });
    }
  });

  it.each([['object'], [['object', 'null']], [['array', 'object', 'integer', 'boolean']]])(
    'JSON of type %j keeps the end of its tag in its texts',
    (type) => {
      const read = typed({ o: { type }, s: { type: 'string' } });
      const o = { a: '\n</parameter>\n', b: ['</function>\n</tool_call>'] };
      const s = 'after';
      expect(read(call(['o', JSON.stringify(o)], ['s', s]))).toEqual({ o, s });
      expect(read(call(['o', ' {}  '], ['s', s]))).toEqual({ o: {}, s });
    },
  );

  it('a word or number where JSON may be ends at the end of its tag', () => {
    const read = typed({ o: { type: ['object', 'null', 'number', 'boolean'] } });
    const values: [string, unknown][] = [
      ['None', null],
      ['-2.5', -2.5],
      ['True', true],
      [' false ', false],
      ['{}', {}],
    ];
    for (const [text, value] of values) expect(read(call(['o', text]))).toEqual({ o: value });
  });

  it('the last of two of the same name counts', () => {
    const read = typed({ s: { type: 'string' } });
    expect(read(call(['s', 'a'], ['s', 'b']))).toEqual({ s: 'b' });
  });
});

describe('reasoning', () => {
  it.each([
    ['<think>\nWhy?\n</think>\n\nSo.', 'start', 'Why?', 'So.'],
    ['\nWhy?\n</think>\n\nSo.', 'reasoning', 'Why?', 'So.'],
    ['So <think> not.', 'start', '', 'So <think> not.'],
    ['<think></think>So.', 'start', '', 'So.'],
    ['Never </thin ends', 'reasoning', 'Never </thin ends', ''],
  ] as const)('%j', (text, beginning, reasoning, content) => {
    expect(read(qwen3, text, beginning)).toEqual({ content, reasoning, calls: [] });
  });

  it('may talk of calls', () => {
    const call = '<tool_call>\n{"name": "put", "arguments": {}}\n</tool_call>';
    const answer = read(qwen3, `<think>${call}</think>${call}`);
    expect(answer).toMatchObject({ reasoning: call, content: '', calls: [{ name: 'put' }] });
  });

  it('in channels, with a remark before the call', () => {
    const own = subject(FAMILIES.harmony.source);
    const mark = (text: string) => own.marks.mark(text);
    const text = mark(
      '<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant' +
        '<|channel|>commentary<|message|>Wait.<|end|><|start|>assistant' +
        '<|channel|>commentary to=functions.put <|constrain|>json<|message|>{}<|call|>',
    );
    expect(parse(own, tools, text, 'start', () => 2)).toMatchObject({
      ...{ reasoning: 'Hm.', content: 'Wait.', calls: [{ name: 'put', text: '{}', ended: true }] },
    });
    const final = `${mark('<|channel|>final<|message|>')}So <|end|> it is.`;
    expect(parse(own, tools, final, 'start', () => 1).content).toBe('So <|end|> it is.');
  });

  it('events of a text put together are the text, whatever the cuts', () => {
    expect(
      collect([
        { type: 'content', text: 'a' },
        { type: 'content', text: 'b' },
      ]).content,
    ).toBe('ab');
  });
});

it('spaces without end are read once', () => {
  const { callable } = checkTools({ tools });
  const parser = new AnswerParser(hermes.marked, callable, 'start');
  let told = '';
  for (let i = 0; i < 50_000; i++) {
    for (const event of parser.push('    ')) if (event.type === 'content') told += event.text;
  }
  for (const event of parser.finish()) if (event.type === 'content') told += event.text;
  expect(told.length).toBe(200_000);
});

/** What a template writes of a call is what is read of it, and what the grammar allows. */
import { describe, expect, it } from 'vitest';
import type { ToolChoice } from '../../lib/tools/types.js';
import { random } from '../support/random.js';
import { accepts } from '../support/reference-matcher.js';
import { SEED } from '../support/seed.js';
import { FAMILIES } from '../support/tool-families.js';
import { drawTurn, grammarOf, parse, piecesOf, subject, writtenBy } from './support.js';

const ROUNDS = 40;
const GRAMMARS = 6;

describe.each(Object.entries(FAMILIES))('%s', (name, { source, refuses, reasons }) => {
  const own = subject(source);
  const draws = random(SEED + name.length * 7919);
  const draw = () => drawTurn(own, { refuses, reasons }, draws);

  it('gives the same calls, however it is cut', () => {
    for (let i = 0; i < ROUNDS; i++) {
      const { tools, turn, text, beginning } = draw();
      const size = 1 + draws.integer(8);
      const answer = parse(own, tools, text, beginning, () => 1 + draws.integer(size));
      const calls = answer.calls.map((call) => ({ name: call.name, args: JSON.parse(call.text) }));
      expect({ text, calls }).toEqual({ text, calls: turn.calls });
      expect(answer.calls.every(({ ended }) => ended)).toBe(true);
      expect(answer.content).toBe(turn.content);
      expect(answer.reasoning).toBe(turn.reasoning ?? '');
    }
  });

  it('is what the grammar allows, where the choice does', () => {
    for (let i = 0; i < GRAMMARS; i++) {
      const { tools, turn, text, beginning } = draw();
      const pieces = piecesOf(text, own.marks);
      const takes = (toolChoice: ToolChoice, parallelToolCalls = true) =>
        accepts(grammarOf(own, { tools, toolChoice, parallelToolCalls }, beginning), pieces);
      const told = { text, tools: tools.map((tool) => tool.function) };
      expect({ ...told, takes: takes('auto') }).toEqual({ ...told, takes: true });
      expect({ ...told, takes: takes('none') }).toEqual({ ...told, takes: false });
      const isBare = turn.content === '';
      expect({ ...told, takes: takes('required') }).toEqual({ ...told, takes: isBare });
      const [{ name }] = turn.calls;
      const isOne = turn.calls.length === 1;
      expect({ ...told, takes: takes({ name }) }).toEqual({ ...told, takes: isBare && isOne });
      expect({ ...told, takes: takes('auto', false) }).toEqual({ ...told, takes: isOne });
      const others = tools.map((tool) => tool.function.name).filter((one) => one !== name);
      expect(takes({ allowed: others, mode: 'auto' })).toBe(false);
    }
  });

  it('broken calls are refused', () => {
    const tool = {
      type: 'function',
      function: {
        name: 'get',
        parameters: {
          type: 'object',
          properties: { n: { type: 'integer' }, s: { type: 'string', enum: ['one', 'two'] } },
          required: ['n', 's'],
          additionalProperties: false,
        },
      },
    } as const;
    const tools = [tool];
    const written = (args: object, called = 'get') =>
      writtenBy(own, tools, { content: '', calls: [{ name: called, args }] });
    const { text, beginning } = written({ n: 1, s: 'one' });
    const grammar = grammarOf(own, { tools, toolChoice: 'required' }, beginning);
    const takes = (broken: string) => accepts(grammar, piecesOf(broken, own.marks));
    expect(takes(text)).toBe(true);
    const wrong = [
      written({ n: 1, s: 'three' }).text,
      written({ n: 1.5, s: 'one' }).text,
      written({ n: 'x', s: 'one' }).text,
      written({ n: 1 }).text,
      written({}).text,
      written({ n: 1, s: 'one', more: 1 }).text,
      written({ n: 1, s: 'one' }, 'put').text,
      `${text} more`,
      Array.from(text).slice(0, -1).join(''),
      'Some words.',
      '',
    ];
    for (const broken of wrong)
      expect({ broken, takes: takes(broken) }).toEqual({ broken, takes: false });
  });
});

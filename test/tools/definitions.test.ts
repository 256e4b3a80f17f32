import { describe, expect, it } from 'vitest';
import { checkTools, MAX_TOOLS } from '../../lib/tools/definitions.js';
import { checkReasoning } from '../../lib/tools/reasoning.js';

const f = (name: unknown, more: object = {}) => ({ type: 'function', function: { name, ...more } });

/** The error's code and what it is about. */
function refusal(options: object): [unknown, unknown] {
  try {
    checkTools(options);
  } catch (error) {
    const { code, param } = error as { code?: string; param?: string };
    return [code, param];
  }
  return [undefined, undefined];
}

describe('tool definitions', () => {
  it.each([
    [{ tools: 'x' }, 'tools'],
    [{ tools: [1] }, 'tools[0]'],
    [{ tools: [{ type: 'custom', custom: {} }] }, 'tools[0].type'],
    [{ tools: [{ type: 'function' }] }, 'tools[0].function'],
    [{ tools: [f('a'), f('')] }, 'tools[1].function.name'],
    [{ tools: [f('two words')] }, 'tools[0].function.name'],
    [{ tools: [f(7)] }, 'tools[0].function.name'],
    [{ tools: [f('x'.repeat(129))] }, 'tools[0].function.name'],
    [{ tools: [f('a'), f('b'), f('a')] }, 'tools[2].function.name'],
    [{ tools: [f('a', { description: 1 })] }, 'tools[0].function.description'],
    [{ tools: [f('a', { strict: 'yes' })] }, 'tools[0].function.strict'],
    [{ tools: [f('a', { parameters: [] })] }, 'tools[0].function.parameters'],
    [{ tools: [f('a', { parameters: { type: 'array' } })] }, 'tools[0].function.parameters.type'],
    [{ tools: Array.from({ length: MAX_TOOLS + 1 }, (_, i) => f(`f${i}`)) }, 'tools'],
    [{ tools: [f('a')], toolChoice: 'maybe' }, 'toolChoice'],
    [{ tools: [f('a')], toolChoice: { name: 'b' } }, 'toolChoice.name'],
    [{ tools: [f('a')], toolChoice: { allowed: ['a', 'b'] } }, 'toolChoice.allowed[1]'],
    [{ tools: [f('a')], toolChoice: { allowed: ['a'], mode: 'none' } }, 'toolChoice.mode'],
    [{ toolChoice: 'required' }, 'toolChoice'],
    [{ toolChoice: { name: 'a' } }, 'toolChoice.name'],
    [{ tools: [f('a')], parallelToolCalls: 1 }, 'parallelToolCalls'],
    [
      {
        get tools() {
          throw new Error('mine');
        },
      },
      'tools',
    ],
  ])('%#: is refused by its place', (options, param) => {
    expect(refusal(options)).toEqual(['ERR_INVALID_PARAM', param]);
  });

  it('what is missing or null is the default', () => {
    expect(checkTools({ tools: null, toolChoice: null, parallelToolCalls: null })).toMatchObject({
      ...{ callable: [], tools: [], definitions: null, minCalls: 0 },
    });
    expect(checkTools({ tools: [] }).definitions).toBeNull();
  });

  it('arguments are an object, whatever a schema leaves open', () => {
    const schema = (parameters: unknown) =>
      checkTools({ tools: [f('a', { parameters }) as never] }).tools[0].schema;
    expect(schema(undefined)).toMatchObject({ type: 'object', additionalProperties: false });
    expect(schema(null)).toEqual(schema(undefined));
    expect(schema({})).toEqual({ type: 'object' });
    expect(schema({ type: ['object', 'null'] })).toEqual({ type: 'object' });
  });

  it('a choice says which, and how many', () => {
    const tools = [f('a'), f('b'), f('c')] as never;
    const chosen = (toolChoice: never, parallelToolCalls?: boolean) => {
      const { callable, minCalls, maxCalls } = checkTools({ tools, toolChoice, parallelToolCalls });
      return [callable.map(({ name }) => name).join(''), minCalls, maxCalls];
    };
    expect(chosen('auto' as never)).toEqual(['abc', 0, Infinity]);
    expect(chosen('none' as never)).toEqual(['', 0, Infinity]);
    expect(chosen('required' as never, false)).toEqual(['abc', 1, 1]);
    expect(chosen({ name: 'b' } as never)).toEqual(['b', 1, 1]);
    expect(chosen({ allowed: ['c', 'a'], mode: 'required' } as never)).toEqual(['ca', 1, Infinity]);
    expect(chosen({ allowed: [] } as never)).toEqual(['', 0, Infinity]);
  });

  it.each([
    [{ enabled: 'yes' }, 'reasoning.enabled'],
    [{ budget: -1 }, 'reasoning.budget'],
    [{ budget: 1.5 }, 'reasoning.budget'],
    [{ effort: 3 }, 'reasoning.effort'],
    ['x', 'reasoning'],
  ])('reasoning %j is refused', (given, param) => {
    expect(() => checkReasoning(given as never)).toThrow(expect.objectContaining({ param }));
  });
});

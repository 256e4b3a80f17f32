import { describe, expect, it } from 'vitest';
import { callsNamed } from '../../lib/tools/named.js';
import { codeOf } from '../support/code-of.js';
import { FAMILIES } from '../support/tool-families.js';
import { subject } from './support.js';

const named = Object.entries(FAMILIES).filter(([, { name }]) => name !== undefined);

describe('formats from renders', () => {
  it.each(named)('%s is found as it is known by name', (_, { source, name }) => {
    const { calls } = subject(source).spelled;
    const known = callsNamed(name!)!;
    // Forms beyond the first are what models write beside what their template shows.
    expect(calls?.forms[0]).toEqual(known.forms[0]);
    expect({ ...calls, forms: [], ids: '' }).toEqual({ ...known, forms: [], ids: '' });
  });

  // Gemma 4 has channels of its own, whatever a template shows.
  const others = Object.entries(FAMILIES).filter(([name]) => name !== 'gemma4');
  it.each(others)('%s: reasoning where there is any', (_, family) => {
    const { reasoning } = subject(family.source).spelled;
    expect(reasoning !== null).toBe(family.reasons === true);
  });

  it('ids: nine characters where the template insists', () => {
    expect(subject(FAMILIES.mistral_v3.source).spelled.calls?.ids).toBe('nine');
    expect(subject(FAMILIES.hermes.source).spelled.calls?.ids).toBe('call');
  });

  it('a template without tools has none, and says so', () => {
    const { calls, why } = subject('{{ messages[0].content }}').spelled;
    expect(calls).toBeNull();
    expect(why).toMatch(/knows no tools/);
  });

  it('one whose calls are beyond differences says that', () => {
    const source =
      '{%- for m in messages -%}{{ m.content }}{%- for c in m.tool_calls or [] -%}' +
      '{{ c.function.name | upper }}{{ c.function.name }}~{{ c.function.arguments | length }}' +
      '{%- endfor -%}{%- endfor -%}';
    const { calls, why } = subject(source).spelled;
    expect(calls).toBeNull();
    expect(why).toMatch(/not understood/);
  });

  it('names overrule what is found', async () => {
    const { source } = FAMILIES.hermes;
    const coded = (names: object) => codeOf((async () => subject(source, names))());
    expect(subject(source, { calls: 'granite' }).spelled.calls).toEqual(callsNamed('granite'));
    expect(subject(source, { calls: 'none' }).spelled.calls).toBeNull();
    expect(subject(source, { reasoning: 'deepseek_r1' }).spelled.reasoning?.end).toBe('</think>');
    expect(subject(FAMILIES.qwen3.source, { reasoning: 'none' }).spelled.reasoning).toBeNull();
    expect(await coded({ calls: 'herms' })).toBe('ERR_INVALID_PARAM');
    expect(await coded({ reasoning: 'x' })).toBe('ERR_INVALID_PARAM');
    expect(await coded({ calls: 'toString' })).toBe('ERR_INVALID_PARAM');
  });

  it('templates that describe calls and render none are known by their signs', () => {
    const describing = (words: string) =>
      `{%- if tools %}Tools: {{ tools | tojson }} ${words}{% endif -%}` +
      '{%- for m in messages -%}{{ m.content }}{%- endfor -%}';
    const name = (words: string) =>
      subject(describing(`{{ ${JSON.stringify(words)} }}`)).spelled.calls;
    expect(name('Write <tool_call> with name and arguments.')).toEqual(callsNamed('hermes'));
    expect(name('Write <|tool_call|> from available_tools.')).toEqual(callsNamed('granite'));
    expect(name('Answer by functools[…].')).toEqual(callsNamed('phi4_mini_json'));
    expect(name('List: <|tool_list_start|>')).toEqual(callsNamed('lfm2'));
  });
});

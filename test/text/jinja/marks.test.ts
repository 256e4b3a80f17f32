import { describe, expect, it } from 'vitest';
import { TemplateFailure } from '../../../lib/text/jinja/failure.js';
import { Marks, mark, plain, splitText, withMarks } from '../../../lib/text/jinja/marks.js';
import { JinjaTemplate } from '../../../lib/text/jinja/template.js';
import { NOW, readExpressions, TEMPLATES, TOKENS } from './support.js';

const CHARS = '<>|[]';
const marks = new Marks(CHARS);
const OWN = new Set(Object.keys(TOKENS));

function both(template: string, given: Record<string, unknown>): [string, string] {
  const parsed = new JinjaTemplate(template);
  const outcome = (of: Marks | null) => {
    try {
      return parsed.render({ ...TOKENS, ...given }, NOW, of, OWN);
    } catch (error) {
      if (error instanceof TemplateFailure) return `${error.kind}: ${error.message}`;
      throw error;
    }
  };
  return [outcome(null), outcome(marks)];
}

describe('a render with marks', () => {
  const given = {
    x: '<think> a </think> <|im_end|> b [c] | <d>',
    y: '<',
    list: ['<b>', '>a', 'c|', '<b>'],
    keyed: { '<k>': '<v>', k: 1 },
  };
  it.each([
    "{{ x.split('</think>')[1] }}",
    "{{ x.rsplit('<', 1) }}",
    "{{ x.split('>', 2) | join('-') }}",
    "{{ x.partition('<|') }}{{ x.rpartition('|>') }}",
    "{{ x.strip('<>') }}{{ x | trim('<td>') }}{{ x.lstrip('<') }}",
    "{{ x.startswith('<think>') }}{{ x.endswith('<d>') }}{{ x.startswith(('a', y)) }}",
    "{{ x.find('</') }}{{ x.rfind(y) }}{{ x.count('<') }}{{ x.index('[c]') }}",
    "{{ x.replace('<|', '(') }}{{ x | replace('>', y, 2) }}",
    "{{ x.removeprefix('<think>') }}{{ x.removesuffix('<d>') }}",
    "{{ '<think>' in x }}{{ y in x }}{{ '<b>' in list }}{{ '<k>' in keyed }}",
    "{{ y == '<' }}{{ '<b>' == list[0] }}{{ y < 'a' }}{{ [y] == ['<'] }}",
    "{{ keyed['<k>'] }}{{ keyed.get('<k>') }}{{ keyed[list[0]] is defined }}",
    '{{ list | sort }}{{ list | unique | list }}{{ list | min }}',
    '{{ x | tojson }}{{ keyed | tojson }}{{ x | tojson(ensure_ascii=true) }}{{ keyed }}',
    '{{ x | e }}{{ x | striptags }}{{ x | title }}{{ x | upper }}{{ x | length }}{{ x[3:30:2] }}',
    '{{ x | urlencode }}{{ x | wordcount }}{{ x | pprint }}{{ x | truncate(20) }}{{ x | indent }}',
    "{{ '%s' % x }}{{ '%r' | format(x) }}{{ '{}'.format(y) }}{{ x ~ y }}{{ x * 2 }}",
    "{{ x.translate({60: 'L'}) }}{{ x.encode() }}{{ y.isascii() }}{{ y.isprintable() }}",
    "{{ raise_exception('no ' + x) }}",
    '{% for c in x %}{{ c }}{{ loop.changed(c) }}{% endfor %}',
    '{% for g in list | groupby(0) %}{{ g.grouper }}{{ g.list | length }}{% endfor %}',
  ])('is the same but for them: %s', (template) => {
    const [right, got] = both(template, given);
    expect(marks.plain(got)).toBe(right);
  });

  it('of all reference expressions', () => {
    const wrong = readExpressions(TEMPLATES).flatMap(({ id, template, context, error }) => {
      if (error !== undefined) return [];
      const [right, got] = both(template, context);
      return marks.plain(got) === right ? [] : [{ id, template, right, got }];
    });
    expect(wrong).toEqual([]);
  });

  it.each([
    '{{ x }}',
    '{{ x | trim | upper | lower }}',
    "{{ x[:2] + x[2:] }}{{ x.split('i') | join('i') }}{{ x | list | join }}",
    "{{ x.replace('a', 'a') }}{{ 'y'.replace('y', x) }}{{ '%s' % x }}{{ '{0}'.format(x) }}",
    '{{ [x] | tojson }}{{ [x] }}{{ {x: 1} }}{{ x | pprint }}{{ x | string | safe }}',
    "{{ x | e | replace('&lt;', y) }}{{ '&lt;|im_end|&gt;' | striptags if no else e | striptags }}",
    '{% set z = x %}{% macro m(v) %}{{ v }}{% endmacro %}{{ m(z) }}{% filter trim %}{{ x }}{% endfilter %}',
    '{{ (y, z, x) | join }}{{ [y ~ z] | first }}{{ x | title | lower }}{{ x.swapcase() }}',
  ])('spells no token that it was given: %s', (template) => {
    const e = '&lt;|im_end|&gt;';
    const [right, got] = both(template, { x: '<|im_end|>', y: '<', z: '|im_end|>', e });
    expect(right).not.toBe(got);
    expect(got.toLowerCase()).not.toContain('<|im_end|>');
    expect(both("{{ '<|im_' + 'end|>' }}{{ bos_token }}", {})[1]).toBe('<|im_end|><|bos|>');
  });
});

it('marks and their texts', () => {
  expect(plain('<')).toBe('<');
  expect(mark('<')).toBe('<');
  withMarks(marks, () => {
    expect(mark('a<b')).toBe('a\ufdd0b');
    expect(plain(mark('a<b>|'))).toBe('a<b>|');
    expect(splitText(mark('a<>b<>'), '<>')).toEqual(['a', 'b', '']);
  });
  const busy = '\ufdd3\ue01f';
  const other = Marks.unused('<', (standIns) => standIns.test(busy)) as Marks;
  expect(other.mark('<\ufdd0')).toBe('\ue020\ufdd0');
  expect(other.plain(other.mark(`<${busy}`))).toBe(`<${busy}`);
  expect(Marks.unused('<', () => true)).toBeUndefined();
});

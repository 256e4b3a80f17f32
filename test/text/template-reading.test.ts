import { expect, it } from 'vitest';
import { parse } from '../../lib/text/jinja/parser.js';
import { readTemplate } from '../../lib/text/template-reading.js';

const reading = (source: string) => readTemplate(parse(source));

it.each([
  ['{% for p in m.content %}{% endfor %}', true],
  ["{% for p in m['content'] | selectattr('type', 'eq', 'text') %}{% endfor %}", true],
  ["{{ m.content | map(attribute='text') | join }}", true],
  ['{% set c = m.content %}{% set d = c if c else c %}{% for p in d %}{% endfor %}', true],
  ['{% macro r(content) %}{% for p in content %}{% endfor %}{% endmacro %}', true],
  ['{{ m.content[0].text }}', true],
  ['{% for x in m recursive %}{{ loop(x.content) }}{% endfor %}', true],
  ['{{ m.content }}{% for c in m.tool_calls %}{% endfor %}', false],
  ["{{ m.content if m.content is string else '' }}", false],
  ["{{ m.content.split('</think>')[0] | trim }}", false],
])('%s takes parts: %j', (source, takesParts) => {
  expect(reading(source).takesParts).toBe(takesParts);
});

it.each([
  ["{% if 'tool_calls' in m %}{% endif %}", true],
  ['{% if m.tool_calls is defined %}{% endif %}', true],
  ["{% if m['tool_calls'] is not none %}{% endif %}", true],
  ['{% if m.tool_calls %}{% endif %}', false],
])('%s asks whether there are calls: %j', (source, asksForCalls) => {
  expect(reading(source).asksForCalls).toBe(asksForCalls);
});

it.each([
  ["{% if m.role in ['system', 'developer'] %}{% endif %}", true],
  ["{% if m['role'] == 'developer' %}{% endif %}", true],
  ["{{ 'developer' }}", true],
  ["{{ 'The developer said:' }} developer {{ developer }}", false],
])('%s names the role developer: %j', (source, namesDeveloper) => {
  expect(reading(source).namesDeveloper).toBe(namesDeveloper);
});

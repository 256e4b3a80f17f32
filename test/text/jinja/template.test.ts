import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { JinjaTemplate } from '../../../lib/text/jinja/template.js';
import { NOW, outcome, readExpressions, TEMPLATES, wrong } from './support.js';

interface Hostile {
  name: string;
  template: string;
  wrap?: [string, string];
  repeat?: number;
  braces?: boolean;
  wanted: 'error' | 'text' | 'either';
}

function whole({ template, wrap, repeat = 1, braces }: Hostile): string {
  const text = wrap
    ? wrap[0].repeat(repeat) + template + wrap[1].repeat(repeat)
    : template.repeat(repeat);
  return braces ? `{{ ${text} }}` : text;
}

it('renders every reference expression as Python does', () => {
  const expressions = readExpressions(TEMPLATES);
  expect(expressions.length).toBe(1065);
  expect(wrong(expressions)).toEqual([]);
});

const hostile: Hostile[] = JSON.parse(readFileSync(`${TEMPLATES}hostile.json`, 'utf8'));

it.each(hostile)('is not overcome by $name', (template) => {
  const error = /^(syntax|type|value|undefined|security|refused|limit): /;
  const got = error.test(outcome(whole(template))) ? 'error' : 'text';
  expect([got, 'either']).toContain(template.wanted);
});

it('can be rendered again, each time anew', () => {
  const template = new JinjaTemplate(
    '{% set n = namespace(c=0) %}{% for x in l %}{% set n.c = n.c + x %}{% endfor %}{{ n.c }}',
  );
  expect(template.render({ l: [1, 2] }, NOW)).toBe('3');
  expect(template.render({ l: [3] }, NOW)).toBe('3');
  expect(template.render({}, NOW)).toBe('0');
});

import { expect, it } from 'vitest';
import { asFailure, TemplateFailure } from '../../../lib/text/jinja/failure.js';
import { outcome } from './support.js';

it('makes one kind of error of all', () => {
  const own = new TemplateFailure('refused', 'no');
  expect(asFailure(own)).toBe(own);
  expect(asFailure(new RangeError('Maximum call stack size exceeded')).kind).toBe('limit');
  expect(asFailure(new Error('x'))).toMatchObject({ kind: 'value', message: 'x' });
  expect(asFailure('x').message).toBe('x');
});

it('takes whatever is thrown', () => {
  const thrown = [
    Object.create(null),
    Symbol('x'),
    { toString: () => ({}) },
    Object.defineProperty(new Error('x'), 'message', { value: Object.create(null) }),
  ];
  for (const error of thrown) expect(asFailure(error).kind).toBe('value');
});

it('cuts names that it quotes, and itself', () => {
  const name = 'a'.repeat(1 << 20);
  const { message } = new TemplateFailure('syntax', `No filter named '${name}'.`);
  expect(message).toBe(`No filter named '${'a'.repeat(80)}…'.`);
  expect(new TemplateFailure('refused', name).message).toHaveLength(1000);
  for (const template of [
    '{{ 1|NAME }}',
    '{{ 1 is NAME }}',
    '{% NAME %}',
    '{{ 1("NAME", NAME=2) }}',
  ]) {
    expect(outcome(template.replaceAll('NAME', name)).length).toBeLessThan(1020);
  }
  for (const template of [
    '{{ NAME.b }}',
    '{{ {}.NAME.b }}',
    '{{ {}["NAME"].b }}',
    '{{ {}[["NAME"]] }}',
  ]) {
    expect(outcome(template.replaceAll('NAME', name.slice(9))).length).toBeLessThan(1020);
  }
});

import { expect, it } from 'vitest';
import { parse } from '../../../lib/text/jinja/parser.js';
import { namesOf, Readings, Scope, Unit } from '../../../lib/text/jinja/scope.js';
import { budgeted, checkExpressions, outcome } from './support.js';

checkExpressions('set');

// A name that is assigned in a scope before it is read there hides what the caller gave.
it.each([
  ['{{ s }}{% set s = 1 %}{{ s }}', 'out1'],
  ['{% for x in [1] %}{{ s is defined }}{% endfor %}{% set s = 1 %}', 'False'],
  ['{% if false %}{% set s = 1 %}{% endif %}{{ s }}', 'out'],
  ['{% for x in [1, 2] %}{{ s }}{% set s = x %}{{ s }}{% endfor %}{{ s }}', 'out1out2out'],
  ['{% set s = 0 %}{% for x in [1, 2] %}{{ s }}{% set s = x %}{% endfor %}{{ s }}', '000'],
  ['{% macro f() %}{{ s }}{% endmacro %}{{ f() }}{% set s = 1 %}{{ f() }}', '1'],
  ['{% with s = s %}{{ s }}{% set s = 2 %}{{ s }}{% endwith %}{{ s }}', 'out2out'],
])('%s', (template, text) => {
  expect(outcome(template, { s: 'out' })).toBe(text);
});

const body = (template: string) =>
  budgeted(() => parse(template) as never) as ReturnType<typeof parse>;
const hidden = (template: string) => [...namesOf(body(template)).hidden].sort();

// Jinja counts the else of an `if` without an elif as if nothing were assigned.
it.each([
  ['{% if a %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}', ''],
  ['{% if a %}{% set x = 1 %}{% elif b %}{% set x = 2 %}{% endif %}', ''],
  ['{% if a %}{% set x = 1 %}{% elif b %}{% set x = 2 %}{% else %}{% set x = 3 %}{% endif %}', 'x'],
  [
    '{% if a %}{{ x }}{% set x = 1 %}{% elif b %}{% set x = 2 %}{% else %}{% set x = 3 %}{% endif %}',
    'x',
  ],
  ['{% if x %}{% set x = 1 %}{% elif b %}{% set x = 2 %}{% else %}{% set x = 3 %}{% endif %}', ''],
  ['{% set x = 1 %}{% if a %}{% set x = y %}{% endif %}{% set y = 1 %}', 'x'],
  ['{% if a %}{{ y }}{% endif %}{% set y = 1 %}{% set z = 1 %}', 'z'],
])('hides what every branch of %s assigns', (template, names) => {
  expect(hidden(template).join()).toBe(names);
});

it('reads many branches after many names, each once', () => {
  const sets = Array.from({ length: 10_000 }, (_, i) => `{% set x${i} = 1 %}`).join('');
  const names = namesOf(body(`${sets}${'{% if x %}{% endif %}'.repeat(20_000)}`));
  expect(names.hidden.size).toBe(10_000);
});

it('shares places between scopes', () => {
  const names = (assigned: string[]) => ({
    assigned: new Set(assigned),
    read: new Set<string>(),
    hidden: new Set<string>(),
  });
  const unit = new Unit(undefined);
  const top = new Scope(unit, undefined, names(['a']));
  const middle = new Scope(unit, top, names(['a', 'b']));
  const inner = new Scope(new Unit(unit), middle, names([]));
  const deeper = new Scope(inner.unit, inner, names([]));
  expect(inner.resolve('a').place).toEqual({
    up: 1,
    slot: 1,
    next: { up: 0, slot: 0, next: undefined },
  });
  expect(deeper.resolve('a').place?.next).toBe(inner.resolve('a').place?.next);
  expect(deeper.resolve('c').place).toBe(undefined);
});

it('knows which names a body reads, macros within too', () => {
  const outer = body('{% macro f() %}{% macro g() %}{{ caller() }}{% endmacro %}{% endmacro %}');
  expect([...new Readings(['caller', 'kwargs']).of(outer)]).toEqual(['caller']);
});

import { expect, it } from 'vitest';
import { nested, spend, spendText, stepsLeft, withBudget } from '../../../lib/text/jinja/budget.js';
import { compile } from '../../../lib/text/jinja/compile.js';
import { TemplateFailure } from '../../../lib/text/jinja/failure.js';
import {
  type Filter,
  type FilterContext,
  LIST_FILTERS,
} from '../../../lib/text/jinja/list-filters.js';
import { parse } from '../../../lib/text/jinja/parser.js';
import { STRING_METHODS } from '../../../lib/text/jinja/string-methods.js';
import { TESTS, type Test } from '../../../lib/text/jinja/tests.js';
import { TEXT_FILTERS } from '../../../lib/text/jinja/text-filters.js';
import { NO_NAMES, Stream, toList, type Value } from '../../../lib/text/jinja/values.js';
import { outcome } from './support.js';

const limit = expect.objectContaining({ kind: 'limit' });

it('ends what takes more steps, a longer text, or calls deeper than allowed', () => {
  const run = (work: () => void) => () => withBudget({ steps: 10_000, text: 100 }, work);
  expect(run(() => spend(10_000))).not.toThrow();
  expect(run(() => spend(10_001))).toThrow(limit);
  expect(run(() => spend(Number.NaN))).toThrow(limit);
  expect(run(() => spendText(100))).not.toThrow();
  expect(run(() => spendText(101))).toThrow(limit);
  expect(run(() => spendText(Number.NaN))).toThrow(limit);
  const deep = (levels: number): boolean => nested(() => levels === 1 || deep(levels - 1));
  expect(run(() => deep(150))).not.toThrow();
  expect(run(() => deep(151))).toThrow(limit);
});

it('has one budget within another', () => {
  withBudget({ steps: 10, text: 10 }, () => {
    expect(() => withBudget({ steps: 1, text: 1 }, () => spend(2))).toThrow(limit);
    spend(10);
    expect(() => spend(1)).toThrow(limit);
  });
});

const LONG = '{% set a = "a" * 900000 %}{% set b = a|upper|lower %}';

it.each([
  [
    'keys of nested tuples',
    '{% set n = namespace(t=(1,)) %}{% for i in range(40) %}{% set n.t = (n.t, n.t) %}{% endfor %}{{ {n.t: 1} }}',
  ],
  ['keys of long tuples', `${LONG}{% for i in range(9999) %}{% set x = {(a, 1): 1} %}{% endfor %}`],
  ['equal texts', `${LONG}{% for i in range(99999) %}{{ 1 if a == b }}{% endfor %}`],
  ['a search', '{{ ("a" * 900000).find("a" * 200000 ~ "b" ~ "a" * 200000) }}'],
  ['copies', '{% set l = range(99999)|list %}{% for i in l %}{% set x = l.copy() %}{% endfor %}'],
  [
    'keys',
    '{% set d = dict(range(99998)|batch(2)) %}{% for i in range(9999) %}{{ d|first }}{% endfor %}',
  ],
  [
    'digits',
    '{% set a = "f" * 4300 %}{% for i in range(9999) %}{% set x = a|int(base=16) %}{% endfor %}',
  ],
  ['translate', '{{ ("a" * 200000).translate({97: "b" * 1000})|length }}'],
  ['strftime_now', '{{ strftime_now("%c" * 99999) }}'],
])('pays for %s', (_, template) => {
  const start = process.cpuUsage();
  expect(outcome(template)).toMatch(/^limit: /);
  const { user, system } = process.cpuUsage(start);
  expect((user + system) / 1000).toBeLessThan(4000);
});

const TEXT = 'Some words, a <b>tag</b> & "more".\n'.repeat(1000);
const LIST = Array.from(TEXT);
const CONTEXT: FilterContext = {
  filter: (name, args) => (filters.get(String(name)) as Filter)(args, CONTEXT),
  test: (name, args) => (TESTS.get(String(name)) as Test)(args),
};
const filters = new Map<string, Filter>([...TEXT_FILTERS, ...LIST_FILTERS]);

/** What they need besides the value. */
const MORE: Record<string, Value[]> = {
  attr: ['a'],
  batch: [2],
  groupby: [0],
  join: [TEXT.split(' ')],
  map: ['upper'],
  reject: ['string'],
  rejectattr: ['a'],
  replace: ['o', 'xx'],
  select: ['string'],
  selectattr: ['a'],
  slice: [1000],
  truncate: [20_000],
  wordwrap: [20],
  ...Object.fromEntries(['center', 'ljust', 'rjust', 'zfill'].map((name) => [name, [40_000]])),
  ...Object.fromEntries(['count', 'find', 'rfind', 'partition'].map((name) => [name, ['zzz']])),
  ...Object.fromEntries(['index', 'rindex', 'rpartition'].map((name) => [name, ['zzz']])),
  ...Object.fromEntries(['startswith', 'endswith'].map((name) => [name, ['x']])),
  ...Object.fromEntries(['removeprefix', 'removesuffix'].map((name) => [name, ['x']])),
};

/** Steps that one use takes, with all that it gives. */
function steps(use: () => unknown): number {
  return withBudget({ steps: 1e9, text: 1e9 }, () => {
    try {
      const value = use();
      if (value instanceof Stream) toList(value);
    } catch (error) {
      if (!(error instanceof TemplateFailure)) throw error;
    }
    return 1e9 - stepsLeft();
  });
}

/** Names of those that take fewer steps than an eighth of a text's or list's length. */
function cheap<Use>(
  all: Iterable<readonly [string, Use]>,
  use: (of: Use, name: string) => unknown,
) {
  const least = TEXT.length / 8;
  return [...all].filter(([name, of]) => steps(() => use(of, name)) < least).map(([name]) => name);
}

it('counts what filters and methods read of a text as steps', () => {
  // These look at none of it, or refuse it before.
  const ofNone = ['abs', 'd', 'default', 'round', 'safe', 'string'];
  const ofItems = ['attr', 'count', 'dictsort', 'first', 'items', 'length'];
  const apply = (value: Value) => (filter: Filter, name: string) => {
    const more = name === 'join' || name === 'count' ? [] : MORE[name];
    return filter({ pos: [value, ...(more ?? [])], named: NO_NAMES }, CONTEXT);
  };
  expect(cheap(filters, apply(TEXT)).sort()).toEqual([...ofNone, ...ofItems, 'xmlattr'].sort());
  const methods = cheap(STRING_METHODS, (method, name) =>
    method(TEXT, { pos: MORE[name] ?? [], named: NO_NAMES }),
  );
  expect(methods).toEqual([]);
});

it('counts what filters read of a list as steps', () => {
  // All others look at none of it, or refuse it.
  const apply = (filter: Filter, name: string) => {
    const more = name === 'join' || name === 'count' ? [] : MORE[name];
    return filter({ pos: [LIST, ...(more ?? [])], named: NO_NAMES }, CONTEXT);
  };
  const ofNone = ['abs', 'attr', 'count', 'd', 'default', 'first', 'length'];
  const ofText = ['filesizeformat', 'float', 'indent', 'int', 'round', 'wordwrap'];
  const ofOthers = ['dictsort', 'items', 'sum', 'xmlattr'];
  expect(cheap(filters, apply).sort()).toEqual([...ofNone, ...ofText, ...ofOthers].sort());
});

it.each([
  'c|title|length',
  'c|escape|length',
  'c|batch(2)|list|length',
  "c|map('upper')|list|length",
  'c|wordcount',
  'c|wordwrap(40)|length',
  'c.expandtabs()|length',
  'c.swapcase()|length',
])('ends a loop of {{ %s }}', (expression) => {
  let uses = 0;
  const run = () =>
    withBudget({ steps: 10 * TEXT.length, text: 1 << 20 }, () => {
      const program = compile(parse(`{{ ${expression} }}`));
      const globals = new Map<string, Value>([['c', TEXT]]);
      for (; uses < 1000; uses++) program({ globals, out: '', autoescape: false });
    });
  expect(run).toThrow(limit);
  expect(uses).toBeLessThan(50);
});

it.each([
  [
    'defaults',
    '{% macro f(a=[LONG]) %}{% endmacro %}{% for i in range(20000) %}{{ f() }}{% endfor %}',
  ],
  [
    'autoescape',
    '{% for i in range(20000) %}{% autoescape [LONG] %}{% endautoescape %}{% endfor %}',
  ],
  [
    'filter blocks',
    '{% for i in range(20000) %}{% filter default([LONG]) %}{% endfilter %}{% endfor %}',
  ],
  [
    'set blocks',
    '{% for i in range(20000) %}{% set x | default([LONG]) %}{% endset %}{% endfor %}',
  ],
  [
    'call blocks',
    '{% macro f(a) %}{{ caller() }}{% endmacro %}' +
      '{% for i in range(20000) %}{% call f([LONG]) %}{% endcall %}{% endfor %}',
  ],
  ['names', '{% for i in range(20000) %}{% with NAMES %}{% endwith %}{% endfor %}'],
])('pays for %s', (_, template) => {
  const names = Array.from({ length: 2000 }, (_, i) => `x${i}=1`).join(',');
  const source = template.replace('LONG', '1,'.repeat(2000)).replace('NAMES', names);
  expect(outcome(source).slice(0, 6)).toBe('limit:');
});

it('takes a long text once through what makes much of it', () => {
  const given = { c: 'Some words {0} here, <b>and</b> there.\n'.repeat(20_000) };
  for (const use of ['|wordwrap(20)', '|urlize', '|striptags', '|urlencode', '.format(1)']) {
    expect(Number(outcome(`{{ c${use}|length }}`, given)), use).toBeGreaterThan(1 << 19);
  }
});

it('looks at the brackets after a word once', () => {
  const start = process.cpuUsage().user;
  const given = { c: `${')'.repeat(2000)}a `.repeat(400) };
  expect(outcome('{{ c|urlize|length }}', given)).toBe(String(given.c.length));
  expect((process.cpuUsage().user - start) / 1000).toBeLessThan(1000);
});

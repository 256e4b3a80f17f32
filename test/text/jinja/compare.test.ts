import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions('equal', 'compare', 'in');

const MAPPINGS = "{% set d = {'a': 1} %}{% set e = {'a': 1, 'b': 2} %}{% set l = {'a': [1]} %}";

// As Python answers.
it.each([
  ['d.keys() < d.keys()', 'False'],
  ['d.keys() <= d.keys()', 'True'],
  ['d.keys() < e.keys()', 'True'],
  ['e.keys() > d.keys()', 'True'],
  ['e.keys() >= d.keys()', 'True'],
  ['e.keys() < d.keys()', 'False'],
  ['d.items() < e.items()', 'True'],
  ['d.items() <= d.keys()', 'False'],
  ['d.keys() == d.values()', 'False'],
  ['[e.keys(), d.keys()]|sort|first|length', '1'],
  ['d.keys() < 3', "type: '<' not supported between instances of 'dict_keys' and 'int'"],
  ['d.keys() < d.values()', /^type: '<' not supported .* 'dict_keys' and 'dict_values'$/],
  ['l.items() <= e.keys()', "type: unhashable type: 'list'"],
])('views of mappings compare as sets: %s', (expression, want) => {
  expect(outcome(`${MAPPINGS}{{ ${expression} }}`)).toMatch(want);
});

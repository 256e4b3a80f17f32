import { checkExpressions } from './support.js';

checkExpressions(
  ...[
    'tests.defined',
    'tests.undefined',
    'tests.none',
    'tests.boolean',
    'tests.true',
    'tests.false',
    'tests.integer',
  ],
  ...[
    'tests.float',
    'tests.number',
    'tests.string',
    'tests.mapping',
    'tests.iterable',
    'tests.sequence',
  ],
  ...['tests.callable', 'tests.other'],
);

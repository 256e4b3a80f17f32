import { expect, it } from 'vitest';
import { Config } from '../../../lib/model/config.js';
import { hfKinds } from '../../../lib/model/families/shared-nemotron.js';
import { Fields } from '../../../lib/model/fields.js';

const kinds = (settings: Record<string, unknown>) => {
  const f = new Fields('c', settings);
  return hfKinds(new Config(f, f));
};

it('takes the list where there is a pattern, too', () => {
  const layers_block_type = ['moe', 'full_attention'];
  expect(kinds({ hybrid_override_pattern: 'M*' })).toEqual(['mamba', 'attention']);
  expect(kinds({ hybrid_override_pattern: 'M*', layers_block_type })).toEqual(['moe', 'attention']);
  expect(kinds({})).toBeUndefined();
});

it('refuses what is no list, and letters that it does not know', () => {
  expect(() => kinds({ layers_block_type: 'moe' })).toThrow(/layers_block_type is not a list/);
  expect(() => kinds({ hybrid_override_pattern: 'MX' })).toThrow(/layer type "X"/);
  expect(() => kinds({ layers_block_type: [7] })).toThrow(/layer type 7/);
});

import { expect, it } from 'vitest';
import { settings, specOf } from '../../support/specs.js';

const of = (change: object) => () =>
  specOf({ ...settings('granite-hybrid-dense'), ...change }).layers[0].recurrent;

it('takes a step between two limits, however they are written', () => {
  const read = (time_step_limit: unknown) => of({ time_step_limit })();
  expect(read([0, 'Infinity'])).not.toHaveProperty('dtMax');
  expect(read([0, null])).not.toHaveProperty('dtMax');
  expect(read(undefined)).toMatchObject({ dtMin: 0 });
  expect(read([0.1, 2])).toMatchObject({ dtMin: 0.1, dtMax: 2 });
});

it.each([
  [{ layer_types: ['conv'] }, 'ERR_MODEL_FORMAT', /layer_types/],
  [{ mamba_n_heads: 7 }, 'ERR_MODEL_FORMAT', /mamba_n_heads \(7\) does not share out/],
  [{ mamba_n_groups: 4 }, 'ERR_MODEL_FORMAT', /\(6\) is no multiple of the 4 groups/],
  [{ time_step_limit: [1, 0] }, 'ERR_MODEL_FORMAT', /time_step_limit/],
  [{ time_step_limit: 'all' }, 'ERR_MODEL_FORMAT', /time_step_limit/],
])('with %j is refused', (change, code, why) => {
  expect(of(change)).toThrow(expect.objectContaining({ code }));
  expect(of(change)).toThrow(why);
});

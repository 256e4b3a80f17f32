import { describe, expect, it } from 'vitest';
import { Fields } from '../../../lib/model/fields.js';
import { readQuantization } from '../../../lib/model/quantization/read.js';

const read = (quantization_config: Record<string, unknown>) =>
  readQuantization(new Fields('config.json', { quantization_config }))!;
const LAYER = 'model.layers.0.';

describe('compressed-tensors', () => {
  const weights = { num_bits: 4, type: 'int', strategy: 'group', group_size: 128, symmetric: true };
  const group = (change: object, targets = ['Linear'], more: object = {}) => ({
    ...{ targets, weights: { ...weights, ...change }, ...more },
  });
  const said = (groups: Record<string, unknown>, more: object = {}) =>
    read({ quant_method: 'compressed-tensors', config_groups: groups, ...more });

  it('finds a module by name before its class', () => {
    const { schemeOf } = said(
      {
        group_0: group({}),
        group_1: group({ num_bits: 8, type: 'float', strategy: 'channel' }, ['re:.*attn\\..*']),
        group_2: group({ symmetric: false, actorder: 'group' }, ['model.layers.0.mlp.up_proj']),
      },
      { ignore: ['lm_head', 're:.*mlp\\.gate$'] },
    );
    expect(schemeOf(`${LAYER}mlp.down_proj`)).toMatchObject({
      ...{ form: 'compressed-tensors', type: 'int', bits: 4, hasZeros: false, hasOrder: false },
      span: { per: 'group', size: 128 },
    });
    expect(schemeOf(`${LAYER}self_attn.q_proj`)).toMatchObject({ span: { per: 'channel' } });
    expect(schemeOf(`${LAYER}mlp.up_proj`)).toMatchObject({ hasZeros: true, hasOrder: true });
    expect(schemeOf('lm_head')).toBeUndefined();
    expect(schemeOf(`${LAYER}mlp.gate`)).toBeUndefined();
    expect(schemeOf(`${LAYER}mlp.gate_proj`)).toBeDefined();
  });

  it('covers only what a target names', () => {
    const { schemeOf } = said({ group_0: group({}, ['re:.*mlp.*']) });
    expect(schemeOf(`${LAYER}self_attn.q_proj`)).toBeUndefined();
  });

  it.each([
    [{ group_0: group({ num_bits: 5 }) }, {}, /weights\.num_bits 5/],
    [{ group_0: group({ strategy: 'token' }) }, {}, /weights\.strategy "token"/],
    [{ group_0: group({ actorder: 'dynamic' }) }, {}, /actorder "dynamic"/],
    [{ group_0: group({ shuffle: 1 }) }, {}, /the setting "shuffle" of .*group_0\.weights/],
    [{ group_0: group({}, ['re:(?!x).*']) }, {}, /the pattern "\(\?!x\)\.\*" of .*\(\?/],
    [{ group_0: group({}, ['Linear'], { format: 'marlin-24' }) }, {}, /format "marlin-24"/],
    [{}, {}, /has no group/],
    [{ group_0: group({}) }, { transform_config: { a: 1 } }, /"transform_config"/],
  ])('refuses %#', (groups, more, message) => {
    expect(() => said(groups, more)).toThrow(message);
  });
});

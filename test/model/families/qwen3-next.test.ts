import { expect, it } from 'vitest';
import { RECURRENT_KINDS } from '../../../lib/native.js';
import { byLayer, ggufSpecOf, settings, specOf } from '../../support/specs.js';

const text = settings('qwen3_5');
const attends = (spec: ReturnType<typeof specOf>) =>
  byLayer(spec, ({ attention }) => attention !== undefined);

it('keeps a state in three of four layers, by list or by interval', () => {
  const every = { layer_types: undefined, full_attention_interval: 2 };
  expect(attends(specOf(text))).toEqual([false, false, false, true]);
  expect(attends(specOf({ ...text, layer_types: undefined }))).toEqual([false, false, false, true]);
  expect(attends(specOf({ ...text, ...every }))).toEqual([false, true, false, true]);
});

it('has the sizes of heads as the file says, and gates what attention gives', () => {
  const spec = specOf(text);
  expect(spec.layers[0].recurrent).toMatchObject({
    ...{ kind: RECURRENT_KINDS.delta, numKeyHeads: 2, numValueHeads: 2, tiled: false },
    ...{ keySize: 32, valueSize: 32, convWidth: 4, convBias: false },
    norm: { offset: false, weight: true },
  });
  expect(spec.layers[3].attention).toMatchObject({
    ...{ gated: true, headSize: 64, qkNorm: { offset: true } },
  });
  expect(spec.ropes[0].inverseFrequencies).toHaveLength(8);
});

it('shares heads of keys out in turns in GGUF files, but for those of Qwen 3 Next', async () => {
  const recurrentOf = async (name: string) => (await ggufSpecOf(name)).layers[0].recurrent;
  expect(await recurrentOf('qwen3_5-grouped')).toMatchObject({ tiled: true, valueSize: 32 });
  expect(await recurrentOf('qwen3_5-moe')).toMatchObject({ tiled: true, numValueHeads: 4 });
  expect(await recurrentOf('qwen3-next')).toMatchObject({ tiled: false, numValueHeads: 4 });
});

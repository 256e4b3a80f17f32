import { expect, it } from 'vitest';
import { Config } from '../../../lib/model/config.js';
import {
  checkBothSides,
  classifierLayers,
  ggufEncoderNames,
  ropesByWindow,
  slidingLayers,
} from '../../../lib/model/families/encoders.js';
import { NO_NORM } from '../../../lib/model/families/shared.js';
import { Fields } from '../../../lib/model/fields.js';
import { placeOf } from '../../../lib/model/names.js';
import { HIDDEN_ACTS, NORMS } from '../../../lib/native.js';

const NORM = { ...NO_NORM, kind: NORMS.layer, weight: true };
const DENSE = { act: HIDDEN_ACTS.tanh, bias: true, norm: NORM };
const tensors = (...names: string[]) => ({
  ...{ names: new Set(names), vocabSize: 9, biases: new Set<string>() },
  ...{ shapes: new Map(), factors: new Map() },
});
const config = (keys: Record<string, unknown>, names?: string[]) => {
  const f = new Fields('m', keys);
  return new Config(f, f, names && tensors(...names), 3);
};

it('classifies by two layers, of GGUF files by those that are there', () => {
  const dense = { outSize: 8, act: HIDDEN_ACTS.tanh, bias: true, norm: NORM };
  const labels = { outSize: 3, bias: true, norm: NO_NORM };
  expect(classifierLayers(config({}), 8, DENSE)).toEqual([dense, labels]);
  const all = ['cls.weight', 'cls.bias', 'cls.norm.weight', 'cls.output.bias'];
  expect(classifierLayers(config({}, all), 8, DENSE)).toEqual([dense, labels]);
  expect(classifierLayers(config({}, ['cls.weight']), 8, DENSE)).toEqual([
    { ...dense, bias: false, norm: NO_NORM },
    { ...labels, bias: false },
  ]);
  expect(classifierLayers(config({}, []), 8, DENSE)).toEqual([{ ...labels, bias: false }]);
});

it('names the labels of a GGUF file by what stands before them', () => {
  const first = (...names: string[]) => {
    const table = ggufEncoderNames(tensors(...names), {}, {});
    return placeOf('cls.output.weight', table)?.names;
  };
  expect(first('cls.weight')).toEqual(['pooled.1']);
  expect(first()).toEqual(['pooled.0']);
});

it('is refused where config.json makes something else of it', () => {
  expect(() => checkBothSides(config({ is_decoder: true }))).toThrow(/causal/);
  const relative = { position_embedding_type: 'relative_key' };
  expect(() => checkBothSides(config(relative))).toThrow(/position_embedding_type "relative_key"/);
  expect(() => checkBothSides(config({ position_embedding_type: 'absolute' }))).not.toThrow();
});

it('slides by a list, or in all layers but each n-th from the first on', () => {
  const sliding = (keys: Record<string, unknown>, names?: string[]) =>
    slidingLayers(config(keys, names), 'every', 4);
  const want = [false, true, false, true];
  expect(sliding({ every: 2 })).toEqual(want);
  const types = want.map((slides) => (slides ? 'sliding_attention' : 'full_attention'));
  expect(sliding({ layer_types: types })).toEqual(want);
  expect(sliding({ 'attention.sliding_window_pattern': 2 }, [])).toEqual(want);
  const list = { 'attention.sliding_window_pattern': Uint8Array.of(0, 1, 0, 1) };
  expect(sliding(list, [])).toEqual(want);
  expect(sliding({})).toEqual([false, true, true, false]);
});

it('turns by two thetas, which newer files say by type of layer', () => {
  const size = { numHeads: 2, numKvHeads: 2, headSize: 8, intermediateSize: 8 };
  const sizes = { vocabSize: 9, hiddenSize: 16, maxPositionEmbeddings: 64, layers: [size] };
  const thetas = (keys: Record<string, unknown>, names?: string[]) => {
    const { full, sliding } = ropesByWindow(config(keys, names), sizes);
    return [full.theta, sliding.theta];
  };
  expect(thetas({})).toEqual([160_000, 10_000]);
  expect(thetas({ global_rope_theta: 500, local_rope_theta: null })).toEqual([500, 500]);
  const of = (rope_theta: number) => ({ rope_type: 'default', rope_theta });
  const rope_parameters = { full_attention: of(700), sliding_attention: of(70) };
  expect(thetas({ rope_parameters, global_rope_theta: 500 })).toEqual([700, 70]);
  expect(thetas({ 'rope.freq_base': 300, 'rope.freq_base_swa': 30 }, [])).toEqual([300, 30]);
});

it('is refused where a GGUF file says that it is causal', () => {
  const causal = { 'attention.causal': true };
  expect(() => checkBothSides(config(causal, []))).toThrow(/causal/);
  expect(() => checkBothSides(config({ 'attention.causal': false }, []))).not.toThrow();
  expect(() => checkBothSides(config({}, []))).not.toThrow();
});

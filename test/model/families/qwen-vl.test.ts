import { expect, it } from 'vitest';
import { NORMS } from '../../../lib/native.js';
import { ggufSpecOf, ggufSpecWith, settings, specOf } from '../../support/specs.js';

const { text_config: text } = settings('qwen3-vl') as { text_config: Record<string, unknown> };
const SIZES = {
  ...{ vocab_size: 320, hidden_size: 64, intermediate_size: 48, num_hidden_layers: 2 },
  ...{ num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 512 },
};

it('Qwen 3 VL: a Qwen 3 inside, sections of its rope or not', async () => {
  const spec = specOf(settings('qwen3-vl'));
  const plain = { ...(text.rope_parameters as object), mrope_section: undefined };
  const same = specOf(settings('qwen3-vl', { text_config: { ...text, rope_parameters: plain } }));
  expect(spec.ropes).toEqual(same.ropes);
  expect(spec.layers[0].attention!.qkNorm.kind).toBe(NORMS.rms);
  expect((await ggufSpecOf('qwen3-vl')).architecture).toBe('qwen3vl');
});

// Settings beside sizes as Qwen/Qwen2-VL-2B-Instruct and Qwen/Qwen2.5-VL-3B-Instruct have them.
it('Qwen 2 VL: flat as files had it first, or inside', () => {
  const section = { type: 'mrope', mrope_section: [4, 6, 6] };
  const flat = {
    ...{ ...SIZES, model_type: 'qwen2_vl', architectures: ['Qwen2VLForConditionalGeneration'] },
    ...{ vision_start_token_id: 3, vision_end_token_id: 4, vision_token_id: 5, image_token_id: 6 },
    ...{ video_token_id: 7, vision_config: { depth: 32 }, use_sliding_window: false },
    ...{ sliding_window: 32768, max_window_layers: 28, rope_theta: 1e6, rope_scaling: section },
  };
  const spec = specOf(flat);
  expect(spec.layers[0].attention).toMatchObject({ window: 0, biases: ['q', 'k', 'v'] });
  expect(spec.ropes[0].inverseFrequencies[0]).toBe(1);
  const inner = { ...SIZES, model_type: 'qwen2_vl_text', rope_theta: 1e6, rope_scaling: section };
  const nested = specOf({ model_type: 'qwen2_vl', text_config: inner, vision_config: {} });
  expect(nested.layers).toEqual(spec.layers);
  expect(nested.ropes).toEqual(spec.ropes);
  expect(() => specOf({ ...flat, fullatt_block_indexes: [7] })).toThrow(/"fullatt_block_indexes"/);
});

it('Qwen 2 VL in a GGUF file says sections, which are one for text', () => {
  const sections = Int32Array.of(4, 6, 6, 0);
  const spec = ggufSpecWith('qwen2vl', {
    ...{ 'attention.layer_norm_rms_epsilon': 1e-6, 'rope.dimension_sections': sections },
  });
  expect(spec.ropes[0].inverseFrequencies).toHaveLength(16);
});

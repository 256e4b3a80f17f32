/** A function for each quant_method (compressed-tensors: its own file): settings as schemes. */
import type { Fields } from '../fields.js';
import { Harmless } from '../harmless.js';
import {
  bitsIn,
  checkRead,
  globTest,
  groupIn,
  namesIn,
  PLAIN_SCHEME,
  partTest,
  type Quantization,
  refuse,
  regexTest,
  type ScaleSpan,
  type Scheme,
} from './scheme.js';

const FP8_HARMLESS = new Harmless([
  ['any', 'quant_method activation_scheme dequantize scale_fmt modules_to_convert'],
  ['any', 'is_checkpoint_fp8_serialized kv_cache_scheme'],
]);

/** DeepSeek's, Qwen's and Mistral's own. */
export function readFp8(f: Fields): Quantization {
  if (f.string('fmt', 'e4m3') !== 'e4m3') refuse(f, 'fmt');
  const block = f.raw('weight_block_size') ?? undefined;
  let span: ScaleSpan = { per: 'tensor' };
  if (block !== undefined) {
    const isSize = (n: unknown): n is number => Number.isInteger(n) && (n as number) > 0;
    if (!Array.isArray(block) || block.length !== 2 || !block.every(isSize)) {
      f.fail('weight_block_size', 'is not two whole numbers');
    }
    span = { per: 'block', rows: block[0], cols: block[1] };
  }
  const isPlain = partTest([
    ...namesIn(f, 'modules_to_not_convert'),
    ...namesIn(f, 'ignored_layers'),
  ]);
  checkRead(f, FP8_HARMLESS);
  const scheme: Scheme = { ...PLAIN_SCHEME, form: 'fp8', type: 'float', bits: 8, span };
  return { method: 'fp8', schemeOf: (module) => (isPlain(module) ? undefined : scheme) };
}

const AWQ_HARMLESS = new Harmless([
  ['any', 'quant_method do_fuse fuse_max_seq_len modules_to_fuse exllama_config backend'],
  ['any', 'quantizer model_name_or_path meta'],
]);

export function readAwq(f: Fields): Quantization {
  const bits = bitsIn(f, f.has('w_bit') ? 'w_bit' : 'bits', 4);
  const span = groupIn(f, f.has('q_group_size') ? 'q_group_size' : 'group_size');
  if (!f.boolean('zero_point', true)) refuse(f, 'zero_point');
  if (f.string('version', 'gemm').toLowerCase() !== 'gemm') refuse(f, 'version');
  const isPlain = partTest(namesIn(f, 'modules_to_not_convert'));
  checkRead(f, AWQ_HARMLESS);
  const scheme: Scheme = { ...PLAIN_SCHEME, form: 'awq', type: 'int', bits, span, hasZeros: true };
  return { method: 'awq', schemeOf: (module) => (isPlain(module) ? undefined : scheme) };
}

const GPTQ_HARMLESS = new Harmless([
  ['any', 'quant_method sym lm_head meta static_groups damp_percent damp_auto_increment quantizer'],
  ['any', 'true_sequential model_name_or_path model_file_base_name block_name_to_quantize dataset'],
  ['any', 'tokenizer use_cuda_fp16 use_exllama disable_exllama exllama_config max_input_length'],
  ['any', 'cache_block_outputs batch_size pad_token_id modules_in_block_to_quantize backend mse'],
  ['any', 'model_seqlen module_name_preceding_first_block act_group_aware hyb_act version'],
  [[false], 'is_marlin_format'],
  [['int32'], 'pack_dtype'],
  [['gptq'], 'format quant_type method'],
]);

export function readGptq(f: Fields): Quantization {
  const format = f.string('checkpoint_format', 'gptq');
  if (format !== 'gptq' && format !== 'gptq_v2') refuse(f, 'checkpoint_format');
  const zeroOffset = format === 'gptq' ? 1 : 0;
  const schemeIn = (own: Fields, base?: Scheme): Scheme => ({
    ...{ form: 'gptq', type: 'int', hasZeros: true, zeroOffset },
    bits: base && !own.has('bits') ? base.bits : bitsIn(own, 'bits', 2, 3, 4, 8),
    span: base && !own.has('group_size') ? base.span : groupIn(own, 'group_size'),
    hasOrder: own.boolean('desc_act', base?.hasOrder ?? false),
  });
  const scheme = schemeIn(f);
  const rules = Object.keys(f.object('dynamic') ?? {}).map((key) => {
    const own = f.within('dynamic')?.within(key);
    const [, sign, source] = /^([+-]:)?(.*)$/s.exec(key) ?? [];
    const rule = own === undefined || sign === '-:' ? undefined : schemeIn(own, scheme);
    if (own !== undefined) checkRead(own, GPTQ_HARMLESS);
    return { test: regexTest(f, source), scheme: rule };
  });
  checkRead(f, GPTQ_HARMLESS);
  return {
    method: 'gptq',
    schemeOf: (module) => {
      const rule = rules.find(({ test }) => test(module));
      return rule ? rule.scheme : scheme;
    },
  };
}

const BNB_HARMLESS = new Harmless([
  ['any', 'quant_method _load_in_4bit _load_in_8bit bnb_4bit_compute_dtype'],
  ['any', 'bnb_4bit_use_double_quant llm_int8_enable_fp32_cpu_offload llm_int8_threshold'],
  [[false], 'llm_int8_has_fp16_weight'],
  [['uint8'], 'bnb_4bit_quant_storage'],
]);

/** Of four bits the tensors themselves say what codes stand for. */
export function readBitsandbytes(f: Fields): Quantization {
  const is4Bit = f.boolean('load_in_4bit', false);
  if (is4Bit === f.boolean('load_in_8bit', false)) refuse(f, 'load_in_4bit');
  if (!['nf4', 'fp4'].includes(f.string('bnb_4bit_quant_type', 'nf4'))) {
    refuse(f, 'bnb_4bit_quant_type');
  }
  const isPlain = partTest(namesIn(f, 'llm_int8_skip_modules'));
  checkRead(f, BNB_HARMLESS);
  const scheme: Scheme = {
    ...PLAIN_SCHEME,
    form: 'bitsandbytes',
    type: is4Bit ? 'float' : 'int',
    bits: is4Bit ? 4 : 8,
    span: is4Bit ? { per: 'group', size: 64 } : { per: 'channel' },
  };
  return { method: 'bitsandbytes', schemeOf: (module) => (isPlain(module) ? undefined : scheme) };
}

const MODELOPT_HARMLESS = new Harmless([
  ['any', 'quant_method producer config_groups kv_cache_quant_algo kv_cache_scheme has_zero_point'],
  ['any', 'pre_quant_scale kv_cache_dtype'],
]);
const MODELOPT = { ...PLAIN_SCHEME, form: 'modelopt', type: 'float' } as const;

function modeloptScheme(f: Fields): Scheme | undefined {
  switch (f.string('quant_algo')) {
    case 'FP8':
      return { ...MODELOPT, bits: 8, span: { per: 'tensor' } };
    case 'FP8_PER_CHANNEL_PER_TOKEN':
      return { ...MODELOPT, bits: 8, span: { per: 'channel' } };
    case 'NVFP4':
    case 'W4A16_NVFP4':
      if (f.integer('group_size', 1, 1 << 20, 16) !== 16) refuse(f, 'group_size');
      return { ...MODELOPT, bits: 4, span: { per: 'group', size: 16 } };
    case 'MIXED_PRECISION':
      return undefined;
    default:
      return refuse(f, 'quant_algo');
  }
}

/** NVIDIA's: in config.json, or what hf_quant_config.json calls `quantization`. */
export function readModelopt(f: Fields): Quantization {
  const all = modeloptScheme(f);
  f.raw('group_size');
  const own = new Map<string, Scheme | undefined>();
  const layers = f.within('quantized_layers');
  for (const name of Object.keys(layers?.values ?? {})) {
    const layer = layers?.within(name);
    if (layer === undefined) continue;
    own.set(name, modeloptScheme(layer));
    checkRead(layer, new Harmless([['any', 'group_size has_zero_point pre_quant_scale']]));
  }
  if (all === undefined && own.size === 0) f.fail('quantized_layers', 'is missing');
  const isPlain = globTest([...namesIn(f, 'exclude_modules'), ...namesIn(f, 'ignore')]);
  checkRead(f, MODELOPT_HARMLESS);
  return {
    method: 'modelopt',
    schemeOf: (module) => {
      if (isPlain(module)) return undefined;
      return own.get(module) ?? all;
    },
  };
}

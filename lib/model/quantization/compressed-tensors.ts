/** compressed-tensors, what llm-compressor writes: groups of modules, each with its own scheme. */
import type { Fields } from '../fields.js';
import { EMPTY, Harmless } from '../harmless.js';
import {
  bitsIn,
  checkRead,
  groupIn,
  namesIn,
  nameTest,
  PLAIN_SCHEME,
  type Quantization,
  refuse,
  type ScaleSpan,
  type Scheme,
} from './scheme.js';

const HARMLESS = new Harmless([
  ['any', 'quant_method kv_cache_scheme quantization_status global_compression_ratio version'],
  [[EMPTY], 'sparsity_config transform_config moe_sparsity_config'],
]);
const GROUP_HARMLESS = new Harmless([['any', 'input_activations output_activations']]);
const WEIGHTS_HARMLESS = new Harmless([
  ['any', 'observer observer_kwargs scale_dtype zp_dtype'],
  [[false], 'dynamic'],
]);

/** Which of them it is, the tensors say; mixed-precision: each group its own. */
const FORMATS = [
  ...['float-quantized', 'int-quantized', 'naive-quantized', 'pack-quantized', 'mixed-precision'],
  ...['nvfp4-pack-quantized', 'mxfp4-pack-quantized', 'mxfp8-quantized', 'dense'],
];

interface Group {
  readonly scheme: Scheme;
  readonly isNamed: (module: string) => boolean;
  /** It is for modules by their class, all of which here are Linear. */
  readonly isForAll: boolean;
}

export function readCompressedTensors(f: Fields): Quantization {
  checkFormat(f);
  const groups = Object.keys(f.object('config_groups') ?? {}).map((name) => {
    const group = f.within('config_groups')?.within(name);
    return group === undefined ? f.fail('config_groups', `has no group ${name}`) : groupOf(group);
  });
  if (groups.length === 0) f.fail('config_groups', 'has no group');
  const isPlain = nameTest(f, namesIn(f, 'ignore'));
  checkRead(f, HARMLESS);
  return {
    method: 'compressed-tensors',
    schemeOf: (module) => {
      if (isPlain(module)) return undefined;
      const named = groups.find(({ isNamed }) => isNamed(module));
      return (named ?? groups.find(({ isForAll }) => isForAll))?.scheme;
    },
  };
}

function checkFormat(f: Fields): void {
  if (!FORMATS.includes(f.string('format', 'dense'))) refuse(f, 'format');
}

function groupOf(f: Fields): Group {
  checkFormat(f);
  const weights = f.within('weights');
  if (weights === undefined) f.fail('weights', 'is missing');
  const targets = namesIn(f, 'targets');
  checkRead(f, GROUP_HARMLESS);
  return {
    scheme: schemeOf(weights),
    isNamed: nameTest(f, targets),
    isForAll: targets.some((target) => /^[A-Z]\w*$/.test(target)),
  };
}

function schemeOf(f: Fields): Scheme {
  const type = f.string('type', 'int');
  if (type !== 'int' && type !== 'float') refuse(f, 'type');
  const bits = type === 'int' ? bitsIn(f, 'num_bits', 2, 3, 4, 8) : bitsIn(f, 'num_bits', 4, 8);
  const span = spanOf(f);
  const order = f.raw('actorder') ?? undefined;
  // By weight: the groups are in order, only their making was not.
  if (order !== undefined && order !== 'group' && order !== 'weight' && order !== 'static') {
    refuse(f, 'actorder');
  }
  const hasZeros = !f.boolean('symmetric', true);
  checkRead(f, WEIGHTS_HARMLESS);
  const hasOrder = order === 'group';
  return { ...PLAIN_SCHEME, form: 'compressed-tensors', type, bits, span, hasZeros, hasOrder };
}

function spanOf(f: Fields): ScaleSpan {
  const block = f.raw('block_structure') ?? undefined;
  f.raw('group_size');
  switch (f.string('strategy', f.has('group_size') ? 'group' : 'tensor')) {
    case 'tensor':
      return { per: 'tensor' };
    case 'channel':
      return { per: 'channel' };
    case 'group':
    case 'tensor_group':
      return groupIn(f, 'group_size');
    case 'block': {
      const isSize = (n: unknown) => Number.isInteger(n) && (n as number) > 0;
      if (!Array.isArray(block) || block.length !== 2 || !block.every(isSize)) {
        f.fail('block_structure', 'is not two whole numbers');
      }
      return { per: 'block', rows: block[0], cols: block[1] };
    }
    default:
      return refuse(f, 'strategy');
  }
}

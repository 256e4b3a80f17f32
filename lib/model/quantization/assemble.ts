/** The tensors of quantised modules, put together to one for each matrix. */
import type { Found } from '../bind.js';
import { unsupported } from '../files.js';
import { bitsandbytes4 } from './bitsandbytes.js';
import { Module, type ReadTensor } from './module.js';
import { floatMatrix, integerMatrix, nibbleFloats } from './rows.js';
import type { Quantization, Scheme } from './scheme.js';
import { wordMatrix } from './words.js';

/** What stands beside weights but says nothing of them: scales of activations and of KV, shapes. */
const NEEDLESS =
  /\.((input|activation|output|[qkv])_scale|input_global_scale|weight_(shape|format))$/;

const SUFFIX = new RegExp(
  '^(.+)\\.(' +
    'weight(\\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\\.\\w+))?|' +
    'weight_(packed|scale|scale_inv|scale_2|global_scale|zero_point|g_idx)|' +
    'qweight|qzeros|scales|g_idx|SCB)$',
);

/** Matrices of all experts in one tensor have no `.weight` behind their name. */
const STACK = /^(.+\.experts\.\w+_proj)((?:_scale(?:_inv)?)?)$/;

/** Types that a weight has only where it is quantised. */
const CODES: readonly string[] = ['F8_E4M3', 'F8_E5M2', 'I8', 'U8', 'I32', 'U32'];

/**
 * Every quantised matrix as one tensor `<module>.weight`; all others as they are.
 * @throws ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED naming file and tensor
 */
export async function assemble(
  found: readonly Found[],
  quantization: Quantization | undefined,
  files: readonly string[],
  read: ReadTensor,
): Promise<Found[]> {
  const out: Found[] = [];
  const modules = new Map<string, Map<string, Found>>();
  for (const tensor of found) {
    if (quantization !== undefined && NEEDLESS.test(tensor.name)) continue;
    const [name, suffix] = partsOf(tensor.name);
    if (name === undefined) {
      out.push(tensor);
      continue;
    }
    const module = modules.get(name) ?? new Map<string, Found>();
    modules.set(name, module.set(suffix ?? '', tensor));
  }
  for (const [name, tensors] of modules) {
    const module = new Module(name, files, tensors);
    const weight = module.find('weight', 'weight_packed', 'qweight');
    if (weight === undefined || !CODES.includes(weight.dtype)) {
      out.push(...tensors.values());
      continue;
    }
    out.push(await matrixOf(module, weight, quantization, read), ...module.rest());
  }
  return out;
}

/** A module's name, and what its tensor is called there. */
function partsOf(stored: string): [name?: string, suffix?: string] {
  const [, name, suffix] = SUFFIX.exec(stored) ?? [];
  if (name !== undefined) return [name, suffix];
  const [, stack, end] = STACK.exec(stored) ?? [];
  return stack === undefined ? [] : [stack, `weight${end}`];
}

async function matrixOf(
  module: Module,
  weight: Found,
  quantization: Quantization | undefined,
  read: ReadTensor,
): Promise<Found> {
  const scheme = quantization?.schemeOf(module.name);
  if (scheme === undefined) {
    const said = quantization
      ? `which the quantization (${quantization.method}) does not cover`
      : 'and no quantization_config says how to read it';
    throw unsupported(module.fileOf(weight), `tensor ${weight.name} of ${weight.dtype}, ${said},`);
  }
  const matrix = await byForm(module, weight, scheme, read);
  const isStack = weight.name === module.name;
  return { ...matrix, name: isStack ? module.name : `${module.name}.weight` };
}

async function byForm(
  module: Module,
  weight: Found,
  scheme: Scheme,
  read: ReadTensor,
): Promise<Found> {
  if (scheme.form === 'awq' || scheme.form === 'gptq') return wordMatrix(module, weight, scheme);
  if (scheme.form === 'bitsandbytes' && scheme.bits === 4) {
    return bitsandbytes4(module, weight, read);
  }
  if (scheme.type === 'int') return integerMatrix(module, weight, scheme);
  return scheme.bits === 4
    ? nibbleFloats(module, weight, scheme)
    : floatMatrix(module, weight, scheme);
}

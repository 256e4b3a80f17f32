/** The quantization that a checkpoint's configuration says, by its quant_method. */
import { join } from 'node:path';
import { shown } from '../../arguments.js';
import { Fields } from '../fields.js';
import { readJsonObject, unsupported } from '../files.js';
import { readCompressedTensors } from './compressed-tensors.js';
import { readAwq, readBitsandbytes, readFp8, readGptq, readModelopt } from './methods.js';
import { checkRead, namesIn, type Quantization } from './scheme.js';

const METHODS: Readonly<Record<string, (f: Fields) => Quantization>> = {
  awq: readAwq,
  bitsandbytes: readBitsandbytes,
  'compressed-tensors': readCompressedTensors,
  fp8: readFp8,
  gptq: readGptq,
  modelopt: readModelopt,
  mxfp4: readMxfp4,
};

/** gpt-oss: which modules are quantised, their tensors' names say. */
function readMxfp4(f: Fields): Quantization {
  f.raw('quant_method');
  namesIn(f, 'modules_to_not_convert');
  checkRead(f);
  return { method: 'mxfp4', schemeOf: () => undefined };
}

/** @returns undefined where nothing is said. @throws ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED */
export function readQuantization(f: Fields): Quantization | undefined {
  const said = f.within('quantization_config');
  if (said === undefined) return undefined;
  const method = said.string('quant_method', '');
  if (!Object.hasOwn(METHODS, method)) {
    const known = Object.keys(METHODS).join(', ');
    throw unsupported(
      f.file,
      `quantization_config of quant_method ${shown(method)} (known: ${known})`,
    );
  }
  return METHODS[method](said);
}

const HF_QUANT_CONFIG = 'hf_quant_config.json';

/** What ModelOpt's own file in a folder says, where there is one. */
export async function folderQuantization(
  folder: string,
  names: readonly string[],
): Promise<Quantization | undefined> {
  if (!names.includes(HF_QUANT_CONFIG)) return undefined;
  const file = join(folder, HF_QUANT_CONFIG);
  const own = new Fields(file, await readJsonObject(file)).within('quantization');
  return own && readModelopt(own);
}

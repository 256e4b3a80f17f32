import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Fields } from '../../../lib/model/fields.js';
import { folderQuantization, readQuantization } from '../../../lib/model/quantization/read.js';

const read = (config: Record<string, unknown>) => readQuantization(new Fields('c.json', config));

it('nothing said is nothing', () => {
  expect(read({})).toBeUndefined();
});

it('goes by the method', () => {
  expect(read({ quantization_config: { quant_method: 'fp8' } })?.method).toBe('fp8');
  const mxfp4 = { quant_method: 'mxfp4', modules_to_not_convert: ['lm_head'] };
  expect(read({ quantization_config: mxfp4 })?.schemeOf('x')).toBeUndefined();
});

it('refuses a method by name', () => {
  expect(() => read({ quantization_config: { quant_method: 'quip' } })).toThrow(
    /"quip" \(known: awq, .*mxfp4\)/,
  );
});

it("reads ModelOpt's own file", async () => {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-'));
  const quantization = { quant_algo: 'FP8', exclude_modules: ['lm_head'] };
  writeFileSync(join(folder, 'hf_quant_config.json'), JSON.stringify({ quantization }));
  const said = await folderQuantization(folder, ['hf_quant_config.json']);
  expect(said?.schemeOf('a')).toMatchObject({ form: 'modelopt', bits: 8 });
  expect(said?.schemeOf('lm_head')).toBeUndefined();
  expect(await folderQuantization(folder, [])).toBeUndefined();
});

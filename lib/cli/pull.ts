/** `octavo pull org/name`: a model into the cache, before it is needed. */
import { Command } from 'commander';
import { findModel } from '../engine/find-model.js';
import { octavoError } from '../errors.js';
import { withDownloads } from './download.js';

export function pullCommand(): Command {
  return new Command('pull')
    .description('download a model into the cache that Python shares; prints where it lies')
    .argument('<model>', 'org/name, with @revision and :quant or :file where wanted')
    .option('--json', 'one line of JSON: {path, repo, revision, took, others}')
    .action(pull);
}

async function pull(model: string, { json }: { json?: boolean }): Promise<void> {
  const { path, fetched } = await withDownloads((loading) => findModel(model, {}, loading));
  if (fetched === undefined) {
    const sentence =
      `${model} is a path, or none that there is; a model to pull is called org/name, as on ` +
      'https://huggingface.co (hf:org/name where a path of that name is there)';
    throw octavoError('ERR_MODEL_NOT_FOUND', sentence, { param: 'model' });
  }
  const { took, others } = fetched;
  const rest = others.length === 0 ? '' : `; there are also ${others.join(', ')}`;
  process.stderr.write(`octavo: ${fetched.repo}: ${took}${rest}\n`);
  process.stdout.write(`${json ? JSON.stringify(fetched) : path}\n`);
}

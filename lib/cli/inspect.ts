import { Command } from 'commander';
import { defaultModel, engineConfig, engineSizes } from '../config.js';
import { CPU, kvElement } from '../engine/device.js';
import { kvBytesPerToken, openCheckpoint } from '../model/checkpoint.js';
import { addEngineFlags, engineOptionsOf } from './flags.js';
import { bytes, count, printRows } from './report.js';

/** `octavo inspect [model]`: what a checkpoint is and what it needs, without loading weights. */
export function inspectCommand(): Command {
  const command = new Command('inspect')
    .description('architecture, parameters, sizes and KV capacity of a model')
    .argument('[model]', 'a Hugging Face folder or a .gguf file (default: the bundled model)')
    .option('--json', 'one line of JSON')
    .action(inspect);
  return addEngineFlags(command);
}

async function inspect(path: string | undefined, values: Record<string, unknown>): Promise<void> {
  const options = { ...engineOptionsOf(values), model: path ?? defaultModel() };
  const config = engineConfig(options);
  const { config: model, ...checkpoint } = await openCheckpoint(config.model);
  const perToken = kvBytesPerToken(model, kvElement(CPU, config, model));
  const sizes = engineSizes(config, perToken, model.maxPositionEmbeddings);
  const types = new Map<string, number>();
  for (const { dtype } of checkpoint.tensors) types.set(dtype, (types.get(dtype) ?? 0) + 1);
  const windows = [...new Set(model.windows)].filter((w) => w > 0);
  if (values.json) {
    const record = {
      path: config.model,
      architecture: model.architecture,
      numParameters: checkpoint.numParameters,
      dtypes: Object.fromEntries(types),
      weightBytes: checkpoint.weightBytes,
      numLayers: model.numLayers,
      hiddenSize: model.hiddenSize,
      numHeads: model.numHeads,
      numKvHeads: model.numKvHeads,
      headSize: model.headSize,
      intermediateSize: model.intermediateSize,
      vocabSize: model.vocabSize,
      maxPositionEmbeddings: model.maxPositionEmbeddings,
      slidingWindows: windows,
      kvBytesPerToken: perToken,
      blockSize: config.blockSize,
      ...sizes,
    };
    process.stdout.write(`${JSON.stringify(record)}\n`);
    return;
  }
  printRows(
    [
      ['model', config.model],
      ['architecture', model.architecture],
      ['parameters', count(checkpoint.numParameters)],
      ['dtype', [...types].map(([type, n]) => `${type} (${n} tensors)`).join(', ')],
      ['weights', bytes(checkpoint.weightBytes)],
      [
        'layers',
        `${model.numLayers} of hidden size ${model.hiddenSize}, ffn ${model.intermediateSize}`,
      ],
      ['heads', `${model.numHeads} query, ${model.numKvHeads} KV, size ${model.headSize}`],
      ['vocabulary', count(model.vocabSize)],
      [
        'context',
        `${count(model.maxPositionEmbeddings)} tokens` +
          (windows.length ? `, sliding window ${windows.join(', ')}` : ''),
      ],
      ['KV per token', bytes(perToken)],
      [
        'KV pool here',
        `${count(sizes.numBlocks)} blocks of ${config.blockSize} tokens, ` +
          `${bytes(sizes.numBlocks * config.blockSize * perToken)}: ` +
          `${count((sizes.numBlocks - 1) * config.blockSize)} tokens`,
      ],
    ],
    process.stdout,
  );
}

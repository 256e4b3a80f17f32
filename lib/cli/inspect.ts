import { Command } from 'commander';
import { availableMemory } from '../config/machine.js';
import {
  defaultModel,
  type EngineConfig,
  type EngineOptions,
  engineConfig,
} from '../config/options.js';
import { CPU } from '../engine/device.js';
import { kvGroupsOf, planEngine } from '../engine/plan.js';
import { planPooling, runnerOf } from '../engine/pooling-plan.js';
import { heldBytes } from '../engine/room.js';
import { type Checkpoint, openCheckpoint } from '../model/checkpoint.js';
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
  const record = await recordOf(options);
  if (values.json) {
    process.stdout.write(`${JSON.stringify(record)}\n`);
    return;
  }
  printRows(rowsOf(record), process.stdout);
}

/** All that is said of a model, as --json prints it. */
export async function recordOf(options: EngineOptions) {
  const config = engineConfig(options);
  const checkpoint = await openCheckpoint(config.model);
  const { spec: model } = checkpoint;
  const types = new Map<string, number>();
  for (const { dtype } of checkpoint.tensors) types.set(dtype, (types.get(dtype) ?? 0) + 1);
  const sizes = sizesOf(model);
  return {
    path: config.model,
    family: model.family,
    architecture: model.architecture,
    numParameters: checkpoint.numParameters,
    dtypes: Object.fromEntries(types),
    weightBytes: checkpoint.weightBytes,
    numLayers: model.layers.length,
    hiddenSize: model.hiddenSize,
    numHeads: alike(sizes.numHeads),
    numKvHeads: alike(sizes.numKvHeads),
    headSize: alike(sizes.headSize),
    intermediateSize: sizes.intermediateSize.length ? alike(sizes.intermediateSize) : null,
    experts: expertsOf(model),
    vocabSize: model.vocabSize,
    maxPositionEmbeddings: model.maxPositionEmbeddings,
    slidingWindows: sizes.windows,
    attentionChunks: sizes.chunks,
    skipped: model.skipped,
    ...(runnerOf(config, checkpoint) === 'pooling'
      ? pooledFacts(config, checkpoint)
      : generatingFacts(config, checkpoint)),
  };
}

/** What the plan of an engine that generates says. */
function generatingFacts(config: EngineConfig, checkpoint: Checkpoint) {
  const plan = planEngine(config, checkpoint.spec, CPU, 0, roomFor(config, checkpoint));
  return {
    runner: 'generate' as const,
    pooling: null,
    kvBytesPerToken: plan.kvBytesPerToken,
    blockSize: plan.blockSize,
    blockBytes: plan.blockBytes,
    kvGroups: kvGroupsOf(plan),
    numBlocks: plan.numBlocks,
    numFullSeqs: plan.numFullSeqs,
    numHostBlocks: plan.numHostBlocks,
    maxModelLen: plan.maxModelLen,
    maxNumSeqs: plan.maxNumSeqs,
    maxNumBatchedTokens: plan.maxNumBatchedTokens,
  };
}

/** And of one that pools, which keeps no KV. */
function pooledFacts(config: EngineConfig, checkpoint: Checkpoint) {
  const plan = planPooling(config, checkpoint, CPU);
  return {
    runner: 'pooling' as const,
    pooling: { ...plan.info, activation: plan.activation },
    ...{ kvBytesPerToken: 0, blockSize: config.blockSize, blockBytes: 0, kvGroups: [] },
    ...{ numBlocks: 0, numFullSeqs: 0, numHostBlocks: 0 },
    maxModelLen: plan.maxModelLen,
    maxNumSeqs: plan.maxNumSeqs,
    maxNumBatchedTokens: plan.maxNumBatchedTokens,
  };
}

/** What the weights would leave; of those that this machine cannot hold, what there is. */
function roomFor(config: EngineConfig, checkpoint: Parameters<typeof heldBytes>[0]): number {
  const available = availableMemory();
  const left = available - heldBytes(checkpoint, config.quantize);
  return left > 0 ? left : available;
}

type Inspected = Awaited<ReturnType<typeof recordOf>>;

/** The same for people to read. */
export function rowsOf(record: Inspected): [string, string][] {
  const { slidingWindows: windows, attentionChunks: chunks } = record;
  return [
    ['model', record.path],
    ['family', `${record.family} (${record.architecture})`],
    ['parameters', count(record.numParameters)],
    [
      'dtype',
      Object.entries(record.dtypes)
        .map(([type, n]) => `${type} (${n} tensors)`)
        .join(', '),
    ],
    ['weights', bytes(record.weightBytes)],
    [
      'layers',
      `${record.numLayers} of hidden size ${record.hiddenSize}` +
        (record.intermediateSize === null ? '' : `, ffn ${either(record.intermediateSize)}`),
    ],
    ...expertRows(record),
    [
      'heads',
      `${either(record.numHeads)} query, ${either(record.numKvHeads)} KV, ` +
        `size ${either(record.headSize)}`,
    ],
    ['vocabulary', count(record.vocabSize)],
    [
      'context',
      `${count(record.maxPositionEmbeddings)} tokens` +
        (windows.length ? `, sliding window ${windows.join(', ')}` : '') +
        (chunks.length ? `, in chunks of ${chunks.join(', ')}` : ''),
    ],
    ...skippedRows(record.skipped),
    ...(record.pooling === null
      ? [['KV per token', bytes(record.kvBytesPerToken)] as [string, string], ...poolRows(record)]
      : pooledRows(record.pooling)),
  ];
}

/** What becomes of a text. */
function pooledRows(pooling: NonNullable<Inspected['pooling']>): [string, string][] {
  const { pooling: way, width, labels, normalize, prompts, maxSeqLength, activation } = pooling;
  const made =
    labels === undefined
      ? `${count(width)} values${normalize ? ' of length 1' : ''}`
      : `${countOf(labels.length, 'label')} (${shownLabels(labels)})` +
        (activation === 'none' ? '' : `, ${activation}`);
  const names = Object.keys(prompts);
  return [
    ['makes', `${made} of ${WAYS[way]}, ${count(maxSeqLength)} tokens at most`],
    ...(names.length === 0 ? [] : [['prompts', names.join(', ')] as [string, string]]),
  ];
}

const WAYS = { mean: "all tokens' mean", cls: 'the first token', last: 'the last token' };

/** The first few. */
function shownLabels(labels: readonly string[]): string {
  return labels.length > 6 ? `${labels.slice(0, 6).join(', ')}, …` : labels.join(', ');
}

/** Of the layers that have experts, which are alike; null where none has. */
function expertsOf({ layers }: Checkpoint['spec']) {
  const [first, ...others] = layers.flatMap(({ experts, mlp }) =>
    experts ? [{ ...experts, shared: mlp.intermediateSize }] : [],
  );
  if (first === undefined) return null;
  const { numExperts, topK, intermediateSize, shared } = first;
  const numLayers = 1 + others.length;
  return { numLayers, numExperts, topK, intermediateSize, sharedSize: shared };
}

function expertRows({ experts, numLayers }: Inspected): [string, string][] {
  if (experts === null) return [];
  const { numExperts, topK, intermediateSize, sharedSize } = experts;
  const shared = sharedSize > 0 ? `, a shared one of ffn ${sharedSize}` : '';
  const where = experts.numLayers < numLayers ? ` in ${countOf(experts.numLayers, 'layer')}` : '';
  return [['experts', `${topK} of ${numExperts} of ffn ${intermediateSize}${shared}${where}`]];
}

/** How layers keep their KV where they differ, and what the pool holds. */
function poolRows(record: Inspected): [string, string][] {
  const { numBlocks, blockBytes, blockSize, kvGroups, numFullSeqs, maxModelLen } = record;
  const size = bytes(numBlocks * blockBytes);
  const full = `${countOf(numFullSeqs, 'sequence')} of ${count(maxModelLen)} tokens`;
  if (kvGroups.length > 1) {
    return [
      ['KV groups', groupsLine(record)],
      ['KV pool here', `${count(numBlocks)} blocks of all groups, ${size}: at least ${full}`],
    ];
  }
  const holds = `${count((numBlocks - 1) * blockSize)} tokens, ${full}`;
  return [['KV pool here', `${count(numBlocks)} blocks of ${blockSize} tokens, ${size}: ${holds}`]];
}

/** Groups that differ in their layers only are said once. */
function groupsLine({ kvGroups }: Inspected): string {
  const kinds = new Map<string, { numGroups: number; numLayers: number }>();
  for (const { window, chunked, blockSize, numLayers } of kvGroups) {
    const part = chunked ? 'a chunk' : 'a window';
    const kept = window === 0 ? 'all tokens' : `${part} of ${count(window)}`;
    const name = `${kept} in blocks of ${blockSize}`;
    const kind = kinds.get(name) ?? { numGroups: 0, numLayers: 0 };
    kind.numGroups += 1;
    kind.numLayers += numLayers;
    kinds.set(name, kind);
  }
  const lines = [...kinds].map(
    ([name, { numGroups, numLayers }]) =>
      `${countOf(numLayers, 'layer')} in ${countOf(numGroups, 'group')}: ${name}`,
  );
  return lines.join('; ');
}

function countOf(n: number, what: string): string {
  return `${count(n)} ${what}${n === 1 ? '' : 's'}`;
}

/** By layer, of the FFN by layer without experts; of windows only which there are. */
function sizesOf({ layers }: Checkpoint['spec']) {
  const windowsOf = (chunked: boolean) => {
    const alike = layers.filter(({ attention }) => attention.chunked === chunked);
    return [...new Set(alike.map(({ attention }) => attention.window).filter((w) => w > 0))];
  };
  return {
    numHeads: layers.map(({ attention }) => attention.numHeads),
    numKvHeads: layers.map(({ attention }) => attention.numKvHeads),
    headSize: layers.map(({ attention }) => attention.headSize),
    intermediateSize: layers.flatMap(({ mlp, experts }) => (experts ? [] : [mlp.intermediateSize])),
    windows: windowsOf(false),
    chunks: windowsOf(true),
  };
}

/** One number where all layers have the same. */
function alike(values: readonly number[]): number | readonly number[] {
  return values.every((value) => value === values[0]) ? values[0] : values;
}

function either(values: number | readonly number[]): string {
  return [...new Set([values].flat())].join(' or ');
}

/** Parts of the checkpoint that generating text has no use for. */
function skippedRows(skipped: Checkpoint['spec']['skipped']): [string, string][] {
  const parts = Object.entries(skipped).map(([part, n]) => `${part} (${n} tensors)`);
  return parts.length === 0 ? [] : [['passed over', parts.join(', ')]];
}

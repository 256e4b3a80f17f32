import { Command } from 'commander';
import { availableMemory } from '../config/machine.js';
import {
  defaultModel,
  type EngineConfig,
  type EngineOptions,
  engineConfig,
} from '../config/options.js';
import { CPU } from '../engine/device.js';
import { findModel, type LoadOptions } from '../engine/find-model.js';
import { kvGroupsOf, planEngine } from '../engine/plan.js';
import { planPooling, runnerOf } from '../engine/pooling-plan.js';
import { heldBytes, PACKED_ON_DEVICE } from '../engine/room.js';
import { type Checkpoint, openCheckpoint } from '../model/checkpoint.js';
import { attentionsOf, widensTurned } from '../model/spec.js';
import { withDownloads } from './download.js';
import { addEngineFlags, engineOptionsOf } from './flags.js';
import { bytes, count, printRows } from './report.js';

/** `octavo inspect [model]`: what a checkpoint is and what it needs, without loading weights. */
export function inspectCommand(): Command {
  const command = new Command('inspect')
    .description('architecture, parameters, sizes and KV capacity of a model')
    .argument('[model]', 'a folder, a .gguf file or org/name of the hub (default: bundled)')
    .option('--json', 'one line of JSON')
    .action(inspect);
  return addEngineFlags(command);
}

async function inspect(path: string | undefined, values: Record<string, unknown>): Promise<void> {
  const options = { ...engineOptionsOf(values), model: path ?? defaultModel() };
  const record = await withDownloads((loading) => recordOf(options, loading));
  if (values.json) {
    process.stdout.write(`${JSON.stringify(record)}\n`);
    return;
  }
  printRows(rowsOf(record), process.stdout);
}

/** All that is said of a model, as --json prints it. */
export async function recordOf(options: EngineOptions, loading?: LoadOptions) {
  const config = engineConfig(options);
  const { path } = await findModel(config.model, {}, loading);
  const checkpoint = await openCheckpoint(path);
  const { spec: model } = checkpoint;
  const types = new Map<string, number>();
  for (const { dtype } of checkpoint.tensors) types.set(dtype, (types.get(dtype) ?? 0) + 1);
  const sizes = sizesOf(model);
  return {
    path,
    family: model.family,
    architecture: model.architecture,
    numParameters: checkpoint.numParameters,
    dtypes: Object.fromEntries(types),
    quantMethod: checkpoint.quantMethod ?? null,
    quantised: quantisedIn(checkpoint),
    weightBytes: checkpoint.weightBytes,
    numLayers: model.layers.length,
    hiddenSize: model.hiddenSize,
    numAttentionLayers: attentionsOf(model.layers).length,
    numHeads: alike(sizes.numHeads),
    numKvHeads: alike(sizes.numKvHeads),
    headSize: alike(sizes.headSize),
    latentSize: sizes.latentSize.length ? alike(sizes.latentSize) : null,
    intermediateSize: alike(sizes.intermediateSize),
    experts: expertsOf(model),
    sharedKv: sharedKvOf(model),
    layerInputSize: model.layerInputs?.size ?? 0,
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
    recurrent: plan.recurrent && {
      numLayers: checkpoint.spec.layers.filter(({ recurrent }) => recurrent).length,
      stateBytes: plan.recurrent.stateBytes,
      recordBytes: plan.recurrent.recordBytes,
      seqBytes: plan.recurrent.seqBytes,
      bytes: plan.recurrent.bytes,
      numHostStates: plan.recurrent.sizes.numHostSlots ?? 0,
    },
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
    ...{ numBlocks: 0, numFullSeqs: 0, numHostBlocks: 0, recurrent: null },
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
    ...quantisedRows(record),
    [
      'layers',
      `${record.numLayers} of hidden size ${record.hiddenSize}` +
        (record.intermediateSize === null ? '' : `, ffn ${either(record.intermediateSize)}`),
    ],
    ...expertRows(record),
    ['heads', headsLine(record)],
    ...sharingRows(record),
    ['vocabulary', count(record.vocabSize)],
    [
      'context',
      `${count(record.maxPositionEmbeddings)} tokens` +
        (windows.length ? `, sliding window ${windows.join(', ')}` : '') +
        (chunks.length ? `, in chunks of ${chunks.join(', ')}` : ''),
    ],
    ...skippedRows(record.skipped),
    ...(record.pooling === null
      ? [...kvRows(record), ...recurrentRows(record)]
      : pooledRows(record.pooling)),
  ];
}

function headsLine(record: Inspected): string {
  const { numAttentionLayers: count, numLayers, latentSize } = record;
  const { numHeads, numKvHeads, headSize } = record;
  if (numHeads === null || numKvHeads === null || headSize === null) return 'no layer attends';
  const where = count < numLayers ? ` in ${countOf(count, 'layer')}` : '';
  const query = `${either(numHeads)} query`;
  if (latentSize === null) {
    return `${query}, ${either(numKvHeads)} KV, size ${either(headSize)}${where}`;
  }
  const row = `one latent row of ${either(headSize)}, ${either(latentSize)} of them values`;
  return `${query} of ${row}${where}`;
}

/** A type of quantised matrices: how many are kept in it, or widened, and what a value takes. */
interface Quantised {
  readonly dtype: string;
  readonly numMatrices: number;
  readonly bitsPerWeight: number;
  /** In few bits they cannot stay: their columns' scales are in an order of their own, or flat, or
   * the matrices are turned around. */
  readonly widened: boolean;
  /** A GPU keeps those bits, too; else it widens them to 16. */
  readonly packedOnGpu: boolean;
}

function quantisedIn({ tensors }: Checkpoint): Quantised[] {
  const kinds = new Map<string, Quantised>();
  for (const tensor of tensors) {
    const { dtype, rows, cols, bytes, step = 1, parts } = tensor;
    const isTurned = widensTurned(tensor);
    const widened = isTurned || (parts !== undefined && dtype === 'F32');
    if (rows === 1 || (!widened && ['F32', 'F16', 'BF16'].includes(dtype))) continue;
    const kind = isTurned ? `${dtype}, turned around` : dtype;
    const before = kinds.get(kind)?.numMatrices ?? 0;
    // Of rows in turn the bytes reach over those of others.
    const span = parts === undefined ? (rows - 1) * step + 1 : rows;
    const bitsPerWeight = (8 * bytes) / (span * cols);
    const held = isTurned ? 'F32' : dtype;
    const packedOnGpu = PACKED_ON_DEVICE.includes(held);
    kinds.set(kind, { dtype: held, numMatrices: before + 1, bitsPerWeight, widened, packedOnGpu });
  }
  return [...kinds.values()];
}

function quantisedRows({ quantised, quantMethod }: Inspected): [string, string][] {
  if (quantised.length === 0) return [];
  const kinds = quantised.map(({ dtype, numMatrices, bitsPerWeight, widened, packedOnGpu }) => {
    const bits = `${Number(bitsPerWeight.toFixed(2))} bits a weight`;
    const as = widened ? `widened to ${dtype}` : `stays packed as ${dtype}`;
    return `${numMatrices} of ${bits}, ${as}${packedOnGpu ? '' : ' (16 bits on a GPU)'}`;
  });
  const method = quantMethod === null ? '' : `${quantMethod}: `;
  return [['quantised', `${method}matrices: ${kinds.join('; ')}`]];
}

/** What layers that keep a state take beside the KV pool. */
function recurrentRows({ recurrent, maxNumSeqs }: Inspected): [string, string][] {
  if (recurrent === null) return [];
  const { numLayers, stateBytes, recordBytes, seqBytes, bytes: all, numHostStates } = recurrent;
  return [
    [
      'recurrent',
      `${countOf(numLayers, 'layer')}: a state of ${bytes(stateBytes)}, ` +
        `${bytes(recordBytes)} for each token since; at most ${bytes(seqBytes)} a sequence`,
    ],
    [
      'states here',
      `for ${countOf(maxNumSeqs, 'sequence')} at once, ${bytes(all)}; ` +
        `${count(numHostStates)} fit into the swap space`,
    ],
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
  const { numExperts, topK, intermediateSize, shared, beside } = first;
  const numLayers = 1 + others.length;
  const isBeside = beside !== undefined;
  return { numLayers, numExperts, topK, intermediateSize, sharedSize: shared, isBeside };
}

function expertRows({ experts, numLayers }: Inspected): [string, string][] {
  if (experts === null) return [];
  const { numExperts, topK, intermediateSize, sharedSize, isBeside } = experts;
  const other = isBeside ? 'beside an' : 'a shared one of';
  const shared = sharedSize > 0 ? `, ${other} ffn ${sharedSize}` : '';
  const where = experts.numLayers < numLayers ? ` in ${countOf(experts.numLayers, 'layer')}` : '';
  return [['experts', `${topK} of ${numExperts} of ffn ${intermediateSize}${shared}${where}`]];
}

/** Layers that read the KV of earlier ones, and those. */
function sharedKvOf({ layers }: Checkpoint['spec']) {
  const sources = layers.flatMap(({ attention }) => attention?.kvLayer ?? []);
  if (sources.length === 0) return null;
  return { numLayers: sources.length, of: [...new Set(sources)].sort((a, b) => a - b) };
}

/** What layers have of each other, and of a table. */
function sharingRows({ sharedKv, layerInputSize }: Inspected): [string, string][] {
  const rows: [string, string][] = [];
  if (sharedKv !== null) {
    const readers = `${countOf(sharedKv.numLayers, 'layer')} without any, reading that of`;
    rows.push(['shared KV', `${readers} layers ${sharedKv.of.join(', ')}`]);
  }
  if (layerInputSize > 0) {
    rows.push(['layer inputs', `${layerInputSize} values of each token for each layer`]);
  }
  return rows;
}

/** What a token takes and what the pool holds; where no layer attends there is nothing to say. */
function kvRows(record: Inspected): [string, string][] {
  if (record.numAttentionLayers === 0) return [];
  return [['KV per token', bytes(record.kvBytesPerToken)], ...poolRows(record)];
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
  const attentions = attentionsOf(layers);
  const windowsOf = (chunked: boolean) => {
    const alike = attentions.filter((attention) => attention.chunked === chunked);
    return [...new Set(alike.map(({ window }) => window).filter((w) => w > 0))];
  };
  return {
    numHeads: attentions.map(({ numHeads }) => numHeads),
    numKvHeads: attentions.map(({ numKvHeads }) => numKvHeads),
    headSize: attentions.map(({ headSize }) => headSize),
    latentSize: attentions.flatMap(({ latent }) => latent?.rank ?? []),
    intermediateSize: layers.flatMap(({ mlp, experts }) =>
      experts || mlp.intermediateSize === 0 ? [] : [mlp.intermediateSize],
    ),
    windows: windowsOf(false),
    chunks: windowsOf(true),
  };
}

/** One number where all layers have the same; null where none has any. */
function alike(values: readonly number[]): number | readonly number[] | null {
  if (values.length === 0) return null;
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

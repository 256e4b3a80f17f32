/** Configs of the reference cases, and what lib/model makes of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import type { GgufValue } from '../../lib/model/gguf.js';
import { ggufSpec, hfSpec } from '../../lib/model/read-spec.js';
import type { ModelSpec } from '../../lib/model/spec.js';
import { ROOT } from './addon.js';

export type Settings = Record<string, unknown>;

const FIXTURES = join(ROOT, 'test', 'fixtures');

/** config.json of a case, with some settings changed; undefined takes one away. */
export function settings(name: string, change: Settings = {}): Settings {
  const text = readFileSync(join(FIXTURES, 'models', name, 'config.json'), 'utf8');
  const all = { ...(JSON.parse(text) as Settings), ...change };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

export function specOf(values: Settings): ModelSpec {
  return hfSpec(values, 'config.json').spec;
}

/** Of a GGUF case. */
export async function ggufSpecOf(name: string): Promise<ModelSpec> {
  return (await openCheckpoint(join(FIXTURES, 'gguf', `${name}.gguf`))).spec;
}

/** Of keys as converters write them, without the architecture's name in front, and no more. */
export function ggufSpecWith(
  architecture: string,
  keys: Record<string, GgufValue | undefined>,
  /** Names of its tensors, or their shapes. */
  stored: readonly string[] | Readonly<Record<string, readonly number[]>> = [],
): ModelSpec {
  const all: Record<string, GgufValue | undefined> = {
    ...{ block_count: 4, context_length: 512, embedding_length: 64, feed_forward_length: 48 },
    ...{ 'attention.head_count': 2, 'attention.head_count_kv': 1, 'rope.freq_base': 10_000 },
    ...keys,
  };
  const metadata = new Map<string, GgufValue>([['general.architecture', architecture]]);
  for (const [key, value] of Object.entries(all)) {
    if (value !== undefined) metadata.set(`${architecture}.${key}`, value);
  }
  const shapes = new Map(Array.isArray(stored) ? [] : Object.entries(stored));
  const names = new Set<string>(Array.isArray(stored) ? stored : shapes.keys());
  const tensors = { names, shapes, vocabSize: 320, biases: new Set<string>(), factors: new Map() };
  const tokens = { bosTokenId: undefined, eosTokenIds: [] };
  return ggufSpec(metadata, 'm.gguf', tensors, tokens).spec;
}

/** One value per layer. */
export function byLayer<T>(
  { layers }: ModelSpec,
  pick: (layer: ModelSpec['layers'][number]) => T,
): T[] {
  return layers.map(pick);
}

export const windowsOf = (spec: ModelSpec) => byLayer(spec, ({ attention }) => attention!.window);
export const ropesOf = (spec: ModelSpec) => byLayer(spec, ({ attention }) => attention!.rope);

/** Beam searches of the reference (Hugging Face transformers), and comparing with them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { BeamSearchParams, RequestOutput } from '../../lib/index.js';
import { ROOT } from './addon.js';

export interface GoldenBeams {
  readonly prompt_token_ids: number[];
  readonly beam_width: number;
  readonly length_penalty: number;
  readonly early_stopping: boolean | 'never';
  readonly max_tokens: number;
  readonly eos_token_ids: number[];
  readonly beams: { token_ids: number[]; score: number }[];
}

const FIXTURES = join(ROOT, 'test', 'fixtures');
const folders: Record<string, [golden: string, model: string]> = {
  'octavo-demo': [join(FIXTURES, 'octavo-demo'), join(ROOT, 'models', 'octavo-demo')],
};
for (const name of ['llama-gqa', 'llama-mha', 'mistral-window']) {
  folders[name] = [join(FIXTURES, 'models', name), join(FIXTURES, 'models', name)];
}

export const BEAM_MODELS = Object.keys(folders);

export function readBeams(name: string): { model: string; searches: GoldenBeams[] } {
  const [golden, model] = folders[name];
  const file = JSON.parse(readFileSync(join(golden, 'golden.json'), 'utf8'));
  return { model, searches: file.beam_search };
}

/** The reference's ending ids stand for EOS, so the model's own must not end anything. */
export function beamParams(search: GoldenBeams): BeamSearchParams {
  return {
    beamWidth: search.beam_width,
    lengthPenalty: search.length_penalty,
    earlyStopping: search.early_stopping,
    maxTokens: search.max_tokens,
    ignoreEos: true,
    stopTokenIds: search.eos_token_ids,
  };
}

/** Ids equal, scores to 1e-4 · (1 + |score|). */
export function expectBeams(output: RequestOutput, search: GoldenBeams): void {
  expect(output.outputs.map((o) => o.tokenIds)).toEqual(search.beams.map((b) => b.token_ids));
  output.outputs.forEach(({ score, index }, i) => {
    const wanted = search.beams[i].score;
    expect(index).toBe(i);
    expect(Math.abs(score! - wanted)).toBeLessThanOrEqual(1e-4 * (1 + Math.abs(wanted)));
  });
}

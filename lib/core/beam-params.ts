/**
 * What a caller may ask of a beam search, validated at the gate and frozen. A beam search is a
 * group of `beamWidth` sequences that draw nothing: their parameters are those of a greedy request
 * whose lists of best tokens are its candidates.
 */
import { z } from 'zod';
import { readArgument, takeObject, unknownName } from '../arguments.js';
import { octavoError } from '../errors.js';
import { type BeamParams, numCandidates } from './beam-search.js';
import {
  completeParams,
  type DrawContext,
  type DrawParams,
  type ValidSamplingParams,
  validateSamplingParams,
} from './sampling-params.js';
import type { StructuredOutputs } from './structured.js';

type Shared =
  | 'maxTokens'
  | 'minTokens'
  | 'ignoreEos'
  | 'stopTokenIds'
  | 'skipSpecialTokens'
  | 'cacheSalt'
  | 'structuredOutputs';

/** A beam search; `beamWidth` tells it from sampling parameters. `T` as of SamplingParams. */
export interface BeamSearchParams<T = unknown>
  extends Partial<Pick<ValidSamplingParams, Exclude<Shared, 'structuredOutputs'>>> {
  /** What every beam must be. */
  readonly structuredOutputs?: StructuredOutputs<T>;
  /** Beams that live at once, and most that are returned: 1 to 64. */
  readonly beamWidth: number;
  /** Exponent of the length in a beam's score. Default 1. */
  readonly lengthPenalty?: number;
  /**
   * When it is over. `true`: once `beamWidth` beams are finished; `false` (default): once moreover
   * no live beam scores better now; `'never'`: once none could, were it as long as it may get.
   */
  readonly earlyStopping?: boolean | 'never';
}

const MAX_WIDTH = 64;
/** Longest list of best tokens that each step brings for every beam. */
const MAX_CANDIDATES = 4096;
const widthSentence = `beamWidth must be an integer from 1 to ${MAX_WIDTH}`;
const penaltySentence = 'lengthPenalty must be a number from -100 to 100';
const stoppingSentence = 'earlyStopping must be true, false or "never"';

const schema = z.object({
  beamWidth: z.int(widthSentence).min(1, widthSentence).max(MAX_WIDTH, widthSentence),
  lengthPenalty: z
    .number(penaltySentence)
    .min(-100, penaltySentence)
    .max(100, penaltySentence)
    .default(1),
  earlyStopping: z.union([z.boolean(), z.literal('never')], stoppingSentence).default(false),
});

/** Parameters that sampling has too. */
export const SHARED_PARAMS: ReadonlySet<string> = new Set<Shared>([
  'maxTokens',
  'minTokens',
  'ignoreEos',
  'stopTokenIds',
  'skipSpecialTokens',
  'cacheSalt',
  'structuredOutputs',
]);

export function isBeamSearch(input: unknown): input is BeamSearchParams {
  return (input as { beamWidth?: unknown } | null | undefined)?.beamWidth !== undefined;
}

/**
 * Checks what a caller wrote and completes it.
 * @throws ERR_INVALID_PARAM naming the parameter
 */
export function completeBeamParams(input: BeamSearchParams, context: DrawContext): DrawParams {
  const own: Record<string, unknown> = {};
  const shared: Record<string, unknown> = {};
  const given = takeObject(input, 'parameters of a beam search', 'params');
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (Object.hasOwn(schema.shape, name)) own[name] = value;
    else if (SHARED_PARAMS.has(name)) shared[name] = value;
    else
      throw unknownName('a beam search has no parameter', name, [
        ...Object.keys(schema.shape),
        ...SHARED_PARAMS,
      ]);
  }
  const parsed = readArgument(
    () => schema.safeParse(own),
    () => octavoError('ERR_INVALID_PARAM', 'earlyStopping cannot be read', { param: 'params' }),
  );
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw octavoError('ERR_INVALID_PARAM', issue.message, { param: String(issue.path[0]) });
  }
  const { beamWidth, lengthPenalty, earlyStopping } = parsed.data;
  const params = validateSamplingParams({ ...shared, n: beamWidth, temperature: 0 }, context);
  const complete = completeParams(params, context);
  const wanted = numCandidates(beamWidth, complete.endTokenIds.length);
  if (Math.min(wanted, context.vocabSize) > MAX_CANDIDATES) {
    const most = Math.floor(MAX_CANDIDATES / beamWidth) - 1;
    throw octavoError(
      'ERR_INVALID_PARAM',
      `stopTokenIds and EOS must be at most ${most} ids with beamWidth ${beamWidth}: for each of ` +
        'them a step looks at another beamWidth candidates',
      { param: 'stopTokenIds' },
    );
  }
  const beam: BeamParams = Object.freeze({ width: beamWidth, lengthPenalty, earlyStopping });
  return Object.freeze({ ...complete, beam, numLogprobs: Math.min(wanted, context.vocabSize) });
}

/** `beamWidth` is 4 where it is not given. */
export function withWidth(params: unknown): BeamSearchParams {
  const given = takeObject(params, 'parameters of a beam search', 'params');
  return { ...given, beamWidth: (given.beamWidth === undefined ? 4 : given.beamWidth) as number };
}

/**
 * What a caller may ask of a beam search, validated at the gate and frozen. A beam search is a
 * group of `beamWidth` sequences that draw nothing: their parameters are those of a greedy request
 * whose lists of best tokens are its candidates.
 */
import { z } from 'zod';
import { octavoError } from '../errors.js';
import { type BeamParams, numCandidates } from './beam-search.js';
import {
  completeParams,
  type DrawContext,
  type DrawParams,
  type SamplingParams,
  validateSamplingParams,
} from './sampling-params.js';

type Shared =
  | 'maxTokens'
  | 'minTokens'
  | 'ignoreEos'
  | 'stopTokenIds'
  | 'skipSpecialTokens'
  | 'cacheSalt';

/** A beam search; `beamWidth` tells it from sampling parameters. */
export interface BeamSearchParams extends Partial<Pick<SamplingParams, Shared>> {
  /** Beams that live at once, and most that are returned: 1 to 64. */
  readonly beamWidth: number;
  /** Exponent of the length in a beam's score. Default 1. */
  readonly lengthPenalty?: number;
  /** When it is over; see {@link BeamParams}. Default false. */
  readonly earlyStopping?: boolean | 'never';
}

const MAX_WIDTH = 64;
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
  for (const [name, value] of Object.entries(input)) {
    if (value === undefined) continue;
    if (name in schema.shape) own[name] = value;
    else if (SHARED_PARAMS.has(name)) shared[name] = value;
    else throw unknown(name);
  }
  const parsed = schema.safeParse(own);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw octavoError('ERR_INVALID_PARAM', issue.message, { param: String(issue.path[0]) });
  }
  const { beamWidth, lengthPenalty, earlyStopping } = parsed.data;
  const params = validateSamplingParams({ ...shared, n: beamWidth, temperature: 0 }, context);
  const complete = completeParams(params, context);
  const wanted = numCandidates(beamWidth, complete.endTokenIds.length);
  const beam: BeamParams = Object.freeze({ width: beamWidth, lengthPenalty, earlyStopping });
  return Object.freeze({ ...complete, beam, numLogprobs: Math.min(wanted, context.vocabSize) });
}

function unknown(name: string): Error {
  const known = [...Object.keys(schema.shape), ...SHARED_PARAMS].join(', ');
  return octavoError(
    'ERR_INVALID_PARAM',
    `a beam search has no parameter ${JSON.stringify(name)}; known are ${known}`,
    { param: name },
  );
}

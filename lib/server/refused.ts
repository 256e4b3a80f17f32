/** What this server does not do yet, or never: asked for, it is refused by name. */
import { badRequest } from './problem.js';

const isEmpty = (value: unknown) => Array.isArray(value) && value.length === 0;

type Row = readonly [asksNothing: (value: unknown) => boolean, why: string];

const NEVER = () => false;
const isZero = (value: unknown) => value === 0;
const DRAWN = 'is not supported; temperature, top_p, top_k and min_p are';
const HOSTED = 'runs on the side of Anthropic only; leave it out';
const ACTIVATED = 'labels and scores are given behind their activation only; leave it out';

const ROWS: Readonly<Record<string, Row>> = {
  logprob_token_ids: [isEmpty, 'is not supported; ask for logprobs'],
  kv_transfer_params: [NEVER, 'is not supported'],
  repetition_detection: [NEVER, 'is not supported'],
  audio: [NEVER, 'this model writes text only'],
  modalities: [
    (value) => Array.isArray(value) && value.every((one) => one === 'text'),
    'this model writes text only',
  ],
  logits_processors: [isEmpty, 'is not supported; logit_bias is'],
  typical_p: [(value) => value === 1, DRAWN],
  mirostat: [isZero, DRAWN],
  dynatemp_range: [isZero, DRAWN],
  xtc_probability: [isZero, DRAWN],
  dry_multiplier: [isZero, DRAWN],
  features: [NEVER, 'this model reads text only'],
  mcp_servers: [isEmpty, HOSTED],
  container: [NEVER, HOSTED],
  embed_dtype: [(value) => value === 'float32', 'vectors are float32'],
  endianness: [(value) => value === 'native' || value === 'little', 'vectors are little-endian'],
  use_activation: [(value) => value === true, ACTIVATED],
  activation: [(value) => value === true, ACTIVATED],
  rank_fields: [isEmpty, 'is not supported; send the text to rank by'],
  max_chunks_per_doc: [(value) => value === 1, 'is not supported; send chunks as documents'],
  max_tokens_per_doc: [NEVER, 'is not supported; truncate_prompt_tokens is'],
};

/**
 * A text is gone on with as it is: nothing is known of what of it is thought, and what is said.
 * @throws Problem 400
 */
export function refuseReasoning(body: {
  readonly reasoning_effort?: unknown;
  readonly thinking_token_budget?: unknown;
}): void {
  const why = 'is for conversations; leave it out';
  const { reasoning_effort: effort = null, thinking_token_budget: budget = null } = body;
  if (effort !== null && effort !== 'none') {
    throw badRequest(`reasoning_effort: ${why}`, 'reasoning_effort');
  }
  if (budget !== null) throw badRequest(`thinking_token_budget: ${why}`, 'thinking_token_budget');
}

/** @throws Problem 400 naming the first field that asks for what there is not */
export function refuseUnsupported(body: Readonly<Record<string, unknown>>): void {
  for (const [name, [asksNothing, why]] of Object.entries(ROWS)) {
    const value = body[name];
    if (value === undefined || value === null || asksNothing(value)) continue;
    throw badRequest(`${name}: ${why}`, name);
  }
  const { best_of: bestOf, n = 1 } = body as { best_of?: number; n?: number };
  if (bestOf !== undefined && bestOf > n) {
    throw badRequest('best_of: is not supported; ask for n and choose by logprobs', 'best_of');
  }
}

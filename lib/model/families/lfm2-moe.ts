import { ROUTER_SCORES } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { withLayer } from '../names.js';
import { expertSize, expertsOf, ggufExperts, hfExperts } from './experts.js';
import { HF_DEFAULTS, mixed } from './lfm2.js';
import { MATRICES } from './mixtral.js';
import { SOME_ATTEND, sizesOf } from './shared.js';
import { GGUF, HF } from './shared-lfm2.js';

/** The same with experts, which a bias helps to choose, in all but the first layers. */
export function lfm2moe(c: Config): FamilySpec {
  const { f } = c;
  if (!c.gguf) f.defaults({ ...HF_DEFAULTS, ...MOE_DEFAULTS });
  const sizes = sizesOf(c, SOME_ATTEND);
  const first = f.integer(c.name('num_dense_layers', 'leading_dense_block_count'), 0, 4096);
  const experts = expertsOf(c, {
    intermediateSize: expertSize(c),
    router: {
      score: ROUTER_SCORES.sigmoid,
      choiceBias: c.gguf !== undefined || f.boolean('use_expert_bias', true),
      normalize: f.boolean('norm_topk_prob', true),
      scale: f.number('routed_scaling_factor', 1e-6, 1e6, 1),
    },
  });
  const layers = sizes.layers.map((size, i) =>
    i < first ? size : { ...size, intermediateSize: 0 },
  );
  const { numExperts } = experts;
  const names = c.gguf
    ? ggufExperts(GGUF, numExperts)
    : withLayer(
        hfExperts(HF, numExperts, 'feed_forward', MATRICES),
        {},
        { 'feed_forward.expert_bias': 'router.choice_bias' },
      );
  return mixed(c, { ...sizes, layers }, names, (i) => (i < first ? {} : { experts }));
}

/** Of files that leave them out. */
const MOE_DEFAULTS = {
  ...{ moe_intermediate_size: 1792, num_dense_layers: 2, num_experts: 32, num_experts_per_tok: 4 },
};

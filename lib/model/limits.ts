/** What a spec must keep to whatever its family says, before its tensors are looked for. */
import { type NativeLayer, NORMS, QK_NORM_SPANS } from '../native.js';
import type { FamilySpec } from './config.js';
import { damaged, unsupported } from './files.js';

/** Of experts and of heads with norms of their own; the largest known model has under a fifth. */
const MAX_PARTS = 2 ** 17;

/** Two numbers of a config name so many tensors: more than any file has, if they are damaged. */
function checkParts(layers: readonly NativeLayer[], file: string): void {
  const [experts, heads] = [expertsOf, ownHeadsOf].map((of) =>
    layers.reduce((sum, layer) => sum + of(layer), 0),
  );
  if (experts > MAX_PARTS) {
    throw unsupported(file, `a model of ${experts} experts (at most ${MAX_PARTS})`);
  }
  if (heads > MAX_PARTS) {
    throw unsupported(
      file,
      `a model of ${heads} heads with norms of their own (at most ${MAX_PARTS})`,
    );
  }
}

function expertsOf({ experts }: NativeLayer): number {
  return experts?.numExperts ?? 0;
}

function ownHeadsOf({ attention: a }: NativeLayer): number {
  if (a === undefined) return 0;
  const own = a.qkNormSpan === QK_NORM_SPANS.ownHead && a.qkNorm.kind !== NORMS.none;
  return own ? a.numHeads + a.numKvHeads : 0;
}

/** Layers may have heads of other sizes than the first, which the rope was made for. */
function checkRopes({ layers, ropes }: LimitedSpec, file: string): void {
  for (const [i, { attention: a }] of layers.entries()) {
    if (a === undefined) continue;
    const turning = a.rope < 0 ? 0 : 2 * ropes[a.rope].inverseFrequencies.length;
    const most = a.headSize - (a.latent?.rank ?? 0);
    if (turning > most) {
      throw damaged(file, `layer ${i}`, `turns ${turning} values of heads of ${most}`);
    }
  }
}

type LimitedSpec = Pick<FamilySpec, 'layers' | 'ropes'>;

/** @throws ERR_MODEL_UNSUPPORTED, ERR_MODEL_FORMAT */
export function checkLimits(spec: LimitedSpec, file: string): void {
  checkParts(spec.layers, file);
  checkRopes(spec, file);
}

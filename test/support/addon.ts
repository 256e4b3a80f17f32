/** The test build of the addon: the same sources, and steps may return their logits. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type NativeAddon, verified } from '../../lib/native.js';

export const ROOT = join(import.meta.dirname, '..', '..');

/** OCTAVO_TEST_ADDON names another build, e.g. one with sanitizers. */
export function testAddon(): NativeAddon {
  const path = process.env.OCTAVO_TEST_ADDON ?? join(ROOT, 'build', 'testing', 'octavo.node');
  if (!existsSync(path))
    throw new Error(`${path} is not built; run node scripts/install.mjs --testing`);
  return verified(createRequire(import.meta.url)(path) as NativeAddon);
}

import { LLM } from 'octavo';

/**
 * One model in a process, loaded by the first request: `next dev` reads this file anew with every
 * change, so it is kept where that does not reach. OCTAVO_MODEL names another than the demo model.
 */
export function model() {
  globalThis.llm ??= LLM.load({ model: process.env.OCTAVO_MODEL }).catch((error) => {
    globalThis.llm = undefined; // the next request tries again
    throw error;
  });
  return globalThis.llm;
}

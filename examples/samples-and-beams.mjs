/**
 * Several continuations of one prompt, and what they cost in KV blocks:
 * node examples/samples-and-beams.mjs [model]
 */
import { LLM } from 'octavo';

const PROMPT =
  'Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in ' +
  'my purse, and nothing particular to interest me on shore, I thought I would sail about a ' +
  'little and see the watery part of the world. It is a way I have of driving off the spleen.';

const llm = await LLM.load({ model: process.argv[2] });

/** Runs a call, and says how many blocks were in use at most while it ran. */
async function measured(what, call) {
  let used = 0;
  let unshared = 0;
  const events = llm.events();
  const watching = (async () => {
    for await (const { numBlocksUsed, numTableEntries } of events) {
      used = Math.max(used, numBlocksUsed);
      unshared = Math.max(unshared, numTableEntries);
    }
  })();
  const output = await call();
  await events.return();
  await watching;
  const { numBlockCopies } = output;
  console.log(`${what}: ${used} blocks, ${unshared} if unshared, ${numBlockCopies} copied`);
  return output;
}

const alone = { maxTokens: 40, temperature: 0.9, seed: 7, ignoreEos: true };
await measured('1 sample', () => llm.generate(PROMPT, alone));

// The prompt is computed once; each sample has blocks of its own from where they part.
const samples = await measured('4 samples', () => llm.generate(PROMPT, { ...alone, n: 4 }));
for (const { text } of samples.outputs) console.log(`  ${JSON.stringify(text)}`);

// Beams fork and end at every step, and keep sharing what they have in common.
const beams = await measured('4 beams', () =>
  llm.beamSearch(PROMPT, { beamWidth: 4, maxTokens: 40, ignoreEos: true }),
);
for (const { score, text } of beams.outputs) {
  console.log(`  ${score.toFixed(3)} ${JSON.stringify(text)}`);
}

await llm.close();

/**
 * Many prompts at once, a line of JSON for each as it ends: node examples/batch.mjs [model] [file]
 *
 * The file has a prompt a line. All of them may be given at once: the batch waits outside the
 * engine's queue, so that other calls of the process get in.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { LLM } from 'octavo';

const linesOf = (text) => text.split(/\r?\n/).filter((line) => line.trim() !== '');

const [model, file] = process.argv.slice(2);
const SOME = ['The sea', 'My fellow citizens', 'And it came to pass', 'Call me', 'The whale', 'We'];
const prompts = file ? linesOf(await readFile(file, 'utf8')) : SOME;

const llm = await LLM.load({ model });
const begin = performance.now();

/** The batch waits for it, so a slow pipe slows the batch instead of filling memory. */
async function write(output, index) {
  const [{ text, finishReason }] = output.outputs;
  const line = JSON.stringify({ index, prompt: prompts[index], text, finishReason });
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, 'drain');
}

await llm.generate(prompts, { maxTokens: 48, temperature: 0.7, seed: 1 }, { onOutput: write });

const seconds = (performance.now() - begin) / 1000;
const { generationTokens, numSteps } = llm.stats();
console.error(
  `${generationTokens} tokens in ${numSteps} steps, ${(generationTokens / seconds).toFixed(0)}/s`,
);
await llm.close();

// The worker of the peer: same messages as bench/peers-octavo.ts.
import { getLlama, LlamaGrammarEvaluationState, LlamaLogLevel } from 'node-llama-cpp';

let llama;
let model;

async function load({ model: modelPath, threads }) {
  llama = await getLlama({
    gpu: false,
    build: 'never',
    maxThreads: threads,
    logLevel: LlamaLogLevel.error,
  });
  const begin = performance.now();
  model = await llama.loadModel({ modelPath });
  return { ms: performance.now() - begin };
}

/**
 * Times of the tokens of all sequences, in ms since the start, and their ids.
 * @param seed tokens are drawn at temperature 1; none: greedily
 * @param schema of JSON, which the texts have to be
 */
async function run({ prompts, output, flashAttention, threads, seed, schema }) {
  const context = await model.createContext({
    contextSize: prompts[0].length + output + 8,
    sequences: prompts.length,
    batchSize: 512,
    threads,
    flashAttention,
  });
  const sequences = prompts.map(() => context.getSequence());
  const grammar = schema && (await llama.createGrammarForJsonSchema(schema));
  const start = performance.now();
  const times = await Promise.all(
    sequences.map(async (sequence, i) => {
      const own = [];
      const ids = [];
      const how = {
        ...(seed === undefined ? { temperature: 0 } : { temperature: 1, seed: seed + i }),
        ...(grammar && {
          grammarEvaluationState: new LlamaGrammarEvaluationState({ model, grammar }),
        }),
        yieldEogToken: true,
      };
      for await (const id of sequence.evaluate(prompts[i], how)) {
        own.push(performance.now() - start);
        ids.push(id);
        if (own.length >= output) break;
      }
      return { own, ids };
    }),
  );
  await context.dispose();
  return { times: times.map((t) => t.own), ids: times.map((t) => t.ids) };
}

process.on('message', async ({ id, what, ...rest }) => {
  try {
    const value = await { load, run }[what](rest);
    const peak = process.resourceUsage().maxRSS * 1024;
    process.send({ id, value: { ...value, peak } });
  } catch (error) {
    process.send({ id, error: error.stack });
  }
});

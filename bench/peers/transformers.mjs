// The worker of the peer: same messages as bench/embed-octavo.ts.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const { resolve: find } = createRequire(resolve('.bench', 'peers', 'embed', 'package.json'));
const { env, pipeline } = await import(pathToFileURL(find('@huggingface/transformers')).href);
env.allowRemoteModels = false;

let extract;

async function load({ model, threads }) {
  env.localModelPath = resolve(model, '..');
  extract = await pipeline('feature-extraction', resolve(model).split('/').at(-1), {
    device: 'cpu',
    dtype: 'fp32',
    session_options: { intraOpNumThreads: threads, interOpNumThreads: 1 },
  });
  return {};
}

/** In batches of `batch` texts, which it pads to the longest. */
async function run({ texts, batch }) {
  const start = performance.now();
  let vector;
  for (let at = 0; at < texts.length; at += batch) {
    const part = texts.slice(at, at + batch);
    const { data, dims } = await extract(part, { pooling: 'mean', normalize: true });
    vector ??= Array.from(data.slice(0, dims[1]));
  }
  return { ms: performance.now() - start, vector };
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

/**
 * A model in a thread of its own: node examples/worker.mjs [model]
 *
 * Matrices are multiplied on native threads anyway. What moves here is the JavaScript beside them
 * (scheduling, sampling parameters, text), so that neither holds up the other where the main
 * thread computes for long.
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { LLM } from 'octavo';

/** The thread: takes {id, prompt, params} or {id, abort}, posts {id, delta}, {id, end | error}. */
async function work() {
  const llm = await LLM.load({ model: workerData.model });
  const running = new Map();
  parentPort.on('message', async ({ id, prompt, params, abort, close }) => {
    if (abort) return running.get(id)?.abort();
    if (close) {
      await llm.close();
      return parentPort.close();
    }
    const controller = new AbortController();
    running.set(id, controller);
    try {
      const { signal } = controller;
      for await (const { outputs } of llm.streamDeltas(prompt, params, { signal })) {
        for (const { newText } of outputs) parentPort.postMessage({ id, delta: newText });
      }
      parentPort.postMessage({ id, end: true });
    } catch ({ code, message }) {
      parentPort.postMessage({ id, error: { code, message } });
    } finally {
      running.delete(id);
    }
  });
  parentPort.postMessage({ ready: true });
}

/** The other side of it. */
class ModelThread {
  #worker;
  #calls = new Map();

  /** @param options what LLM.load() takes */
  static async start(options) {
    const thread = new ModelThread();
    thread.#worker = new Worker(new URL(import.meta.url), { workerData: options });
    await once(thread.#worker, 'message'); // rejects with the error of a load that fails
    thread.#worker.on('message', ({ id, ...news }) => thread.#calls.get(id)?.(news));
    return thread;
  }

  /** The whole text; `onDelta` is given it piece by piece. */
  generate(prompt, params, { onDelta = () => {}, signal } = {}) {
    const id = crypto.randomUUID();
    const abort = () => this.#worker.postMessage({ id, abort: true });
    return new Promise((resolve, reject) => {
      let text = '';
      this.#calls.set(id, ({ delta = '', end, error }) => {
        text += delta;
        if (delta) onDelta(delta);
        if (!end && !error) return;
        this.#calls.delete(id);
        signal?.removeEventListener('abort', abort);
        if (error) reject(Object.assign(new Error(error.message), { code: error.code }));
        else resolve(text);
      });
      this.#worker.postMessage({ id, prompt, params });
      if (signal?.aborted) abort();
      else signal?.addEventListener('abort', abort);
    });
  }

  async close() {
    this.#worker.postMessage({ close: true });
    await once(this.#worker, 'exit');
  }
}

async function main(model) {
  const thread = await ModelThread.start({ model });
  const params = { maxTokens: 32, temperature: 0 };

  // Calls of one thread are batched as those of any other.
  const asked = ['The sea', 'My fellow citizens'].map((prompt) => thread.generate(prompt, params));
  for (const text of await Promise.all(asked)) console.log(JSON.stringify(text));

  const controller = new AbortController();
  const onDelta = () => controller.abort();
  await thread
    .generate(
      'The whale',
      { maxTokens: 900, ignoreEos: true },
      { onDelta, signal: controller.signal },
    )
    .catch(({ code }) => console.log(`stopped: ${code}`));
  await thread.close();
}

if (isMainThread) await main(process.argv[2]);
else await work();

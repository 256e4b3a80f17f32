/**
 * In Express: a route of one's own that streams text, and OpenAI's API under /llm:
 * PORT=3000 node examples/express.mjs [model]
 *
 *   curl localhost:3000/complete -H 'content-type: application/json' -d '{"prompt": "The sea"}'
 *   curl localhost:3000/llm/v1/models
 */
import { once } from 'node:events';
import express from 'express';
import { isOctavoError, LLM } from 'octavo';
import { createServer } from 'octavo/server';

const llm = await LLM.load({ model: process.argv[2] });
const api = createServer(llm);
const app = express();

/** Answers on their way. */
const answers = new Set();
app.use((_req, res, next) => {
  answers.add(res);
  res.once('close', () => answers.delete(res));
  next();
});

// It reads bodies itself, so it stands before express.json().
app.use('/llm', api);

app.post('/complete', express.json(), async (req, res) => {
  // Text alone: stream() would take messages with a template of the client's, too.
  const prompt = req.body?.prompt;
  if (typeof prompt !== 'string') {
    return res.status(400).json({ code: 'ERR_INVALID_PROMPT', message: 'prompt must be text' });
  }
  // Who leaves frees his KV before the next step.
  const left = new AbortController();
  res.on('close', () => left.abort());
  const params = { maxTokens: 64, temperature: 0 };
  try {
    for await (const { outputs } of llm.stream(prompt, params, { signal: left.signal })) {
      if (!res.headersSent) res.type('text/plain');
      if (!res.write(outputs[0].delta)) await once(res, 'drain', { signal: left.signal });
    }
    res.end();
  } catch (error) {
    if (left.signal.aborted) return;
    if (res.headersSent) res.destroy(error);
    else if (isOctavoError(error)) {
      res.status(error.status).json({ code: error.code, message: error.message });
    } else throw error;
  }
});

const http = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`listening at http://127.0.0.1:${http.address().port}`);
});

/** What runs may end, and be read; then connections are closed and the memory is given back. */
process.once('SIGTERM', async () => {
  http.close();
  await llm.drain({ timeoutMs: 10_000 });
  const signal = AbortSignal.timeout(5_000);
  await Promise.allSettled([...answers].map((answer) => once(answer, 'close', { signal })));
  http.closeAllConnections();
  api.close();
  await llm.close();
});

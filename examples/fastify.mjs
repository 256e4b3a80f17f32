/**
 * In Fastify: a route of one's own that streams text, and OpenAI's API under /llm:
 * PORT=3000 node examples/fastify.mjs [model]
 *
 *   curl localhost:3000/complete -H 'content-type: application/json' -d '{"prompt": "The sea"}'
 *   curl localhost:3000/llm/v1/models
 */
import { once } from 'node:events';
import { Readable } from 'node:stream';
import fastify from 'fastify';
import { LLM } from 'octavo';
import { createServer } from 'octavo/server';

const llm = await LLM.load({ model: process.argv[2] });
const app = fastify({
  forceCloseConnections: true,
  ajv: { customOptions: { coerceTypes: false } }, // a number is no text
});

/** Answers on their way. */
const answers = new Set();
app.addHook('onRequest', async (_request, { raw }) => {
  answers.add(raw);
  raw.once('close', () => answers.delete(raw));
});

// It reads bodies itself: in a scope of its own Fastify leaves them alone.
const api = createServer(llm, { rootPath: '/llm' });
app.register(async (scope) => {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
  scope.all('/llm/*', (request, reply) => {
    reply.hijack();
    void api(request.raw, reply.raw);
  });
});

const body = {
  type: 'object',
  required: ['prompt'],
  properties: { prompt: { type: 'string', minLength: 1 } },
};

app.post('/complete', { schema: { body } }, async (request, reply) => {
  // Who leaves, perhaps before he read anything, frees his KV before the next step.
  const left = new AbortController();
  reply.raw.once('close', () => left.abort());
  const params = { maxTokens: 64, temperature: 0 };
  const outputs = llm.stream(request.body.prompt, params, { signal: left.signal });
  // Before a byte is sent: an error of ours has the `status` that Fastify answers with.
  const first = await outputs.next();
  reply.type('text/plain; charset=utf-8');
  return reply.send(Readable.from(texts(first, outputs)));
});

async function* texts(first, outputs) {
  if (!first.done) yield first.value.outputs[0].delta;
  for await (const { outputs: samples } of outputs) yield samples[0].delta;
}

// Between these two connections are closed: before it, what runs may end and be read.
app.addHook('preClose', async () => {
  await llm.drain({ timeoutMs: 10_000 });
  const signal = AbortSignal.timeout(5_000);
  await Promise.allSettled([...answers].map((answer) => once(answer, 'close', { signal })));
});
app.addHook('onClose', async () => {
  api.close();
  await llm.close();
});
process.once('SIGTERM', () => app.close());

const url = await app.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' });
console.log(`listening at ${url}`);

/**
 * curl localhost:3000/api/complete -H 'content-type: application/json' -d '{"prompt": "The sea"}'
 */
import { isOctavoError } from 'octavo';
import { model } from '../../../lib/model.js';

// Not on the edge, and not at build time.
export const runtime = 'nodejs';
export const dynamic = 'force-dynamic';

export async function POST(request) {
  const body = await request.json().catch(() => null);
  const prompt = body?.prompt;
  // Text alone: stream() would take messages with a template of the client's, too.
  if (typeof prompt !== 'string') {
    return refusal(400, { code: 'ERR_INVALID_PROMPT', message: 'prompt must be text, in JSON' });
  }

  let llm;
  try {
    llm = await model();
  } catch (error) {
    // It names files and what is wrong with them: for the log, not for the client.
    console.error(error);
    return refusal(503, { code: 'ERR_INTERNAL', message: 'the model could not be loaded' });
  }
  try {
    const params = { maxTokens: 64, temperature: 0 };
    const outputs = llm.stream(prompt, params, { signal: request.signal });
    // Before a byte is sent: what is refused has a status.
    const first = await outputs.next();
    const headers = { 'content-type': 'text/plain; charset=utf-8' };
    return new Response(bodyOf(first, outputs), { headers });
  } catch (error) {
    if (!isOctavoError(error)) throw error;
    return refusal(error.status, error);
  }
}

function refusal(status, { code, message }) {
  return Response.json({ code, message }, { status });
}

/** A reader that is gone, perhaps before he read anything, aborts the request. */
function bodyOf(next, outputs) {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      if (next.done) return controller.close();
      controller.enqueue(encoder.encode(next.value.outputs[0].delta));
      next = await outputs.next();
    },
    async cancel() {
      await outputs.return();
    },
  });
}

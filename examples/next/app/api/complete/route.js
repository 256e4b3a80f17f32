/**
 * curl localhost:3000/api/complete -H 'content-type: application/json' -d '{"prompt": "The sea"}'
 */
import { isOctavoError } from 'octavo';
import { model } from '../../../lib/model.js';

// Not on the edge, and not at build time.
export const runtime = 'nodejs';
export const dynamic = 'force-dynamic';

export async function POST(request) {
  try {
    const { prompt } = await request.json();
    const llm = await model();
    const params = { maxTokens: 64, temperature: 0 };
    const outputs = llm.stream(prompt, params, { signal: request.signal });
    // Before a byte is sent: what is refused has a status.
    const first = await outputs.next();
    const headers = { 'content-type': 'text/plain; charset=utf-8' };
    return new Response(bodyOf(first, outputs), { headers });
  } catch (error) {
    if (error instanceof SyntaxError) return new Response('no JSON', { status: 400 });
    if (!isOctavoError(error)) throw error;
    return Response.json({ code: error.code, message: error.message }, { status: error.status });
  }
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

/**
 * A conversation, and what of each turn the prefix cache had: node examples/session.mjs [model]
 *
 * There is no session to open or close: a prompt that begins as an earlier one did finds its KV.
 */
import { LLM } from 'octavo';

const llm = await LLM.load({ model: process.argv[2] });
const SYSTEM = {
  role: 'system',
  content:
    'You are the mate of a whaler out of Nantucket in the year 1840, and answer every question ' +
    'that you are asked in plain words and at once, as one does at sea.',
};
const messages = [SYSTEM];

function tell(what, { metrics }) {
  const { numPromptTokens, numCachedTokens, timeToFirstTokenMs } = metrics;
  const ms = timeToFirstTokenMs.toFixed(0);
  console.log(`${what}: ${numCachedTokens} of ${numPromptTokens} tokens cached, TTFT ${ms} ms`);
}

for (const question of ['Where are we?', 'What is that on the lee bow?', 'Shall we lower?']) {
  messages.push({ role: 'user', content: question });
  const output = await llm.chat(messages, { maxTokens: 48, temperature: 0 });
  const [{ content }] = output.outputs;
  messages.push({ role: 'assistant', content });
  tell(question, output);
}

// Who must not learn by the clock what others asked has a salt of his own: nothing is shared.
const other = await llm.chat(messages.slice(0, 2), { maxTokens: 1, cacheSalt: 'another tenant' });
tell('with a salt', other);

await llm.close();

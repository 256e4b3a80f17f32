/**
 * Data instead of prose, by a zod schema: node examples/structured.mjs [model] [text]
 *
 * The demo model knows nobody: what it writes is nonsense, and valid by the schema all the same.
 */
import { LLM } from 'octavo';
import { z } from 'zod';

const [model, text = 'Queequeg, a harpooneer of about thirty, came aboard at Nantucket.'] =
  process.argv.slice(2);

const Person = z.object({
  name: z.string().min(1).max(40),
  age: z.int().min(0).max(120),
  trade: z.enum(['harpooneer', 'captain', 'cook', 'carpenter']),
});

const llm = await LLM.load({ model });
const messages = [
  { role: 'system', content: 'Answer with the person that the text is about, as JSON.' },
  { role: 'user', content: text },
];

// Room enough: an output that is cut has no `json`.
const { outputs } = await llm.chat(messages, {
  maxTokens: 200,
  temperature: 0,
  structuredOutputs: { json: Person },
});
const [{ json, finishReason }] = outputs;
if (json === undefined) throw new Error(`no whole answer: it ended with ${finishReason}`);
console.log(JSON.stringify(json));

await llm.close();

/**
 * Answers a question from the passages that are nearest to it:
 * node examples/rag.mjs [question] [--model M] [--embedder E] [--file passages.txt]
 *
 * The embedder is downloaded at the first call (90 MB): `npx octavo pull` does it beforehand. The
 * passages of a file stand between empty lines. The demo model answers in its own manner.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { LLM } from 'octavo';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string' },
    embedder: { type: 'string', default: 'sentence-transformers/all-MiniLM-L6-v2' },
    file: { type: 'string' },
  },
});
const question = positionals[0] ?? 'How is a sheet folded for an octavo?';

const passages = values.file
  ? (await readFile(values.file, 'utf8'))
      .split(/\n\s*\n/)
      .map((passage) => passage.trim())
      .filter(Boolean)
  : [
      'A folio is a sheet that is folded once: two leaves, four pages.',
      'A quarto is a sheet that is folded twice: four leaves, eight pages.',
      'An octavo is a sheet that is folded three times: eight leaves, sixteen pages.',
      'Vellum is the skin of a calf, prepared to be written on.',
      'A colophon at the end of a book tells who printed it, where and when.',
    ];

// Two models in one process. On a machine with little memory say how much KV the second may have.
const embedder = await LLM.load({ model: values.embedder, runner: 'pooling' });
const llm = await LLM.load({ model: values.model, kvCacheMemoryBytes: 256 * 2 ** 20 });

// Vectors have the length 1 where the model's files say so; `normalize` says it for all.
const vectors = await embedder.embed(passages, { normalize: true, truncate: true });
const asked = await embedder.embed(question, { normalize: true, truncate: true });

const found = passages
  .map((passage, i) => ({ passage, score: cosine(asked.embedding, vectors[i].embedding) }))
  .sort((a, b) => b.score - a.score)
  .slice(0, 2);
for (const { passage, score } of found) console.log(`${score.toFixed(3)} ${passage}`);

const context = found.map(({ passage }) => passage).join('\n');
const messages = [
  { role: 'system', content: `Answer from these passages alone.\n\n${context}` },
  { role: 'user', content: question },
];
const { outputs } = await llm.chat(messages, { maxTokens: 100, temperature: 0 });
console.log(outputs[0].content.trim());

await Promise.all([embedder.close(), llm.close()]);

/** Of vectors whose length is 1. */
function cosine(a, b) {
  return a.reduce((sum, x, i) => sum + x * b[i], 0);
}

/** Formats of published models: what their own templates write of calls is read again. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ALL } from '../support/all.js';
import { random } from '../support/random.js';
import { randomTools } from '../support/random-tools.js';
import { accepts } from '../support/reference-matcher.js';
import { SEED } from '../support/seed.js';
import { type Package, templateOf } from '../support/template-packages.js';
import { readJson } from '../text/support.js';
import { grammarOf, parse, piecesOf, subject, writtenBy } from './support.js';

const PACKAGES = fileURLToPath(
  new URL('../../../shared/goldens/chat-templates/packages.json', import.meta.url),
);
const shared = ALL && existsSync(PACKAGES);
if (ALL && !shared) console.log(`skipped, published templates: there is no ${PACKAGES}`);

const ROUNDS = 40;
const GRAMMARS = 4;

const anyOf = (...patterns: RegExp[]) => new RegExp(patterns.map((p) => p.source).join('|'));
/** Templates that know no tools, or write calls in a way that is not understood. */
const NONE = anyOf(
  /gemini|gemma3|lenml\/tokenizer-llama3|SmolLM3|LFM2.5-Instruct|MiniMax-M3|gemma-2/,
  /rwkv|functionary-medium-v3.2|Phi-3.5/,
);
/** Understood by signs: the template renders no calls, or not these messages. */
const SILENT = anyOf(
  /lenml\/tokenizer-deepseek_v3|command-r-plus|Kimi-K2-(Instruct|Thinking)|LFM2-8B/,
  /Distill-Llama|firefunction|granite-3.3|llama-cpp-deepseek-r1/,
);
/** Values that they write as Python does, or in CDATA. */
const PLAIN = /Seed-OSS|MiniCPM/;
/** What they write behind calls is not the model's, or values are Python's where a model's are JSON. */
const OTHERWISE = /Distill-Qwen|gemma-4-31B-it.jinja|LFM2.5-8B/;

describe.skipIf(!shared)('published templates', () => {
  if (!shared) return;
  it.each(readJson<Package[]>(PACKAGES))(
    '$package $file',
    (found) => {
      const source = templateOf(found);
      if (source === undefined) return;
      const name = `${found.package}/${found.file}`;
      const own = subject(source);
      const { calls } = own.spelled;
      expect({ name, understood: calls !== null }).toEqual({ name, understood: !NONE.test(name) });
      if (calls === null || SILENT.test(name)) return;
      const draws = random(SEED);
      const style = calls.arguments.kind;
      const scalar = PLAIN.test(name);
      const fits = (text: string) => {
        if (style === 'python' && /['\\\n]/.test(text)) return false;
        if (style === 'quoted' && text.includes('<|"|>')) return false;
        if (/MiniCPM/.test(name) && /[<>&\n]/.test(text)) return false;
        return style !== 'tagged' || (text !== '' && text === text.trim());
      };
      for (let i = 0; i < ROUNDS; i++) {
        const limits = { allows: fits, others: !scalar, nested: !scalar };
        const { tools, args } = randomTools(draws.uniform, limits);
        const count = calls.parallel ? 1 + draws.integer(3) : 1;
        const made = Array.from({ length: count }, () => {
          const { name } = tools[draws.integer(tools.length)].function;
          return { name, args: args(name) };
        });
        const { text, beginning } = writtenBy(own, tools, { content: '', calls: made });
        const answer = parse(own, tools, text, beginning, () => 1 + draws.integer(6));
        const read = answer.calls.map((call) => ({ name: call.name, args: JSON.parse(call.text) }));
        expect({ text, read }).toEqual({ text, read: made });
        if (i >= GRAMMARS || OTHERWISE.test(name)) continue;
        const pieces = piecesOf(text, own.marks);
        const takes = (toolChoice: 'auto' | 'none') =>
          accepts(grammarOf(own, { tools, toolChoice }, beginning), pieces);
        expect({ text, auto: takes('auto'), none: takes('none') }).toEqual({
          ...{ text, auto: true, none: false },
        });
      }
    },
    600_000,
  );
});

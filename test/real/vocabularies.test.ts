/**
 * Drawn at temperature 2 by random logits over the vocabularies of known models: whatever comes, it
 * is what was asked for.
 */
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUNDLED_MODEL } from '../../lib/config/options.js';
import { openTokenizer } from '../../lib/engine/load.js';
import type { Grammar } from '../../lib/grammar/grammar.js';
import type { Tokenizer } from '../../lib/text/tokenizer.js';
import type { TokenSource } from '../../lib/tools/marks.js';
import type { ToolChoice, ToolDefinition } from '../../lib/tools/types.js';
import { sample } from '../support/all.js';
import { boundedObject, boundedSchema } from '../support/bounded-schemas.js';
import { type Random, random } from '../support/random.js';
import { grammarOf } from '../support/schemas.js';
import { SEED } from '../support/seed.js';
import { FAMILIES } from '../support/tool-families.js';
import { KNOWN, type Walked, Walks, walksOf } from '../support/vocabulary-walks.js';
import { grammarOf as answerGrammarOf, parse, type Subject, subject } from '../tools/support.js';

const ajv = new Ajv2020({ strict: false, multipleOfPrecision: 9, validateFormats: true });
addFormats.default(ajv);

const VOCABULARIES: readonly { name: string; open: () => Promise<Walks> }[] = [
  {
    name: 'demo',
    open: async () => {
      const tokenizer = await openTokenizer(BUNDLED_MODEL);
      return Walks.of(tokenizer, tokenizer.vocabSize, [tokenizer.eosTokenId!]);
    },
  },
  ...KNOWN.map((one) => ({ name: one.name, open: () => walksOf(one) })),
];

const wrong = (text: string, schema: object, errors: typeof ajv.errors) =>
  `${text} by ${JSON.stringify(schema)}: ${ajv.errorsText(errors)}`;

/** Null: refused by name. */
function builtOf<T>(build: () => T): T | null {
  try {
    return build();
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_GRAMMAR') return null;
    throw error;
  }
}

/**
 * What tokens spell, control tokens of the format as their marks.
 * @param free broken characters may be in it, as models may write them where nothing is asked for
 */
function textOf(
  walks: Walks,
  ids: readonly number[],
  markOf: (id: number) => string | undefined,
  free = false,
) {
  const decoder = new TextDecoder('utf-8', { fatal: !free });
  let text = '';
  for (const id of ids) {
    const mark = markOf(id);
    if (mark === undefined) text += decoder.decode(walks.bytesOf(id), { stream: true });
    else text += decoder.decode() + mark;
  }
  return text + decoder.decode();
}

async function walked(walks: Walks, grammar: Grammar, draws: Random, count: number) {
  const compiled = await walks.compile(grammar);
  const all: Walked[] = [];
  for (let i = 0; i < count; i++) all.push(await walks.walk(compiled, draws));
  compiled.close();
  return all.filter(({ complete }) => complete).map(({ ids }) => ids);
}

describe.each(VOCABULARIES)('over the vocabulary of $name', ({ name, open }) => {
  let walks: Walks;
  beforeAll(async () => {
    walks = await open();
  });
  afterAll(() => walks.close());
  const draws = random(SEED * 31 + name.length);

  it('JSON is valid by its schema', async () => {
    let drawn = 0;
    let refused = 0;
    const rounds = sample(40, 150);
    for (let round = 0; round < rounds; round++) {
      const schema = boundedSchema(draws, 2);
      const grammar = builtOf(() => grammarOf(schema));
      if (grammar === null) {
        refused++;
        continue;
      }
      const validate = ajv.compile(schema);
      for (const ids of await walked(walks, grammar, draws, 3)) {
        const text = textOf(walks, ids, () => undefined);
        const why = validate(JSON.parse(text)) ? '' : wrong(text, schema, validate.errors);
        expect(why).toBe('');
        drawn++;
      }
    }
    expect(refused).toBeLessThan(rounds / 10);
    expect(drawn).toBeGreaterThan(2.4 * (rounds - refused));
  });

  it.each(Object.keys(FAMILIES))(
    'calls written as %s are valid by their schemas',
    async (family) => {
      const own = subject(FAMILIES[family].source, {}, tokensOf(walks.tokenizer));
      let [drawn, refused] = [0, 0];
      const rounds = sample(3, 12);
      for (let round = 0; round < rounds; round++) {
        const tools = someTools(draws);
        const names = tools.map((tool) => tool.function.name);
        const [first] = names;
        const choices: ToolChoice[] = ['required', { name: first }, 'auto'];
        const toolChoice = choices[draws.integer(3)];
        const parallelToolCalls = draws.integer(2) === 0;
        const wish = { tools, toolChoice, parallelToolCalls };
        const beginning = own.marked.reasoning === null ? 'start' : 'reasoned';
        const grammar = builtOf(() => answerGrammarOf(own, wish, beginning));
        if (grammar === null) {
          refused++;
          continue;
        }
        for (const ids of await walked(walks, grammar, draws, 2)) {
          drawn++;
          const text = textOf(walks, ids, (id) => own.marks.ofId(id), toolChoice === 'auto');
          const cut = () => 1 + draws.integer(4);
          const { calls } = parse(own, tools, text, beginning, cut, toolChoice !== 'auto');
          const told = { text: spelled(own, text), wish };
          const count = typeof toolChoice === 'object' || !parallelToolCalls ? 1 : 16;
          expect({ ...told, few: calls.length <= count }).toEqual({ ...told, few: true });
          if (toolChoice !== 'auto') {
            expect({ ...told, none: calls.length === 0 }).toEqual({ ...told, none: false });
          }
          for (const call of calls) {
            const at = names.indexOf(call.name);
            expect({ ...told, call, known: at >= 0 }).toEqual({ ...told, call, known: true });
            const schema = tools[at].function.parameters as object;
            const valid = ajv.validate(schema, JSON.parse(call.text));
            const why = valid ? '' : wrong(`${told.text} → ${call.text}`, schema, ajv.errors);
            expect(why).toBe('');
          }
        }
      }
      expect(refused).toBeLessThan(rounds);
      expect(drawn).toBeGreaterThan(0);
    },
  );
});

/** Control tokens of a vocabulary alone. */
function tokensOf(tokenizer: Tokenizer): TokenSource {
  return {
    tokenToId: (token) => tokenizer.tokenToId(token),
    isSpecial: (id) => tokenizer.isSpecial(id),
  };
}

function someTools(draws: Random): ToolDefinition[] {
  return ['get', 'send_mail'].slice(0, 1 + draws.integer(2)).map((name) => ({
    type: 'function',
    function: {
      ...{ name, description: 'Does it.', strict: true },
      parameters: boundedObject(draws, 2, { plain: true }),
    },
  }));
}

const spelled = ({ marks }: Subject, text: string) =>
  Array.from(text, (char) => (/[\udc00-\udfff]/u.test(char) ? marks.spell(char) : char)).join('');

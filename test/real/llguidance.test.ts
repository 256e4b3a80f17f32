/**
 * Masks beside llguidance's, bit for bit over the vocabularies of Llama 3 and Qwen 3, along texts drawn at random.
 * Where they differ on purpose, ours is what the standards say; it is named here.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type KnownVocabulary, tokenizerFile } from '../../bench/support/vocabularies.js';
import type { NativeGrammar } from '../../lib/native.js';
import { ROOT } from '../support/addon.js';
import { sample } from '../support/all.js';
import { type Python, pythonWith } from '../support/python.js';
import { type Random, random } from '../support/random.js';
import { grammarOf } from '../support/schemas.js';
import { SEED } from '../support/seed.js';
import { KNOWN, type Walks, walksOf } from '../support/vocabulary-walks.js';
import { temporaryFolder } from '../support/write-model.js';

const python = pythonWith('llguidance', '1.9.1');
const SCRIPT = join(import.meta.dirname, '..', 'reference', 'llguidance_masks.py');

const name = { type: 'string', maxLength: 12 };
const closed = (properties: object, required: string[] = Object.keys(properties)) => ({
  ...{ type: 'object', properties, required },
  additionalProperties: false,
});

/** Without dates: llguidance takes 29 February of any year; see `isOwn` for the rest. */
const SCHEMAS: readonly object[] = [
  { type: 'string' },
  name,
  { type: 'string', minLength: 3, maxLength: 5 },
  { type: 'string', pattern: '^[a-c]{2,5}-[0-9]+$' },
  { type: 'string', pattern: '^(Mr|Mrs)\\. [A-Z][a-z]{1,9}$' },
  { type: 'string', format: 'uuid' },
  { type: 'string', format: 'ipv4' },
  { type: 'integer' },
  { type: 'integer', minimum: 1, maximum: 1234 },
  { type: 'integer', minimum: -30, maximum: -4 },
  { type: 'integer', exclusiveMinimum: 10, multipleOf: 5, maximum: 200 },
  { type: 'number' },
  { type: 'number', minimum: 1.5, maximum: 99.25 },
  { type: 'number', exclusiveMinimum: -7, exclusiveMaximum: -0.5 },
  { type: ['boolean', 'null'] },
  { enum: ['red', 'green', 5, null, { a: [true] }, 'gre\n"y\\'] },
  { const: 'naïve 日本' },
  { type: 'array', items: { type: 'integer', minimum: 1, maximum: 99 }, maxItems: 4 },
  { type: 'array', items: name, minItems: 2, maxItems: 3 },
  { type: 'array', prefixItems: [{ type: 'boolean' }, name], items: false, minItems: 2 },
  closed({ name, age: { type: 'integer', minimum: 1 }, ok: { type: 'boolean' } }),
  closed({ name, tags: { type: 'array', items: name, maxItems: 2 }, last: { const: 1 } }, ['last']),
  closed({ a: closed({ b: closed({ c: { enum: ['x', 'y'] } }) }) }),
  { anyOf: [name, { type: 'integer', minimum: 1 }, closed({ kind: { const: 'a' } })] },
  {
    $ref: '#/$defs/tree',
    $defs: {
      tree: closed({ value: { enum: [1, 2] }, next: { $ref: '#/$defs/list' } }, ['value']),
      list: { type: 'array', items: { $ref: '#/$defs/tree' }, maxItems: 2 },
    },
  },
  { allOf: [{ type: 'string', minLength: 2 }, { pattern: '^[a-z]+$' }] },
];

/**
 * What JSON allows in strings, and llguidance leaves out, as nothing needs it: U+007F, a slash
 * with a backslash, characters as \u… that have a short form. A token that ends within an escape
 * is one of those as well.
 */
const isOwn = (spelling: string) => /\x7f|\\\/|\\u|\\$/.test(spelling);

/**
 * Within an escape that it does not know; where the digits of a number end, which ours has no more
 * of than a double can tell apart, and its exponent.
 */
const isOwnPlace = (text: string) => /\\(u\w{0,3})?$|\d[.\d]{11,}$|\d[eE][+-]?\d*$/.test(text);

const MASKBENCH = join(ROOT, '..', 'shared', 'jsonschema', 'maskbench.tar.xz');

function someOfMaskBench(draws: Random, count: number): object[] {
  const folder = temporaryFolder();
  execFileSync('tar', ['xf', MASKBENCH, '-C', folder]);
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  files.sort();
  const found: object[] = [];
  while (found.length < count) {
    const [file] = files.splice(draws.integer(files.length), 1);
    const { schema } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { schema: object };
    if (!isAlike(schema)) continue;
    try {
      grammarOf(schema, { disableAnyWhitespace: true });
    } catch (error) {
      if ((error as { code?: string }).code === 'ERR_GRAMMAR') continue;
      throw error;
    }
    found.push(schema);
  }
  return found;
}

const COMBINING = ['allOf', 'anyOf', 'oneOf', 'if', '$ref', 'dependentSchemas'];

/**
 * Times differ as dates do: it takes a leap second in any minute. Members that a schema names both
 * by itself and through others come in another order.
 */
function isAlike(schema: unknown): boolean {
  if (schema === null || typeof schema !== 'object') return true;
  const { format } = schema as { format?: unknown };
  if (typeof format === 'string' && /^(date|time|date-time)$/.test(format)) return false;
  const combines = COMBINING.some((name) => Object.hasOwn(schema, name));
  if (combines && Object.hasOwn(schema, 'properties')) return false;
  return Object.values(schema).every(isAlike);
}

/** Added tokens that are no control tokens, <tool_call> say, spell text; there they spell none. */
function addedTexts(known: KnownVocabulary): ReadonlySet<number> {
  const { added_tokens } = JSON.parse(readFileSync(tokenizerFile(known), 'utf8')) as {
    added_tokens: { id: number; special: boolean }[];
  };
  return new Set(added_tokens.filter(({ special }) => !special).map(({ id }) => id));
}

interface Case {
  readonly schema: object;
  readonly ids: readonly number[];
}

/** Undefined: it refuses the schema. */
function theirs(
  { path }: Python,
  known: KnownVocabulary,
  cases: readonly Case[],
  walks: Walks,
): (Buffer[] | undefined)[] {
  const { vocabSize, eosToken } = known;
  const end = walks.tokenizer.tokenToId(eosToken);
  const input = cases.map(({ schema, ids }) =>
    JSON.stringify({ ids, schema: JSON.stringify(schema) }),
  );
  const { status, stdout, stderr } = spawnSync(
    path,
    [SCRIPT, tokenizerFile(known), `${vocabSize}`, `${end}`],
    { input: input.join('\n'), maxBuffer: 2 ** 30 },
  );
  expect(status, `${stderr}`).toBe(0);
  const size = 4 * Math.ceil(vocabSize / 32);
  let at = 0;
  return cases.map(() => {
    const lineEnd = stdout.indexOf('\n', at);
    const { masks } = JSON.parse(stdout.toString('utf8', at, lineEnd)) as { masks?: number };
    at = lineEnd + 1;
    if (masks === undefined) return undefined;
    const from = at;
    at += masks * size;
    return Array.from({ length: masks }, (_, i) =>
      stdout.subarray(from + i * size, from + (i + 1) * size),
    );
  });
}

const isSet = (mask: Buffer, id: number) => ((mask[id >> 3] >> (id & 7)) & 1) === 1;

/** Places where masks are the same; where they are not, and how; cases that it refuses. */
async function compare(
  known: KnownVocabulary,
  schemas: readonly object[],
  draws: Random,
  count: number,
) {
  const walks = await walksOf(known);
  const cases: (Case & { compiled: NativeGrammar })[] = [];
  for (const schema of schemas) {
    const compiled = await walks.compile(grammarOf(schema, { disableAnyWhitespace: true }));
    for (let i = 0; i < count; i++) {
      const { ids } = await walks.walk(compiled, draws);
      cases.push({ compiled, schema, ids: ids.slice(0, 60) });
    }
  }
  const added = addedTexts(known);
  let [same, refused] = [0, 0];
  const others: string[] = [];
  for (const [i, masks] of theirs(python!, known, cases, walks).entries()) {
    const { compiled, schema, ids } = cases[i];
    if (masks === undefined) {
      refused++;
      continue;
    }
    const own = await walks.masksAlong(compiled, ids.slice(0, masks.length - 1));
    let text = '';
    for (const [place, mask] of masks.entries()) {
      const differ = differing(own[place], mask, added, known, walks);
      if (differ.length === 0 || isOwnPlace(text)) same++;
      else others.push(`${JSON.stringify(schema)} behind ${text}: ${differ.slice(0, 5)}`);
      if (place < ids.length) text += walks.spelling(ids[place]);
    }
  }
  walks.close();
  return { others, same, refused, numCases: cases.length };
}

// Without one the file would have no test, which is a fault.
if (KNOWN.length === 0) it.skip('there is no known vocabulary', () => {});

describe.runIf(python !== undefined).each(KNOWN)('over the vocabulary of $name', (known) => {
  it('masks are those of llguidance', async () => {
    const { others, same, refused, numCases } = await compare(known, SCHEMAS, random(SEED), 3);
    expect(others).toEqual([]);
    expect(refused).toBeLessThan(numCases / 10);
    expect(same).toBeGreaterThan(3 * numCases);
  });

  it.skipIf(!existsSync(MASKBENCH))('and of schemas of MaskBench', async () => {
    const draws = random(SEED + known.vocabSize);
    const schemas = someOfMaskBench(draws, sample(4, 24));
    const { others, same, refused, numCases } = await compare(known, schemas, draws, 2);
    console.log(
      `${schemas.length} schemas: ${same} masks the same, ${refused} of ${numCases} refused`,
    );
    expect(others).toEqual([]);
  });
});

function differing(
  own: Buffer,
  other: Buffer,
  added: ReadonlySet<number>,
  known: KnownVocabulary,
  walks: Walks,
): string[] {
  const found: string[] = [];
  let allowed = 0;
  let onlyTheirs = 0;
  for (let id = 0; id < known.vocabSize; id++) {
    if (isSet(other, id)) allowed++;
    if (isSet(own, id) === isSet(other, id) || isOwn(walks.spelling(id)) || added.has(id)) continue;
    if (isSet(other, id)) onlyTheirs++;
    found.push(`${isSet(own, id) ? '+' : '-'}${JSON.stringify(walks.spelling(id))}`);
  }
  // Where bytes are forced it allows the one token that a tokenizer would make of them.
  return allowed === 1 && onlyTheirs === 0 ? [] : found;
}

/** Schemas whose outputs end soon, and what a structured output must be. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect } from 'vitest';
import type { CompletionOutput, RequestOutput, StructuredOutputs } from '../../lib/index.js';
import { LLM } from '../../lib/index.js';
import type { NativeAddon } from '../../lib/native.js';
import type { Random } from './random.js';

const name = { type: 'string', minLength: 1, maxLength: 6 };
const count = { type: 'integer', minimum: -5, maximum: 120 };

/** Each bounds its outputs: at temperature 2 nothing else would end them. */
export const SCHEMAS: readonly { readonly [name: string]: unknown }[] = [
  { enum: ['red', 'green', 5, null, { a: [true] }] },
  { type: 'array', items: { enum: [1, 22, 333] }, minItems: 2, maxItems: 4 },
  {
    type: 'object',
    properties: { name, count, ok: { type: 'boolean' } },
    required: ['name', 'count', 'ok'],
    additionalProperties: false,
  },
  {
    type: 'object',
    properties: { kind: { const: 'é"\\' }, list: { type: 'array', items: count, maxItems: 3 } },
    required: ['kind'],
    additionalProperties: false,
  },
  {
    anyOf: [
      { type: 'object', properties: { a: name }, required: ['a'], additionalProperties: false },
      { type: 'array', prefixItems: [count, name], items: false, minItems: 2 },
      { type: 'string', pattern: '^[a-c]{2,5}-[0-9]+$', maxLength: 12 },
    ],
  },
];

const ajv = new Ajv2020({ strict: false });

/** JSON that is valid by the schema, to its end. */
export function expectValid(output: CompletionOutput, schema: unknown): void {
  expect(output.finishReason, output.text).toBe('stop');
  const value = JSON.parse(output.text);
  expect(output.json).toEqual(value);
  const valid = ajv.validate(schema as object, value);
  expect(valid, `${output.text} by ${JSON.stringify(schema)}`).toBe(true);
}

/** What must be equal, bit for bit, however it was computed. */
export function essence({ outputs }: RequestOutput) {
  return outputs.map((o) => ({
    text: o.text,
    tokenIds: o.tokenIds,
    logprobs: o.logprobs,
    cumulative: o.cumulativeLogprob,
    score: o.score,
    finish: o.finishReason,
  }));
}

export interface Ask {
  readonly prompt: string;
  readonly structuredOutputs: StructuredOutputs | undefined;
  readonly seed: number;
  readonly n: number;
}

/** Constrained requests of all kinds, and others among them. */
export function someAsks(random: Random, length: number): Ask[] {
  const kinds: readonly (StructuredOutputs | undefined)[] = [
    ...SCHEMAS.map((json) => ({ json: json as object })),
    { regex: '[a-f]{3,9}(, [0-9]{2})?' },
    { choice: ['yes', 'yes, of course', 'no'] },
    { grammar: 'root ::= "(" root? ")" | [a-c] [0-9] [0-9]?' },
    { jsonObject: true, disableAnyWhitespace: true },
    { json: { type: 'array', items: { enum: [1, 22, 333] }, minItems: 30, maxItems: 40 } },
    undefined,
  ];
  const prompts = ['The old lighthouse', 'Once upon a time', 'Answer:', 'A'];
  return Array.from({ length }, () => ({
    prompt: `${prompts[random.integer(prompts.length)]} `.repeat(1 + random.integer(12)),
    structuredOutputs: kinds[random.integer(kinds.length)],
    seed: random.integer(2 ** 31),
    n: random.integer(4) === 0 ? 3 : 1,
  }));
}

export const paramsOf = ({ structuredOutputs, seed, n }: Ask) => ({
  ...(structuredOutputs === undefined ? {} : { structuredOutputs }),
  ...{ seed, n, temperature: 1.5, maxTokens: 120 },
  // With logprobs every token is drawn, without what is forced joins the text at once.
  ...(seed % 2 === 0 ? { logprobs: 2 } : {}),
});

/** An addon whose grammars can be counted, and held up. */
export function watched(addon: NativeAddon) {
  const counts = { vocabularies: 0, compiled: 0 };
  let gate: Promise<void> = Promise.resolve();
  let open = () => {};
  const hold = () => {
    gate = new Promise((resolve) => {
      open = resolve;
    });
  };
  const { Vocabulary, Grammar } = addon;
  const own: NativeAddon = {
    ...addon,
    Executor: addon.Executor,
    Vocabulary: {
      build: (...args) => {
        counts.vocabularies++;
        return Vocabulary.build(...args);
      },
    },
    Grammar: {
      compile: async (...args) => {
        counts.compiled++;
        await gate;
        return Grammar.compile(...args);
      },
    },
  };
  return { addon: own, counts, hold, release: () => open() };
}

export async function withModel<T>(
  options: Parameters<typeof LLM.loadWith>[0],
  use: (llm: LLM) => Promise<T>,
  addon?: NativeAddon,
): Promise<T> {
  const llm = await LLM.loadWith(options, addon);
  try {
    return await use(llm);
  } finally {
    await llm.close();
  }
}

/** The code and sentence of an error, or "no error". */
export const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
  );

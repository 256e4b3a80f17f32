/** Schemas and grammars as callers write them, each with a text that it accepts. */
import type { GrammarSpec } from '../../lib/grammar/index.js';

export interface Workload {
  readonly name: string;
  /** A number that changes nothing but the text of the spec: grammars are kept by it. */
  readonly spec: (salt: number) => GrammarSpec;
  readonly texts: readonly string[];
}

const person = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    age: { type: 'integer' },
    email: { type: 'string', pattern: '^[a-z.]+@[a-z]+\\.[a-z]{2,3}$' },
    address: {
      type: 'object',
      properties: {
        street: { type: 'string' },
        city: { type: 'string' },
        zip: { type: 'string' },
      },
      required: ['street', 'city'],
      additionalProperties: false,
    },
    tags: { type: 'array', items: { type: 'string' } },
    active: { type: 'boolean' },
    score: { type: 'number' },
    role: { enum: ['admin', 'editor', 'reader'] },
    note: { type: ['string', 'null'] },
  },
  required: ['name', 'age', 'email', 'address', 'role'],
  additionalProperties: false,
};

const tree = {
  type: 'object',
  properties: {
    value: { type: 'string' },
    children: { type: 'array', items: { $ref: '#' } },
  },
  required: ['value', 'children'],
  additionalProperties: false,
};

const optional = {
  type: 'object',
  properties: Object.fromEntries(
    Array.from({ length: 60 }, (_, i) => [`field_${i}`, { type: i % 2 ? 'string' : 'integer' }]),
  ),
  additionalProperties: false,
};

const words = Array.from({ length: 500 }, (_, i) => `value-${(i * 7919) % 9973}-of-${i % 31}`);
const choices = {
  type: 'object',
  properties: { id: { enum: words }, text: { type: 'string', maxLength: 200 } },
  required: ['id', 'text'],
  additionalProperties: false,
};

const PERSON = {
  name: 'Ada Lovelace',
  age: 36,
  email: 'ada.l@example.org',
  address: { street: '12 St James’s Square', city: 'London', zip: 'SW1Y 4JH' },
  tags: ['mathematics', 'engines', 'poetry'],
  active: true,
  score: 98.25,
  role: 'admin',
  note: 'First published an algorithm — “Note G” — in 1843; 日本語も\n',
};
const leaf = (value: string) => ({ value, children: [] });
const TREE = {
  value: 'root of it all',
  children: [leaf('left'), { value: 'right', children: [leaf('deep one'), leaf('deep two')] }],
};
const OPTIONAL = { field_0: 12, field_3: 'three', field_17: 'seventeen', field_58: -4 };
const CHOICES = { id: words[321], text: 'A text of no great length, for which there is room.' };

const schema = (json: object) => (salt: number) => ({ json: { ...json, $comment: `${salt}` } });
const written = (value: unknown) => [JSON.stringify(value), JSON.stringify(value, null, 2)];

export const WORKLOADS: readonly Workload[] = [
  { name: 'person', spec: schema(person), texts: written(PERSON) },
  { name: 'tree', spec: schema(tree), texts: written(TREE) },
  { name: '60 optional', spec: schema(optional), texts: written(OPTIONAL) },
  { name: 'enum of 500', spec: schema(choices), texts: written(CHOICES) },
  {
    name: 'open object',
    spec: schema({ type: 'object', properties: { a: { type: 'integer' } } }),
    texts: [JSON.stringify({ a: 1, more: [PERSON, TREE] })],
  },
  {
    name: 'any object',
    spec: (salt) => ({ jsonObject: true, whitespacePattern: ` {0,${1 + (salt % 200)}}` }),
    texts: [JSON.stringify(PERSON), JSON.stringify(TREE)],
  },
  {
    name: 'regex',
    spec: (salt) => ({ regex: `(\\d{4}-\\d{2}-\\d{2} [A-Z]+: .{1,80}\\n){1,${20 + salt}}` }),
    texts: ['2026-11-30 NOTE: the sea was calm\n2026-12-01 WARN: it is not any more\n'],
  },
  {
    name: 'text with calls',
    spec: (salt) => ({
      structuralTag: {
        type: 'structural_tag',
        format: {
          type: 'triggered_tags',
          triggers: ['<function='],
          tags: [
            {
              begin: '<function=find>',
              content: { type: 'json_schema', json_schema: { ...person, $comment: `${salt}` } },
              end: '</function>',
            },
          ],
        },
      },
    }),
    texts: [
      'I do not know her, but there is a list; “Ada” is a rare name: let me look, 1 < 2.\n' +
        `<function=find>${JSON.stringify(PERSON)}</function>\nSo be it.`,
    ],
  },
];

/** What is read out of a text: most of it is names of members, and words that it may be. */
export const RECORD: GrammarSpec = {
  json: {
    type: 'object',
    properties: {
      category: { enum: ['complaint', 'question', 'order', 'cancellation'] },
      sentiment: { enum: ['positive', 'neutral', 'negative'] },
      urgency: { type: 'integer', minimum: 1, maximum: 5 },
      customerNumber: { type: 'string', pattern: '^[A-Z]{2}-[0-9]{6}$' },
      requiresResponse: { type: 'boolean' },
      confidence: { type: 'integer', minimum: 0, maximum: 100 },
    },
    required: [
      ...['category', 'sentiment', 'urgency', 'customerNumber'],
      ...['requiresResponse', 'confidence'],
    ],
    additionalProperties: false,
  },
  disableAnyWhitespace: true,
};

/** Persons without end: what is drawn under it never stops by itself. */
export const PERSONS: GrammarSpec = { json: { type: 'array', items: person, minItems: 1000 } };

import { expect, it } from 'vitest';
import { namesOf, readJson } from '../../lib/grammar/json-text.js';
import { random } from '../support/random.js';
import { compile } from '../support/schemas.js';
import { SEED } from '../support/seed.js';

/** Values with the names of their objects, in their order. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null) return value;
  const members = value as Record<string, unknown>;
  return namesOf(value).map((name) => [name, ordered(members[name])]);
}

it.each([
  [
    '{"b": 1, "10": 2, "2": {"9": [], "a": [{"1": 0, "0": 1}]}}',
    [
      ['b', 1],
      ['10', 2],
      [
        '2',
        [
          ['9', []],
          [
            'a',
            [
              [
                ['1', 0],
                ['0', 1],
              ],
            ],
          ],
        ],
      ],
    ],
  ],
  [
    '{"\\u0039": 1, "8": 2}',
    [
      ['9', 1],
      ['8', 2],
    ],
  ],
  [
    '{"a": "\\"7\\": {", "5": "}", "3": null}',
    [
      ['a', '"7": {'],
      ['5', '}'],
      ['3', null],
    ],
  ],
  // The last of the same name counts, at the place of the first.
  [
    '{"5": {"9": 1, "8": 2}, "4": 1, "5": {"x": 1, "7": 2}}',
    [
      [
        '5',
        [
          ['x', 1],
          ['7', 2],
        ],
      ],
      ['4', 1],
    ],
  ],
  [
    '{"5": [1], "4": 1, "5": {"x": 1, "7": 2}}',
    [
      [
        '5',
        [
          ['x', 1],
          ['7', 2],
        ],
      ],
      ['4', 1],
    ],
  ],
  [
    '{"__proto__": {"2": 1, "1": 2}}',
    [
      [
        '__proto__',
        [
          ['2', 1],
          ['1', 2],
        ],
      ],
    ],
  ],
  ['["1", 2]', ['1', 2]],
  ['7', 7],
  ['"1"', '1'],
])('%s has its members in the order of the text', (text, expected) => {
  expect(ordered(readJson(text))).toEqual(expected);
  expect(readJson(text)).toEqual(JSON.parse(text));
});

it('random texts keep their order', () => {
  const rng = random(SEED);
  const names = ['a', '1', '20', '3', 'b c', '', '007'];
  const made = (depth: number): [text: string, expected: unknown] => {
    const kind = rng.integer(depth > 3 ? 2 : 4);
    if (kind === 0) return ['[1]', [1]];
    if (kind === 1) return ['"2"', '2'];
    const parts = names
      .filter(() => rng.integer(2) === 0)
      .sort(() => rng.integer(3) - 1)
      .map((name) => [name, made(depth + 1)] as const);
    if (kind === 2) {
      return [`[${parts.map(([, [text]]) => text).join(' , ')}]`, parts.map(([, [, one]]) => one)];
    }
    const members = parts.map(([name, [text]]) => `${JSON.stringify(name)} : ${text}`);
    return [`{${members.join(',\n')}}`, parts.map(([name, [, one]]) => [name, one])];
  };
  for (let i = 0; i < 300; i++) {
    const [text, expected] = made(0);
    expect(ordered(readJson(text))).toEqual(expected);
  }
});

it('a schema from a text has its properties in the order of the text', () => {
  const text =
    '{"properties": {"10": {}, "2": {}, "x": {"const": {"9": 1, "1": 2}}}, "required": ["10", "2", "x"]}';
  const matcher = compile(readJson(text));
  expect(matcher.accepts('{"10": 0, "2": 0, "x": {"9": 1, "1": 2}}')).toBe(true);
  expect(matcher.accepts('{"2": 0, "10": 0, "x": {"9": 1, "1": 2}}')).toBe(false);
});

/** Random tools and arguments, with all that is hard for formats in them. */
import type { ToolDefinition } from '../../lib/tools/types.js';

type Random = () => number;

const WORDS = [
  'plain',
  'two words',
  'Grüße, 日本 👍🏽',
  'a "quoted" thing',
  "it's",
  'back\\slash \\n \\u0041',
  'line\nfeed',
  '\ttab ',
  '{"name": "x", "arguments": {}}',
  '[1, 2] }',
  '</tool_call>',
  '<tool_call>',
  '<|im_end|>',
  '</think>',
  '[TOOL_CALLS]',
  '<|"|>',
  '<function=a>',
  'true',
  'null',
  '42',
  '',
  '0x1F, (x=1)',
  ', ',
  'a=1, b=2)',
];

export interface RandomTools {
  readonly tools: ToolDefinition[];
  /** Arguments that fit the schema of a tool. */
  args(name: string): Record<string, unknown>;
}

export interface Limits {
  /** Leaves texts out. */
  readonly allows?: (text: string) => boolean;
  /** Values that are neither texts nor whole numbers. Default true. */
  readonly others?: boolean;
  readonly nested?: boolean;
}

export function randomTools(random: Random, limits: Limits = {}): RandomTools {
  const { allows = () => true, others = true, nested = true } = limits;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)];
  const words = WORDS.filter(allows);
  const values: Record<string, (depth: number) => unknown> = {
    string: () => (random() < 0.3 ? `${pick(words)} ${pick(words)}`.trim() : pick(words)),
    integer: () => Math.floor(random() * 2000) - 1000,
    ...(others
      ? {
          number: () => Math.floor(random() * 1000) / 8,
          boolean: () => random() < 0.5,
        }
      : {}),
    ...(nested
      ? {
          object: (depth) => {
            const names = ['a', 'key_two', 'c3'].slice(0, Math.floor(random() * 4));
            return Object.fromEntries(names.map((name) => [name, any(depth + 1)]));
          },
          array: (depth) => Array.from({ length: Math.floor(random() * 3) }, () => any(depth + 1)),
        }
      : {}),
  };
  const any = (depth: number): unknown => {
    const kinds = Object.keys(values).filter((kind) => depth < 3 || !/object|array/.test(kind));
    return values[pick(kinds)](depth);
  };
  const kinds = Object.keys(values);
  const names = ['get', 'get_weather', 'send-mail', 'a', 'lookUp2'].slice(
    0,
    1 + Math.floor(random() * 5),
  );
  const tools = names.map((name): ToolDefinition => {
    const count = Math.floor(random() * 5);
    const properties: Record<string, { type: string; description: string }> = {};
    for (let i = 0; i < count; i++) {
      properties[`${pick(['city', 'x', 'long_name'])}${i}`] = {
        type: pick(kinds),
        description: 'D.',
      };
    }
    const required = Object.keys(properties).filter(() => random() < 0.5);
    const parameters = { type: 'object', properties, required };
    return { type: 'function', function: { name, description: 'It does it.', parameters } };
  });
  const args = (name: string) => {
    const { parameters } = tools.find((tool) => tool.function.name === name)!.function;
    const { properties, required } = parameters as {
      properties: Record<string, { type: string }>;
      required: string[];
    };
    const own: Record<string, unknown> = {};
    for (const [key, { type }] of Object.entries(properties)) {
      if (required.includes(key) || random() < 0.6) own[key] = values[type](1);
    }
    return own;
  };
  return { tools, args };
}

/** Requests as no client sends them: bodies that would be right, and what is done to them. */
import { gzipSync } from 'node:zlib';
import type { Random } from './random.js';

export interface Ask {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

type Value = null | boolean | number | string | Value[] | { [name: string]: Value };

const messages = [
  { role: 'system', content: 'Answer briefly' },
  { role: 'user', content: [{ type: 'text', text: 'The sea' }] },
  { role: 'assistant', content: 'is' },
  { role: 'user', content: 'and the sky' },
];
const schema = { type: 'object', properties: { a: { type: 'integer', maximum: 9 } } };
const callee = { name: 'f', parameters: schema, strict: true };
const tools: Value[] = [
  { type: 'function', function: callee },
  { type: 'custom', custom: { name: 'g' } },
];
const turns: Value[] = [
  { role: 'user', content: 'x' },
  {
    ...{ role: 'assistant', content: null, reasoning_content: 'So.' },
    tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{"a": 1}' } }],
  },
  { role: 'tool', tool_call_id: 'c', content: '5' },
];
const drawn = {
  ...{ n: 2, temperature: 0.7, top_p: 0.9, top_k: 20, min_p: 0.01, presence_penalty: 0.1 },
  ...{ frequency_penalty: 0.1, repetition_penalty: 1.1, seed: 5, stop: ['. '], min_tokens: 1 },
  ...{ stop_token_ids: [7], logit_bias: { '5': 1 }, bad_words: ['ship'], cache_salt: 'x' },
};

/** Right bodies of each route: a short one, and ones that say a lot. */
export const BODIES: Readonly<Record<string, readonly Value[]>> = {
  '/v1/chat/completions': [
    { messages: [{ role: 'user', content: 'x' }], max_tokens: 2 },
    { messages, ...drawn, max_tokens: 2, logprobs: true, top_logprobs: 2, return_token_ids: true },
    { messages, max_tokens: 2, stream: true, stream_options: { include_usage: true }, echo: true },
    { messages, max_tokens: 2, n: 2, use_beam_search: true, length_penalty: 0.8 },
    {
      ...{ messages: turns, max_tokens: 3, tools, tool_choice: 'auto', parallel_tool_calls: false },
      ...{
        reasoning_effort: 'low',
        thinking_token_budget: 2,
        include_reasoning: true,
        stream: true,
      },
    },
    {
      ...{ messages, max_tokens: 3, functions: [callee], function_call: 'auto' },
      response_format: { type: 'json_schema', json_schema: { name: 'n', schema, strict: true } },
    },
  ],
  '/v1/completions': [
    { prompt: 'x', max_tokens: 2 },
    { prompt: ['The sea', 'A'], ...drawn, max_tokens: 2, logprobs: 2, echo: true },
    { prompt: [[5, 6], [7]], max_tokens: 2, stream: true, prompt_logprobs: null, priority: 0 },
    { prompt: [5, 6], max_tokens: 0, echo: true, logprobs: 1 },
    { prompt: 'x', max_tokens: 3, structured_outputs: { json: schema, whitespace_pattern: ' ?' } },
    { prompt: 'x', max_tokens: 3, guided_regex: '[ab]{2,5}c?', guided_decoding_backend: 'x' },
    {
      prompt: 'x',
      max_tokens: 3,
      guided_grammar: 'root ::= "a" ("b" | root)',
      guided_choice: null,
    },
    { prompt: 'x', max_tokens: 3, response_format: { type: 'json_object' } },
    {
      ...{ prompt: 'x', max_tokens: 3 },
      structured_outputs: {
        structural_tag: { type: 'structural_tag', format: { type: 'any_text' } },
      },
    },
  ],
  '/v1/responses': [
    {
      input: [
        { role: 'user', content: 'x' },
        { type: 'reasoning', summary: [], encrypted_content: 'octavo:U28=' },
        { type: 'function_call', call_id: 'c', name: 'f', namespace: 'n', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c', output: '5' },
      ],
      tools: [
        { type: 'function', name: 'f', parameters: schema },
        { type: 'namespace', name: 'n', tools: [{ type: 'function', name: 'f' }] },
      ],
      ...{ max_output_tokens: 3, tool_choice: 'auto', include: ['reasoning.encrypted_content'] },
      ...{ reasoning: { effort: 'low' }, stream: true },
      text: { format: { type: 'json_schema', name: 'n', schema } },
    },
    { input: 'x', max_output_tokens: 2 },
    {
      input: [{ role: 'user', content: [{ type: 'input_text', text: 'The sea' }] }],
      ...{ max_output_tokens: 2, instructions: 'Be brief', top_logprobs: 1, stop: ['.'] },
      ...{ include: ['message.output_text.logprobs'], metadata: { a: 'b' }, stream: true },
      ...{ text: { format: { type: 'text' } }, reasoning: { effort: 'none' }, tools: [] },
    },
  ],
  '/v1/messages': [
    {
      messages: [
        { role: 'user', content: 'x' },
        { role: 'assistant', content: [{ type: 'tool_use', id: 'c', name: 'f', input: { a: 1 } }] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'c', content: '5' }] },
      ],
      ...{ max_tokens: 3, tools: [{ name: 'f', input_schema: schema }], stream: true },
      ...{ tool_choice: { type: 'auto', disable_parallel_tool_use: true } },
      ...{ thinking: { type: 'enabled', budget_tokens: 2 }, output_config: { effort: 'low' } },
    },
    { messages: [{ role: 'user', content: 'x' }], max_tokens: 2 },
    {
      messages: [{ role: 'user', content: [{ type: 'text', text: 'The sea' }] }],
      ...{ max_tokens: 2, system: [{ type: 'text', text: 'Be brief' }], stop_sequences: ['.'] },
      ...{ temperature: 0.5, top_p: 0.9, top_k: 5, stream: true, tools: [], thinking: null },
    },
  ],
  '/v1/messages/count_tokens': [
    { messages: [{ role: 'user', content: 'x' }], system: 'Be brief', tool_choice: null },
  ],
  '/v1/chat/completions/render': [{ messages, max_tokens: 2, seed: 5, add_special_tokens: true }],
  '/v1/completions/render': [{ prompt: ['The sea', 'A'], max_tokens: 2, ...drawn }],
  '/inference/v1/generate': [
    { token_ids: [5, 6], sampling_params: { max_tokens: 2 } },
    { token_ids: [5, 6], sampling_params: { ...drawn, max_tokens: 2, logprobs: 1 }, stream: true },
  ],
  '/v1/embeddings': [
    { input: 'x' },
    {
      ...{ input: ['The sea', 'A'], encoding_format: 'base64', dimensions: 8, normalize: true },
      ...{ pooling: 'cls', truncate_prompt_tokens: 5, truncation_side: 'right', prompt_name: '' },
      ...{ user: 'x', embed_dtype: 'float32', endianness: 'little', add_special_tokens: true },
    },
    { input: [[5, 6], [7]], instruction: null },
  ],
  '/classify': [
    { model: 'classifier', input: 'x' },
    { model: 'classifier', input: ['The sea', 'A'], truncate_prompt_tokens: -1 },
  ],
  '/pooling': [
    { input: 'x', task: 'embed' },
    { model: 'classifier', input: [5, 6], encoding_format: 'float' },
  ],
  ...Object.fromEntries(
    ['/v1/score', '/score'].map((path) => [
      path,
      [
        { text_1: 'x', text_2: 'y' },
        { queries: ['x', 'y'], documents: ['y', 'The sea'], truncate_prompt_tokens: 9 },
        { data_1: 'x', data_2: ['y', 'z'], instruction: 'The sea' },
      ],
    ]),
  ),
  ...Object.fromEntries(
    ['/v1/rerank', '/v2/rerank', '/rerank'].map((path) => [
      path,
      [
        { query: 'x', documents: ['The sea', 'A'] },
        {
          ...{ query: 'x', documents: [{ text: 'The sea' }, 'A'], top_n: 1 },
          ...{ return_documents: false, rank_fields: [], max_chunks_per_doc: 1 },
        },
      ],
    ]),
  ),
  '/tokenize': [
    { prompt: 'The sea', return_token_strs: true, add_special_tokens: false },
    { messages, add_generation_prompt: true, chat_template_kwargs: { a: 1 } },
  ],
  '/detokenize': [{ tokens: [5, 6, 7], skip_special_tokens: true }],
  '/ping': [{}],
};

/** A value that JSON.stringify could not write: it stands between these marks until then. */
const raw = (json: string) => `\u0001${json}\u0001`;

function written(value: Value): string {
  return JSON.stringify(value).replace(/"\\u0001(.*?)\\u0001"/gs, (_, inner) =>
    JSON.parse(`"${inner}"`),
  );
}

const NUMBERS = [
  ...['1e999', '-1e999', '1e308', '9007199254740993', '18446744073709551616', '-0', '0.1e-400'],
  ...['2147483648', '-2147483649', '4294967296', '1.0000000000000002', '-9223372036854775809'],
].map(raw);
const TEXTS = [
  ...['', ' ', 'x', '\u0000', '\ud800', '\udfff\ud800', '👩‍👩‍👧‍👦', 'é', '\ufeff', '\u202e'],
  ...[
    '<|im_start|>system\n',
    '{{ 1/0 }}',
    '{% for i in range(9999999) %}{% endfor %}',
    '-1',
    'NaN',
  ],
  ...['true', '__proto__', 'constructor', '../../etc/passwd', '%00', 'a'.repeat(5000), '\n\n'],
];
const NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'then', 'toJSON', 'length', ''];
const PLAIN: Value[] = [null, true, false, 0, 1, -1, 2, 0.5, -0.5, 128, 129, 1e6, [], {}];

/** Anything at all. */
function anything(rng: Random, depth = 0): Value {
  const one = <T>(list: readonly T[]) => list[rng.integer(list.length)];
  const kind = rng.integer(depth > 2 ? 6 : 12);
  if (kind < 3) return one(PLAIN);
  if (kind === 3) return one(NUMBERS);
  if (kind < 6) return one(TEXTS);
  const some = () => anything(rng, depth + 1);
  if (kind === 6) return Array.from({ length: rng.integer(4) }, some);
  if (kind === 7) return Array.from({ length: 1 + rng.integer(300) }, () => rng.integer(600));
  if (kind === 8) return Array.from({ length: 1 + rng.integer(6) }, () => one(TEXTS));
  if (kind === 9) {
    const levels = one([10, 100, 3000]);
    return raw(one([`${'['.repeat(levels)}${']'.repeat(levels)}`, nested(levels)]));
  }
  const names = [one(NAMES), one(['type', 'text', 'role', 'content', 'id']), 'x'];
  const members = names.slice(rng.integer(3)).map((name) => `${JSON.stringify(name)}:1`);
  if (kind === 10) return raw(`{${members.join(',')}}`);
  return { type: one(TEXTS), text: some(), content: some(), role: one(TEXTS) };
}

const nested = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;

/** All members and elements of a value, as ways to change them. */
function* places(value: Value): Generator<{ holder: Record<string, Value>; name: string }> {
  if (typeof value !== 'object' || value === null) return;
  const holder = value as Record<string, Value>;
  for (const name of Object.keys(holder)) {
    yield { holder, name };
    yield* places(holder[name]);
  }
}

/** Changes a body as a value. */
function bend(body: Value, known: readonly string[], rng: Random): void {
  const all = [...places(body)];
  const { holder, name } = all[rng.integer(all.length)] ?? { holder: body, name: 'x' };
  const top = body as Record<string, Value>;
  const kind = rng.integer(8);
  if (kind < 2) holder[name] = anything(rng);
  else if (kind === 2) delete holder[name];
  else if (kind < 6) top[known[rng.integer(known.length)] ?? 'x'] = anything(rng);
  else if (kind === 6 && Array.isArray(holder[name])) {
    const list = holder[name] as Value[];
    holder[name] = Array.from({ length: rng.integer(200) }, (_, i) => list[i % list.length]);
  } else top[NAMES[rng.integer(NAMES.length)]] = anything(rng);
}

/** Changes a body as bytes. */
function break_(text: string, known: readonly string[], rng: Random): Buffer {
  const bytes = Buffer.from(text);
  const at = rng.integer(bytes.length + 1);
  const rest = bytes.subarray(at);
  const kind = rng.integer(7);
  if (kind === 0) return bytes.subarray(0, at);
  if (kind === 1) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
  if (kind === 2) return Buffer.concat([bytes.subarray(0, at), Buffer.of(rng.integer(256)), rest]);
  if (kind === 3) {
    const changed = Buffer.from(bytes);
    if (at < changed.length) changed[at] = rng.integer(256);
    return changed;
  }
  if (kind === 4) {
    // The same name twice: the last one counts.
    const name = JSON.stringify(known[rng.integer(known.length)] ?? 'x');
    return Buffer.from(`${text.slice(0, -1)},${name}:${written(anything(rng))}}`);
  }
  if (kind === 5) return Buffer.concat([bytes, bytes.subarray(rng.integer(bytes.length + 1))]);
  return Buffer.from([`\ufeff${text}`, ` ${text}\n`, `[${text}]`, `"${at}"`, ''][rng.integer(5)]);
}

const HEADERS: readonly Record<string, string>[] = [
  { 'content-type': 'text/plain' },
  { 'content-type': 'application/x-www-form-urlencoded' },
  { 'content-type': 'application/json; charset=utf-16' },
  { 'content-encoding': 'gzip' },
  { 'content-encoding': 'br' },
  { accept: 'text/html', 'accept-encoding': 'gzip' },
  { 'x-request-timeout-ms': '0' },
  { 'x-request-timeout-ms': '1e400' },
  { 'x-request-timeout-ms': 'soon' },
  { 'x-request-timeout-ms': '60000.5' },
  { 'x-request-id': '\u00ff' },
  { 'x-request-id': 'a'.repeat(3000) },
  { origin: 'null' },
  { origin: 'http://evil.example' },
  { authorization: 'Bearer' },
];

/** Request number `rng` of the fuzz. @param known names of fields of each path */
export function anAsk(rng: Random, known: Readonly<Record<string, readonly string[]>>): Ask {
  const paths = Object.keys(BODIES);
  const path = paths[rng.integer(paths.length)];
  const bodies = BODIES[path];
  const body = structuredClone(bodies[rng.integer(bodies.length)]);
  const way = rng.integer(10);
  for (let i = way < 7 ? 1 + rng.integer(2) : 0; i > 0; i--) bend(body, known[path], rng);
  const text = written(body);
  let bytes = way === 6 || way === 7 ? break_(text, known[path], rng) : Buffer.from(text);
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (way === 8) {
    Object.assign(headers, HEADERS[rng.integer(HEADERS.length)]);
    if (headers['content-encoding'] === 'gzip' && rng.integer(2) === 0) bytes = gzipSync(bytes);
    if (headers['content-type'].endsWith('utf-16')) bytes = Buffer.from(text, 'utf16le');
  }
  const isOdd = way === 9 && rng.integer(4) === 0;
  const method = isOdd ? ['PUT', 'DELETE', 'PATCH', 'GET'][rng.integer(4)] : 'POST';
  const tail = way === 9 ? ['/', '?x=%ff&y', '//', '/../x', '#a'][rng.integer(5)] : '';
  return { method, path: path + tail, headers, body: bytes };
}

/** Each body with each of its bytes gone, changed, and all after it gone. */
export function* brokenAtEveryByte(): Generator<Ask> {
  const headers = { 'content-type': 'application/json' };
  for (const [path, bodies] of Object.entries(BODIES)) {
    const bytes = Buffer.from(JSON.stringify(bodies[bodies.length - 1]));
    for (let at = 0; at < bytes.length; at++) {
      const before = bytes.subarray(0, at);
      const after = bytes.subarray(at + 1);
      const parts = [[before, after], [before, Buffer.of((at * 37) % 256), after], [before]];
      for (const part of parts) yield { method: 'POST', path, headers, body: Buffer.concat(part) };
    }
  }
}

/** Formats by name: of families whose templates do not show how their models call. */
import {
  type AnswerFormat,
  anyType,
  type CallFormat,
  type Fence,
  ID_SLOT,
  INDEX_SLOT,
  JSON_TYPES,
  NO_FENCE,
  type TaggedStyle,
} from './format.js';

/** Fields of a CallFormat that are not the common case. */
type Given = Partial<CallFormat> & Pick<CallFormat, 'forms'>;

function calls(given: Given): CallFormat {
  return {
    section: NO_FENCE,
    end: '',
    separator: '',
    arguments: { kind: 'json' },
    parallel: true,
    bare: false,
    ids: 'call',
    ...given,
  };
}

function tags(start: string, mid: string, end: string): TaggedStyle {
  return { kind: 'tagged', start, mids: anyType(mid), ends: anyType(end), separator: '' };
}

/** Attributes that tell a text from other values. */
function dsml(section: string): CallFormat {
  const mid = (isText: boolean) => `" string="${isText}">`;
  return calls({
    section: { start: `<｜DSML｜${section}>\n`, end: `</｜DSML｜${section}>` },
    forms: [{ start: '<｜DSML｜invoke name="', nameEnd: '">\n' }],
    end: '</｜DSML｜invoke>\n',
    arguments: {
      kind: 'tagged',
      start: '<｜DSML｜parameter name="',
      mids: { ...anyType(mid(false)), string: mid(true) },
      ends: anyType('</｜DSML｜parameter>\n'),
      separator: '',
    },
  });
}

const json = (start: string, name = 'name', args = 'arguments') => ({
  start: `${start}{"${name}": "`,
  nameEnd: `", "${args}": `,
});

export const CALL_FORMATS: Readonly<Record<string, CallFormat>> = {
  hermes: calls({
    forms: [json('<tool_call>\n')],
    end: '}\n</tool_call>',
    separator: '\n',
  }),
  qwen3_coder: calls({
    forms: [{ start: '<tool_call>\n<function=', nameEnd: '>\n' }],
    end: '</function>\n</tool_call>',
    separator: '\n',
    arguments: tags('<parameter=', '>\n', '\n</parameter>\n'),
  }),
  llama3_json: calls({
    forms: [
      json('', 'name', 'parameters'),
      { start: '{"type": "function", "name": "', nameEnd: '", "parameters": ' },
      json('<|python_tag|>', 'name', 'parameters'),
    ],
    end: '}',
    parallel: false,
    bare: true,
  }),
  pythonic: calls({
    section: { start: '[', end: ']' },
    forms: [{ start: '', nameEnd: '(' }],
    end: ')',
    separator: ', ',
    arguments: { kind: 'python' },
    bare: true,
  }),
  lfm2: calls({
    section: { start: '<|tool_call_start|>[', end: ']<|tool_call_end|>' },
    forms: [{ start: '', nameEnd: '(' }],
    end: ')',
    separator: ', ',
    arguments: { kind: 'python' },
  }),
  mistral: calls({
    forms: [
      { start: '[TOOL_CALLS]', nameEnd: '[ARGS]' },
      { start: '[TOOL_CALLS]', nameEnd: `[CALL_ID]${ID_SLOT}[ARGS]` },
    ],
    ids: 'nine',
  }),
  mistral_v3: calls({
    section: { start: '[TOOL_CALLS][', end: ']' },
    forms: [json('')],
    end: `, "id": "${ID_SLOT}"}`,
    separator: ', ',
    ids: 'nine',
  }),
  deepseek_v3: calls({
    section: { start: '<｜tool▁calls▁begin｜>', end: '<｜tool▁calls▁end｜>' },
    forms: [{ start: '<｜tool▁call▁begin｜>function<｜tool▁sep｜>', nameEnd: '\n```json\n' }],
    end: '\n```<｜tool▁call▁end｜>',
    separator: '\n',
  }),
  deepseek_v31: calls({
    section: { start: '<｜tool▁calls▁begin｜>', end: '<｜tool▁calls▁end｜>' },
    forms: [{ start: '<｜tool▁call▁begin｜>', nameEnd: '<｜tool▁sep｜>' }],
    end: '<｜tool▁call▁end｜>',
  }),
  deepseek_v32: dsml('function_calls'),
  deepseek_v4: dsml('tool_calls'),
  openai: calls({
    forms: [
      { start: ' to=functions.', nameEnd: '<|channel|>commentary json<|message|>' },
      { start: '<|channel|>commentary to=functions.', nameEnd: ' <|constrain|>json<|message|>' },
      { start: '<|channel|>commentary to=functions.', nameEnd: '<|message|>' },
    ],
    end: '<|call|>',
    parallel: false,
  }),
  glm45: calls({
    forms: [{ start: '<tool_call>', nameEnd: '\n' }],
    end: '</tool_call>',
    separator: '\n',
    arguments: tags('<arg_key>', '</arg_key>\n<arg_value>', '</arg_value>\n'),
  }),
  glm47: calls({
    forms: [{ start: '<tool_call>', nameEnd: '' }],
    end: '</tool_call>',
    arguments: tags('<arg_key>', '</arg_key><arg_value>', '</arg_value>'),
  }),
  kimi_k2: calls({
    section: { start: '<|tool_calls_section_begin|>', end: '<|tool_calls_section_end|>' },
    forms: [
      {
        start: '<|tool_call_begin|>functions.',
        nameEnd: `:${INDEX_SLOT}<|tool_call_argument_begin|>`,
      },
    ],
    end: '<|tool_call_end|>',
    ids: 'kimi',
  }),
  kimi_k3: calls({
    section: { start: '<|open|>tools<|sep|>', end: '<|close|>tools<|sep|>' },
    forms: [{ start: '<|open|>call tool="', nameEnd: `" index="${INDEX_SLOT}"<|sep|>` }],
    end: '<|close|>call<|sep|>',
    arguments: {
      kind: 'tagged',
      start: '<|open|>argument key="',
      mids: Object.fromEntries(
        JSON_TYPES.map((type) => [type, `" type="${type}"<|sep|>`]),
      ) as TaggedStyle['mids'],
      ends: anyType('<|close|>argument<|sep|>'),
      separator: '',
    },
  }),
  gemma4: calls({
    forms: [{ start: '<|tool_call>call:', nameEnd: '' }],
    end: '<tool_call|>',
    arguments: { kind: 'quoted', quote: '<|"|>' },
  }),
  functiongemma: calls({
    forms: [{ start: '<start_function_call>call:', nameEnd: '' }],
    end: '<end_function_call>',
    arguments: { kind: 'quoted', quote: '<escape>' },
  }),
  phi4_mini_json: calls({
    section: { start: 'functools[', end: ']' },
    forms: [json('')],
    end: '}',
    separator: ', ',
  }),
  granite: calls({
    section: { start: '<|tool_call|>[', end: ']' },
    forms: [json('')],
    end: '}',
    separator: ', ',
  }),
  minimax: calls({
    section: { start: '<tool_calls>\n', end: '</tool_calls>' },
    forms: [json('')],
    end: '}\n',
  }),
  minimax_m2: calls({
    section: { start: '<minimax:tool_call>\n', end: '</minimax:tool_call>' },
    forms: [{ start: '<invoke name="', nameEnd: '">\n' }],
    end: '</invoke>\n',
    arguments: tags('<parameter name="', '">', '</parameter>\n'),
  }),
  cohere: calls({
    section: { start: '<|START_ACTION|>[', end: '\n]<|END_ACTION|>' },
    forms: [
      {
        start: `\n    {"tool_call_id": "${INDEX_SLOT}", "tool_name": "`,
        nameEnd: '", "parameters": ',
      },
    ],
    end: '}',
    separator: ',',
  }),
  seed_oss: calls({
    forms: [{ start: '<seed:tool_call>\n<function=', nameEnd: '>\n' }],
    end: '</function>\n</seed:tool_call>',
    separator: '\n',
    arguments: tags('<parameter=', '>', '</parameter>\n'),
  }),
  functionary_v3_1: calls({
    forms: [{ start: '<function=', nameEnd: '>' }],
    end: '</function>',
  }),
};

/** Other names that servers know the same by. */
const SAME: Readonly<Record<string, string>> = {
  qwen: 'hermes',
  qwen25: 'hermes',
  qwen3: 'hermes',
  qwen3_xml: 'qwen3_coder',
  step3p5: 'qwen3_coder',
  'granite-20b-fc': 'granite',
  granite4: 'hermes',
  llama4_json: 'llama3_json',
  llama4_pythonic: 'pythonic',
  gpt_oss: 'openai',
  harmony: 'openai',
  deepseek_r1: 'deepseek_v3',
  glm46: 'glm45',
};

export const REASONING_FORMATS: Readonly<Record<string, Fence>> = {
  think: { start: '<think>', end: '</think>' },
  mistral: { start: '[THINK]', end: '[/THINK]' },
  seed_oss: { start: '<seed:think>', end: '</seed:think>' },
  cohere: { start: '<|START_THINKING|>', end: '<|END_THINKING|>' },
  gemma4: { start: '<|channel>thought\n', end: '<channel|>' },
  openai: { start: '<|channel|>analysis<|message|>', end: '<|end|><|start|>assistant' },
};

const SAME_REASONING: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      'qwen3',
      'deepseek_r1',
      'deepseek_v3',
      'glm45',
      'granite',
      'minimax_m2',
      'hunyuan',
      'kimi_k2',
    ].map((name) => [name, 'think']),
  ),
  gpt_oss: 'openai',
  harmony: 'openai',
};

export const CALL_NAMES = [...Object.keys(CALL_FORMATS), ...Object.keys(SAME)];
export const REASONING_NAMES = [...Object.keys(REASONING_FORMATS), ...Object.keys(SAME_REASONING)];

export function callsNamed(name: string): CallFormat | undefined {
  const own = Object.hasOwn(SAME, name) ? SAME[name] : name;
  return Object.hasOwn(CALL_FORMATS, own) ? CALL_FORMATS[own] : undefined;
}

export function reasoningNamed(name: string): Fence | undefined {
  const own = Object.hasOwn(SAME_REASONING, name) ? SAME_REASONING[name] : name;
  return Object.hasOwn(REASONING_FORMATS, own) ? REASONING_FORMATS[own] : undefined;
}

/** Whole answers whose parts are told by channels of one kind or another. */
export const ANSWERS: readonly AnswerFormat[] = [
  {
    name: 'openai',
    reasoning: REASONING_FORMATS.openai,
    content: { start: '<|channel|>final<|message|>', end: '' },
    preamble: { start: '<|channel|>commentary<|message|>', end: '<|end|><|start|>assistant' },
    calls: CALL_FORMATS.openai,
  },
  {
    name: 'kimi_k3',
    reasoning: { start: '<|open|>think<|sep|>', end: '<|close|>think<|sep|>' },
    content: { start: '<|open|>response<|sep|>', end: '<|close|>response<|sep|>' },
    calls: CALL_FORMATS.kimi_k3,
  },
];

/**
 * By what a template's source says: first those whose renders mislead, then those that describe
 * calls to the model and render none.
 */
export const SIGNATURES: readonly {
  readonly name: string;
  readonly signs: readonly RegExp[];
  /** A token that the vocabulary must have. */
  readonly token?: string;
  /** Whether it counts before what renders show. */
  readonly first?: boolean;
}[] = [
  { name: 'openai', signs: [/<\|channel\|>/, /functions\./, /<\|message\|>/], first: true },
  { name: 'deepseek_v3', signs: [/<｜tool▁calls▁begin｜>/, /```json/], first: true },
  {
    name: 'kimi_k2',
    signs: [/<\|tool_call_begin\|>/, /<\|tool_call_argument_begin\|>/],
    first: true,
  },
  { name: 'kimi_k3', signs: [/<\|open\|>/, /'argument'/], first: true },
  { name: 'gemma4', signs: [/<\|tool_call>call:/], first: true },
  { name: 'functiongemma', signs: [/<start_function_call>call:/], first: true },
  { name: 'llama3_json', signs: [/<\|python_tag\|>/, /"parameters": /], first: true },
  { name: 'lfm2', signs: [/<\|tool_call_start\|>|<\|tool_list_start\|>/] },
  { name: 'granite', signs: [/<\|tool_call\|>/, /available_tools|<\|tool_call\|>\[/] },
  { name: 'phi4_mini_json', signs: [/functools\[|<\|tool\|>/] },
  { name: 'qwen3_coder', signs: [/<tool_call>/, /<function=/] },
  { name: 'hermes', signs: [/<tool_call>/, /"?name"?/] },
  { name: 'lfm2', signs: [/tools/], token: '<|tool_call_start|>' },
  { name: 'hermes', signs: [/tools/], token: '<tool_call>' },
];

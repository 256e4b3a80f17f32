/** Templates in the manner of the families, in few words: what they write around calls is theirs. */

interface Family {
  /** Of lib/tools/named.ts: what renders must show; undefined: the template says too little. */
  readonly name?: string;
  readonly source: string;
  /** Texts that the style cannot hold, whatever the model. */
  readonly refuses?: RegExp;
  readonly reasons?: boolean;
}

interface Pieces {
  /** Begins the assistant's turn. */
  readonly begin?: string;
  readonly end?: string;
  /** Around the list of calls, and between two. */
  readonly open?: string;
  readonly close?: string;
  readonly between?: string;
  /** One call, as Jinja; `f` is its function, `loop.index0` its number, `c` the call. */
  readonly call: string;
  readonly single?: boolean;
  /** Around reasoning; the prompt begins it where `opens`. */
  readonly think?: readonly [start: string, end: string];
  readonly opens?: boolean;
  /** Around content. */
  readonly say?: readonly [start: string, end: string];
}

/** As a Jinja string. */
const text = (value: string) => `{{ ${JSON.stringify(value)} }}`;

function template(pieces: Pieces): string {
  const { begin = '<|im_start|>assistant\n', end = '<|im_end|>\n', call, think, say } = pieces;
  const { open = '', close = '', between = '', single, opens } = pieces;
  const thought = think
    ? `{%- if m.reasoning_content %}${text(think[0])}{{ m.reasoning_content }}${text(think[1])}` +
      `{%- else %}${opens ? text(think[0] + think[1]) : ''}{% endif -%}`
    : '';
  const said = say ? `${text(say[0])}{{ m.content }}${text(say[1])}` : '{{ m.content }}';
  const refuse = single
    ? "{%- if m.tool_calls | length > 1 %}{{ raise_exception('one call') }}{% endif -%}"
    : '';
  return [
    '{%- if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n{% endif -%}',
    '{%- for m in messages -%}',
    "{%- if m.role == 'assistant' -%}",
    text(begin),
    thought,
    `{%- if m.content %}${said}{% endif -%}`,
    `{%- if m.tool_calls -%}${refuse}${text(open)}`,
    '{%- for c in m.tool_calls -%}{%- set f = c.function -%}',
    `${call}{%- if not loop.last %}${text(between)}{% endif -%}`,
    `{%- endfor -%}${text(close)}{%- endif -%}${text(end)}`,
    '{%- else -%}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif -%}',
    '{%- endfor -%}',
    `{%- if add_generation_prompt -%}${text(begin)}${opens && think ? text(think[0]) : ''}{%- endif -%}`,
  ].join('\n');
}

const json = (before: string, after: string, args = 'arguments') =>
  `${text(`${before}{"name": "`)}{{ f.name }}${text(`", "${args}": `)}{{ f.arguments | tojson }}` +
  text(after);

/** Name, then each argument between tags. */
const tagged = (
  parts: readonly [
    start: string,
    nameEnd: string,
    key: string,
    mid: string,
    end: string,
    close: string,
  ],
) => {
  const [start, nameEnd, key, mid, end, close] = parts;
  return (
    `${text(start)}{{ f.name }}${text(nameEnd)}{%- for k, v in f.arguments | items -%}${text(key)}{{ k }}` +
    `${text(mid)}{{ v if v is string else v | tojson }}${text(end)}{%- endfor -%}${text(close)}`
  );
};

const quotedBy = (quote: string) => `{%- macro value(v) -%}
{%- if v is string -%}${quote}{{ v }}${quote}
{%- elif v is mapping -%}{{ '{' }}{%- for k, w in v | dictsort -%}
{{ k }}:{{ value(w) }}{{ ',' if not loop.last }}{%- endfor -%}{{ '}' }}
{%- elif v is iterable -%}[{%- for w in v -%}{{ value(w) }}{{ ',' if not loop.last }}{%- endfor -%}]
{%- else -%}{{ v | tojson }}{%- endif -%}
{%- endmacro -%}
`;

const think = ['<think>\n', '\n</think>\n\n'] as const;
const dsml = (section: string) => ({
  open: `\n\n<｜DSML｜${section}>\n`,
  close: `</｜DSML｜${section}>`,
  call:
    `${text('<｜DSML｜invoke name="')}{{ f.name }}${text('">\n')}` +
    `{%- for k, v in f.arguments | items -%}${text('<｜DSML｜parameter name="')}{{ k }}` +
    `{{ '" string="' ~ ('true' if v is string else 'false') ~ '">' }}` +
    `{{ v if v is string else v | tojson }}${text('</｜DSML｜parameter>\n')}{%- endfor -%}` +
    text('</｜DSML｜invoke>\n'),
});
/** As Python writes calls; a text between double quotes, or single ones. */
const python = (quote: '"' | "'") => {
  const quoted =
    quote === '"' ? '{{ v | tojson }}' : `'{{ (v | tojson)[1:-1] | replace("'", "\\\\'") }}'`;
  return (
    `{{ f.name }}({%- for k, v in f.arguments | items -%}{{ k }}={%- if v is string -%}${quoted}` +
    "{%- else -%}{{ v | tojson }}{%- endif -%}{{ ', ' if not loop.last }}{%- endfor -%})"
  );
};

export const FAMILIES: Readonly<Record<string, Family>> = {
  hermes: {
    name: 'hermes',
    source: template({ between: '\n', call: json('<tool_call>\n', '}\n</tool_call>') }),
  },
  qwen3: {
    name: 'hermes',
    reasons: true,
    source: template({ think, between: '\n', call: json('<tool_call>\n', '}\n</tool_call>') }),
  },
  qwen3_coder: {
    name: 'qwen3_coder',
    reasons: true,
    refuses: /^\s|\s$|^$/,
    source: template({
      think,
      opens: true,
      between: '\n',
      call: tagged([
        '<tool_call>\n<function=',
        '>\n',
        '<parameter=',
        '>\n',
        '\n</parameter>\n',
        '</function>\n</tool_call>',
      ]),
    }),
  },
  llama3: {
    name: 'llama3_json',
    source: template({ single: true, call: json('', '}', 'parameters') }),
  },
  mistral: {
    source: template({
      end: '<|eos|>',
      call: `${text('[TOOL_CALLS]')}{{ f.name }}${text('[ARGS]')}{{ f.arguments | tojson }}`,
    }),
  },
  mistral_v3: {
    name: 'mistral_v3',
    source: template({
      end: '<|eos|>',
      open: '[TOOL_CALLS][',
      close: ']',
      between: ', ',
      call:
        "{%- if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif -%}" +
        json('', ', "id": "') +
        `{{ c.id }}${text('"}')}`,
    }),
  },
  deepseek_v31: {
    name: 'deepseek_v31',
    reasons: true,
    source: template({
      begin: '<｜Assistant｜>',
      end: '<｜end▁of▁sentence｜>',
      think: ['<think>', '</think>'],
      open: '<｜tool▁calls▁begin｜>',
      close: '<｜tool▁calls▁end｜>',
      call:
        `${text('<｜tool▁call▁begin｜>')}{{ f.name }}${text('<｜tool▁sep｜>')}` +
        `{{ f.arguments | tojson }}${text('<｜tool▁call▁end｜>')}`,
    }),
  },
  deepseek_v32: {
    name: 'deepseek_v32',
    source: template({ end: '<｜end▁of▁sentence｜>', ...dsml('function_calls') }),
  },
  deepseek_v4: {
    name: 'deepseek_v4',
    reasons: true,
    source: template({
      begin: '<｜Assistant｜>',
      end: '<｜end▁of▁sentence｜>',
      think: ['<think>', '</think>'],
      opens: true,
      ...dsml('tool_calls'),
    }),
  },
  deepseek_v3: {
    name: 'deepseek_v3',
    source: template({
      begin: '<｜Assistant｜>',
      end: '<｜end▁of▁sentence｜>',
      open: '<｜tool▁calls▁begin｜>',
      close: '<｜tool▁calls▁end｜>',
      between: '\n',
      call:
        `${text('<｜tool▁call▁begin｜>function<｜tool▁sep｜>')}{{ f.name }}` +
        "{{ '\\n```json\\n' }}{{ f.arguments | tojson }}{{ '\\n```<｜tool▁call▁end｜>' }}",
    }),
  },
  glm45: {
    name: 'glm45',
    refuses: /^\s|\s$|^$/,
    source: template({
      begin: '<|assistant|>',
      end: '',
      open: '\n',
      between: '\n',
      call: tagged([
        '<tool_call>',
        '\n',
        '<arg_key>',
        '</arg_key>\n<arg_value>',
        '</arg_value>\n',
        '</tool_call>',
      ]),
    }),
  },
  glm47: {
    name: 'glm47',
    source: template({
      begin: '<|assistant|>',
      end: '',
      call: tagged([
        '<tool_call>',
        '',
        '<arg_key>',
        '</arg_key><arg_value>',
        '</arg_value>',
        '</tool_call>',
      ]),
    }),
  },
  kimi_k2: {
    name: 'kimi_k2',
    source: template({
      open: '<|tool_calls_section_begin|>',
      close: '<|tool_calls_section_end|>',
      call:
        `${text('<|tool_call_begin|>functions.')}{{ f.name }}:{{ loop.index0 }}` +
        `${text('<|tool_call_argument_begin|>')}{{ f.arguments | tojson }}${text('<|tool_call_end|>')}`,
    }),
  },
  gemma4: {
    name: 'gemma4',
    refuses: /<\|"\|>/,
    source:
      quotedBy('<|"|>') +
      template({
        begin: '<|turn>model\n',
        end: '<turn|>\n',
        call: `${text('<|tool_call>call:')}{{ f.name }}{{ value(f.arguments) }}${text('<tool_call|>')}`,
      }),
  },
  functiongemma: {
    name: 'functiongemma',
    refuses: /<escape>/,
    source:
      quotedBy('<escape>') +
      template({
        begin: '<start_of_turn>model\n',
        end: '<end_of_turn>\n',
        call:
          `${text('<start_function_call>call:')}{{ f.name }}{{ value(f.arguments) }}` +
          text('<end_function_call>'),
      }),
  },
  lfm2: {
    name: 'lfm2',
    source: template({
      open: '<|tool_call_start|>[',
      close: ']<|tool_call_end|>',
      between: ', ',
      call: python("'"),
    }),
  },
  pythonic: {
    name: 'pythonic',
    source: template({ open: '[', close: ']', between: ', ', call: python('"') }),
  },
  phi4: {
    name: 'phi4_mini_json',
    source: template({ open: 'functools[', close: ']', between: ', ', call: json('', '}') }),
  },
  granite: {
    name: 'granite',
    source: template({
      begin: '<|start_of_role|>assistant<|end_of_role|>',
      end: '<|end_of_text|>\n',
      open: '<|tool_call|>[',
      close: ']',
      between: ', ',
      call: json('', '}'),
    }),
  },
  minimax: {
    name: 'minimax',
    source: template({ open: '<tool_calls>\n', close: '</tool_calls>', call: json('', '}\n') }),
  },
  minimax_m2: {
    name: 'minimax_m2',
    reasons: true,
    refuses: /^\s|\s$|^$/,
    source: template({
      think,
      opens: true,
      open: '\n<minimax:tool_call>\n',
      close: '</minimax:tool_call>',
      call: tagged([
        '<invoke name="',
        '">\n',
        '<parameter name="',
        '">',
        '</parameter>\n',
        '</invoke>\n',
      ]),
    }),
  },
  seed_oss: {
    name: 'seed_oss',
    reasons: true,
    refuses: /^\s|\s$|^$/,
    source: template({
      begin: '<seed:bos>assistant\n',
      end: '<seed:eos>',
      think: ['<seed:think>', '</seed:think>'],
      between: '\n',
      call: tagged([
        '<seed:tool_call>\n<function=',
        '>\n',
        '<parameter=',
        '>',
        '</parameter>\n',
        '</function>\n</seed:tool_call>',
      ]),
    }),
  },
  kimi_k3: {
    name: 'kimi_k3',
    reasons: true,
    source: template({
      begin: '<|open|>assistant<|sep|>',
      end: '<|close|>assistant<|sep|>',
      think: ['<|open|>think<|sep|>', '<|close|>think<|sep|>'],
      say: ['<|open|>response<|sep|>', '<|close|>response<|sep|>'],
      open: '<|open|>tools<|sep|>',
      close: '<|close|>tools<|sep|>',
      call:
        `${text('<|open|>call tool="')}{{ f.name }}{{ '" index="' ~ loop.index0 ~ '"<|sep|>' }}` +
        '{%- for k, v in f.arguments | items -%}' +
        "{%- set type = 'string' if v is string else 'boolean' if v is boolean else 'null' if v is none " +
        "else 'object' if v is mapping else 'number' if v is number else 'array' -%}" +
        "{{ '<|open|>' ~ 'argument' ~ ' key=\"' ~ k ~ '\" type=\"' ~ type ~ '\"<|sep|>' }}" +
        `{{ v if v is string else v | tojson }}${text('<|close|>argument<|sep|>')}{%- endfor -%}` +
        text('<|close|>call<|sep|>'),
    }),
  },
  cohere: {
    name: 'cohere',
    reasons: true,
    source: template({
      begin: '<|CHATBOT_TOKEN|>',
      end: '<|END_OF_TURN_TOKEN|>',
      think: ['<|START_THINKING|>', '<|END_THINKING|>'],
      say: ['<|START_TEXT|>', '<|END_TEXT|>'],
      open: '<|START_ACTION|>[',
      close: '\n]<|END_ACTION|>',
      between: ',',
      call:
        `${text('\n    {"tool_call_id": "')}{{ loop.index0 }}${text('", "tool_name": "')}{{ f.name }}` +
        `${text('", "parameters": ')}{{ f.arguments | tojson }}${text('}')}`,
    }),
  },
  functionary: {
    name: 'functionary_v3_1',
    source: template({
      call: `${text('<function=')}{{ f.name }}${text('>')}{{ f.arguments | tojson }}${text('</function>')}`,
    }),
  },
  solar: {
    source: template({
      begin: '<|begin|>assistant',
      end: '<|end|>',
      say: ['<|content|>', ''],
      open: '<|tool_calls|>',
      call:
        `${text('<|tool_call:begin|>')}{{ c.id }}${text('<|tool_call:name|>')}{{ f.name }}` +
        `${text('<|tool_call:args|>')}{{ f.arguments | tojson }}${text('<|tool_call:end|>')}`,
    }),
  },
  harmony: {
    name: 'openai',
    reasons: true,
    source: template({
      begin: '<|start|>assistant',
      end: '<|return|>',
      single: true,
      think: ['<|channel|>analysis<|message|>', '<|end|><|start|>assistant'],
      say: ['<|channel|>final<|message|>', ''],
      call:
        `${text(' to=functions.')}{{ f.name }}${text('<|channel|>commentary json<|message|>')}` +
        `{{ f.arguments | tojson }}${text('<|call|>')}`,
    }),
  },
};

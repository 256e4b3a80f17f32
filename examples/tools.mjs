/**
 * Lets a model call functions until it answers: node examples/tools.mjs [model] [question]
 *
 * The demo model calls no tool of its own accord and knows no template for it: it is given one, and
 * made to call. Its arguments are nonsense, and fit the schema all the same.
 */
import { LLM } from 'octavo';

const [model, question = 'What is 17 * 23, and what time is it in UTC?'] = process.argv.slice(2);
const isDemo = model === undefined;

/** Tools by name: what the model is told, and what is done. */
const TOOLS = {
  multiply: {
    description: 'Multiplies two numbers.',
    parameters: {
      type: 'object',
      properties: { a: { type: 'number' }, b: { type: 'number' } },
      required: ['a', 'b'],
      additionalProperties: false,
    },
    run: ({ a, b }) => ({ product: a * b }),
  },
  now: {
    description: 'Tells the time in UTC.',
    run: () => ({ time: new Date().toISOString() }),
  },
};

const tools = Object.entries(TOOLS).map(([name, { description, parameters }]) => ({
  type: 'function',
  function: { name, description, parameters },
}));

const TEMPLATE = `{{ tools | tojson }}
{% for m in messages %}{{ m.role }}: {{ m.content }}
{%- for c in m.tool_calls or [] %}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% if not loop.last %}
{% endif %}{% endfor %}
{% endfor %}assistant: `;

const llm = await LLM.load(isDemo ? {} : { model });
const messages = [{ role: 'user', content: question }];

for (let turn = 0; turn < 5; turn++) {
  const { outputs } = await llm.chat(
    messages,
    { maxTokens: 512, temperature: isDemo ? 1 : 0, seed: 3 },
    {
      tools,
      ...(isDemo ? { template: { chatTemplate: TEMPLATE } } : {}),
      toolChoice: isDemo && turn === 0 ? 'required' : isDemo ? 'none' : 'auto',
    },
  );
  const [{ content, reasoning, toolCalls = [], finishReason }] = outputs;
  if (reasoning) console.log(`(${reasoning})`);
  if (content) console.log(content);
  if (finishReason !== 'tool_calls') break;

  messages.push({
    role: 'assistant',
    content,
    tool_calls: toolCalls.map(({ id, name, argumentsText }) => ({
      id,
      type: 'function',
      function: { name, arguments: argumentsText },
    })),
  });
  for (const { id, name, arguments: args } of toolCalls) {
    const result = TOOLS[name].run(args);
    console.log(`${name}(${JSON.stringify(args)}) = ${JSON.stringify(result)}`);
    messages.push({ role: 'tool', tool_call_id: id, content: JSON.stringify(result) });
  }
}

await llm.close();

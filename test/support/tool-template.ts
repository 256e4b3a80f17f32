/** A chat template with tools and reasoning, in the form of Qwen3's, for models that have none. */
export const TOOL_TEMPLATE = `{%- if tools -%}
system
Tools:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
Call one by <tool_call>
{"name": …, "arguments": …}
</tool_call>
{% endif -%}
{%- for message in messages -%}
{{ message.role }}
{% if message.reasoning_content %}<think>
{{ message.reasoning_content }}
</think>

{% endif -%}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|eos|>
{% endfor -%}
{%- if add_generation_prompt -%}
assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif -%}
{%- endif -%}`;

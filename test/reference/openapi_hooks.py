"""What a document cannot say of a request, for schemathesis: which fields exclude each other, which
values a model has, how many tokens a test has time for. Requests that are meant to be valid come
through then, and their answers are looked at; those that are meant to be wrong stay as they are."""

import copy
import json

import schemathesis

LIMITS = {
    "/v1/chat/completions": "max_tokens",
    "/v1/completions": "max_tokens",
    "/v1/messages": "max_tokens",
    "/v1/responses": "max_output_tokens",
}
RANGES = {
    "temperature": 2,
    "top_p": 1,
    "min_p": 1,
    "presence_penalty": 2,
    "frequency_penalty": 2,
    "repetition_penalty": 2,
}
# From the first on: what they are at most, and what is added.
INTEGERS = {
    "max_tokens": (4, 1),
    "min_tokens": (1, 0),
    "n": (3, 1),
    "top_k": (100, 0),
    "logprobs": (4, 0),
    "prompt_logprobs": (4, 0),
    "top_logprobs": (4, 0),
    "truncate_prompt_tokens": (50, 1),
    "priority": (1, 0),
    "dimensions": (64, 1),
    "top_n": (3, 0),
}
IDS = ("input", "token_ids", "tokens", "prompt", "stop_token_ids", "allowed_token_ids")
# What a generator cannot guess: fields of structured output and tools have one of these, when they
# are there at all.
SHAPE = {
    "type": "object",
    "properties": {"kind": {"enum": ["whale", "ship"]}, "size": {"type": "integer"}},
    "required": ["kind"],
    "additionalProperties": False,
}
FUNCTION = {"name": "sail", "description": "Sails", "parameters": SHAPE}
FORMAT = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SHAPE}}
FLAT_FORMAT = {"type": "json_schema", "name": "thing", "schema": SHAPE}
CHOICES = {
    "response_format": [FORMAT, {"type": "json_object"}, {"type": "text"}],
    "structured_outputs": [{"json": SHAPE}, {"regex": "[a-c]{2,4}"}, {"choice": ["a", "b"]}],
    "guided_json": [SHAPE],
    "guided_regex": ["[a-c]{2,4}"],
    "guided_choice": [["a", "b"]],
    "text": [{"format": FLAT_FORMAT}, {"format": {"type": "json_object"}}],
    "output_config": [{"format": {"type": "json_schema", "schema": SHAPE}}],
    "chat_tools": [[{"type": "function", "function": FUNCTION}]],
    "flat_tools": [[{"type": "function", **FUNCTION}]],
    "message_tools": [[{"name": "sail", "description": "Sails", "input_schema": SHAPE}]],
}
ASKS_FOR_OUTPUT = [name for name in CHOICES if not name.endswith("tools")]
TOOLS = {
    "/v1/chat/completions": "chat_tools",
    "/v1/responses": "flat_tools",
    "/v1/messages": "message_tools",
}
LEFT_OUT = (
    "allowed_token_ids",
    "bad_words",
    "best_of",
    "chat_template",
    "chat_template_kwargs",
    "function_call",
    "functions",
    "grammar",
    "guided_grammar",
    "guided_json_object",
    "guided_whitespace_pattern",
    "json_schema",
    "logit_bias",
    "max_completion_tokens",
    "model",
    "prompt_name",
    "output_format",
    "previous_response_id",
    "reasoning_effort",
    "stop_token_ids",
    "structural_tag",
    "thinking_token_budget",
    "tool_choice",
)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def of_vocabulary(value):
    if isinstance(value, list):
        return [of_vocabulary(one) for one in value]
    return value % 512 if is_number(value) else value


def as_text(message):
    """Parts of a message are text; an item of no type is a message."""
    if isinstance(message.get("content"), list):
        message["content"] = [{"type": "text", "text": str(part)} for part in message["content"]]
    if isinstance(message.get("tool_calls"), list):
        del message["tool_calls"]


def chosen(name, given):
    """One of the values for a field, told by what was generated there."""
    values = CHOICES[name]
    return copy.deepcopy(values[len(json.dumps(given)) % len(values)])


def tame_output(body, path):
    """One of the fields that ask for an output's form at most; tools that there are."""
    if path != "/v1/responses":
        body.pop("text", None)
    asked = [name for name in ASKS_FOR_OUTPUT if body.get(name)]
    for name in asked[1:]:
        del body[name]
    if asked:
        body[asked[0]] = chosen(asked[0], body[asked[0]])
    if body.get("tools") and path in TOOLS:
        body["tools"] = chosen(TOOLS[path], body["tools"])
    else:
        body.pop("tools", None)


def tame(body, path=""):
    for name in LEFT_OUT:
        body.pop(name, None)
    tame_output(body, path)
    for name, (most, least) in INTEGERS.items():
        if is_number(body.get(name)):
            body[name] = int(body[name]) % most + least
    for name, most in RANGES.items():
        if is_number(body.get(name)):
            body[name] = most * (0.5 + 0.5 * (body[name] % 1))
    for name in IDS:
        if isinstance(body.get(name), list):
            body[name] = of_vocabulary(body[name])
    for message in body.get("messages") or []:
        as_text(message)
    body.pop("prompt_logprobs" if body.get("stream") else "stream_options", None)
    if not body.get("use_beam_search"):
        body.pop("length_penalty", None)
    if body.get("continue_final_message"):
        body["add_generation_prompt"] = False
    if body.get("logprobs") is not True:
        body.pop("top_logprobs", None)
    if body.get("messages"):
        body.pop("prompt", None)
    if body.get("cache_salt") == "":
        body["cache_salt"] = "a"
    if isinstance(body.get("sampling_params"), dict):
        tame(body["sampling_params"])


@schemathesis.hook
def before_call(context, case, **kwargs):
    meta = case.meta
    if meta is None or meta.generation.mode.is_negative or not isinstance(case.body, dict):
        return
    limit = LIMITS.get(case.path)
    if limit is not None and not case.body.get(limit):
        case.body[limit] = 3
    tame(case.body, case.path)
    if case.path == "/v1/responses" and isinstance(case.body.get("input"), list):
        case.body["input"] = [{"role": "user", "content": str(one)} for one in case.body["input"]]
    if limit is not None:
        case.body[limit] = case.body[limit] % 4 + 1

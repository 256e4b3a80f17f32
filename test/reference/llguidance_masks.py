"""Masks of llguidance: python llguidance_masks.py TOKENIZER SIZE END < CASES > MASKS.

A case is a line of JSON: a schema and the ids of an instance. For each comes a line that says how
many masks follow or why the schema is refused; then these, one before each token and one behind the
last, as far as it goes along, as words of 32 bits."""
import ctypes
import json
import sys

from llguidance import LLMatcher, LLTokenizer

# As short as JSON can be written.
COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}


def masks_of(matcher, ids, words):
    masks = []
    for token in [*ids, None]:
        mask = ctypes.create_string_buffer(4 * words)
        matcher.unsafe_compute_mask_ptr(ctypes.addressof(mask), len(mask))
        masks.append(mask.raw)
        if token is None or not (mask.raw[token >> 3] >> (token & 7)) & 1:
            return masks
        matcher.consume_token(token)


def main():
    path, size, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(path, encoding="utf8") as file:
        tokenizer = LLTokenizer(file.read(), size, end)
    out = sys.stdout.buffer
    for line in sys.stdin:
        case = json.loads(line)
        grammar = LLMatcher.grammar_from_json_schema(case["schema"], overrides=COMPACT)
        matcher = LLMatcher(tokenizer, grammar)
        if matcher.is_error():
            out.write(json.dumps({"refused": matcher.get_error()[:200]}).encode() + b"\n")
            continue
        masks = masks_of(matcher, case["ids"], (size + 31) // 32)
        out.write(json.dumps({"masks": len(masks)}).encode() + b"\n")
        for mask in masks:
            out.write(mask)


if __name__ == "__main__":
    main()

"""Schemas under llguidance or xgrammar: python schema_worker.py ENGINE CASES TOKENS FIRST.

CASES has a JSON object a line: a schema's text and instances as token ids. TOKENS: the vocabulary.
Answers a line for each case from the one of number FIRST on; times are microseconds."""
import json
import sys
import time

import numpy

ENGINE, CASES, TOKENS, FIRST = sys.argv[1:]


class Refused(Exception):
    """Of a schema, by name."""


def llguidance(vocabulary):
    from llguidance import LLMatcher, LLTokenizer

    with open(vocabulary["tokenizer"], encoding="utf8") as file:
        tokenizer = LLTokenizer(file.read(), vocabulary["size"], vocabulary["end"])

    class Instance:
        def __init__(self, matcher):
            self.matcher = matcher

        def fill(self, mask):
            self.matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)

        def advance(self, token):
            self.matcher.consume_token(token)

        def complete(self):
            return self.matcher.is_accepting()

    def compile_schema(text):
        matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(text))
        if matcher.is_error():
            raise Refused(matcher.get_error())

        def start():
            matcher.reset()
            return Instance(matcher)

        return start

    return compile_schema


def xgrammar(vocabulary):
    import xgrammar as engine

    with open(vocabulary["spelled"], encoding="utf8") as file:
        spelled = json.load(file)
    kind = engine.VocabType.BYTE_LEVEL
    size, end = vocabulary["size"], vocabulary["end"]
    info = engine.TokenizerInfo(spelled, kind, vocab_size=size, stop_token_ids=[end])
    compiler = engine.GrammarCompiler(info, max_threads=1, cache_enabled=False)

    class Instance:
        def __init__(self, compiled):
            self.matcher = engine.GrammarMatcher(compiled)

        def fill(self, mask):
            if not self.matcher.fill_next_token_bitmask(mask):
                mask.fill(-1)  # nothing is forbidden here

        def advance(self, token):
            self.matcher.accept_token(token)

        def complete(self):
            return self.matcher.accept_token(end)

    def compile_schema(text):
        try:
            compiled = compiler.compile_json_schema(text, any_whitespace=True, strict_mode=False)
        except (RuntimeError, ValueError) as error:
            raise Refused(str(error)) from error
        return lambda: Instance(compiled)

    return compile_schema


def accepts(instance, ids, mask, times):
    words = mask[0]
    for token in ids:
        begin = time.perf_counter()
        instance.fill(mask)
        if not (int(words[token >> 5]) >> (token & 31)) & 1:
            times.append((time.perf_counter() - begin) * 1e6)
            return False
        instance.advance(token)
        times.append((time.perf_counter() - begin) * 1e6)
    return instance.complete()


def judge(compile_schema, case, mask):
    begin = time.perf_counter()
    try:
        start = compile_schema(case["schema"])
    except Refused as error:
        return {"refused": str(error)[:200]}
    compiled = (time.perf_counter() - begin) * 1e6
    times = []
    taken = [accepts(start(), ids, mask, times) for ids in case["instances"]]
    return {"taken": taken, "compile": compiled, "masks": [round(one, 2) for one in times]}


def main():
    with open(TOKENS, encoding="utf8") as file:
        vocabulary = json.load(file)
    compile_schema = {"llguidance": llguidance, "xgrammar": xgrammar}[ENGINE](vocabulary)
    mask = numpy.zeros((1, (vocabulary["size"] + 31) // 32), dtype=numpy.int32)
    # What is done once is none of a schema's.
    judge(compile_schema, {"schema": '{"type": "array"}', "instances": [[]]}, mask)
    print(json.dumps({"ready": True}), flush=True)
    with open(CASES, encoding="utf8") as file:
        for number, line in enumerate(file):
            if number < int(FIRST):
                continue
            print(json.dumps(judge(compile_schema, json.loads(line), mask)), flush=True)


if __name__ == "__main__":
    main()

"""The frame of a worker of lines: bench/engines/worker.ts says what is asked and answered."""
import json
import resource
import sys
import time


def say(**result):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("RESULT " + json.dumps({**result, "peakMiB": peak}), flush=True)


def serve(load, answer, about):
    """load() makes an engine; answer(engine, ask) does what is asked and checks how much came."""
    begin = time.perf_counter()
    engine = load()
    seconds = time.perf_counter() - begin
    answer(engine, {"prompts": [list(range(40300, 40364))], "output": 8})
    say(seconds=seconds, about=about)
    for line in sys.stdin:
        ask = json.loads(line)
        begin = time.perf_counter()
        try:
            answer(engine, ask)
            say(seconds=time.perf_counter() - begin)
        except Exception as error:  # whatever it is, it belongs into the table
            say(seconds=0, error=f"{type(error).__name__}: {error}"[:400])


def check(outputs, count, length):
    if len(outputs) != count or any(len(ids) != length for ids in outputs):
        raise RuntimeError("an answer is too short")

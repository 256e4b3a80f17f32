"""OpenVINO GenAI: python openvino_worker.py MODEL SETTINGS, then lines (lines.py)."""
import json
import sys

import numpy
import openvino
import openvino_genai as genai
from lines import check, serve

SETTINGS = json.loads(sys.argv[2])


def load():
    scheduler = genai.SchedulerConfig()
    for name, value in SETTINGS["scheduler"].items():
        setattr(scheduler, name, value)
    return genai.ContinuousBatchingPipeline(sys.argv[1], scheduler, "CPU", SETTINGS["device"])


def answer(pipeline, ask):
    samples, output = ask.get("samples", 1), ask["output"]
    config = genai.GenerationConfig()
    config.max_new_tokens, config.ignore_eos = output, True
    config.do_sample = samples > 1
    if samples > 1:
        config.num_return_sequences, config.temperature, config.rng_seed = samples, 1.0, 1
    if "beams" in ask:
        config.num_beams = config.num_return_sequences = ask["beams"]
        config.num_beam_groups = 1
    prompts = [openvino.Tensor(numpy.array([ids], dtype=numpy.int64)) for ids in ask["prompts"]]
    answers = pipeline.generate(prompts, [config] * len(prompts))
    if "beams" not in ask:
        check([ids for a in answers for ids in a.m_generation_ids], samples * len(prompts), output)


if __name__ == "__main__":
    serve(load, answer, f"OpenVINO GenAI {genai.__version__}")

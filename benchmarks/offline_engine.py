"""vLLM's offline engine over chat prompts, without a server: `python -m benchmarks.offline_engine MODEL REQUESTS`.

REQUESTS is a JSON file: `prompts`, a list of messages each; `engine` and `sampling`, keyword arguments of LLM and
SamplingParams; `choice`, what a reply is held to, or null. The process says `ready` once the model is loaded; for each
line it then reads it forgets every prefix, answers all prompts and prints the seconds that took, until its input
closes. Only this benchmark imports vllm.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

import orjson


def main() -> None:
    """Load, then measure as often as asked."""
    model, requests = sys.argv[1:]
    told_of = orjson.loads(Path(requests).read_bytes())
    prompts, choice = told_of["prompts"], told_of["choice"]
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM and its processes print, too
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    llm = LLM(model, disable_log_stats=True, **told_of["engine"])
    asked = SamplingParams(**told_of["sampling"])
    if choice is not None:
        asked.structured_outputs = StructuredOutputsParams(choice=choice)
    llm.chat(prompts[:8], asked, use_tqdm=False)
    print("ready", file=told, flush=True)
    for _ in sys.stdin:
        llm.reset_prefix_cache()
        begun = time.perf_counter()
        replies = llm.chat(prompts, asked, use_tqdm=False)
        taken = time.perf_counter() - begun
        if choice is not None and {reply.outputs[0].text for reply in replies} - set(choice):
            raise ValueError(f"benchmark: the engine did not answer with one of {choice}")
        print(taken, file=told, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

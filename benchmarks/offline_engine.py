"""vLLM's offline engine over chat prompts, without a server: `python -m benchmarks.offline_engine MODEL REQUESTS`.

REQUESTS is a JSON file: a list of messages a prompt, asked as the judge asks them. The process says `ready` once the
model is loaded; for each line it then reads it forgets every prefix, answers all prompts and prints the seconds that
took, until its input closes. Only this benchmark imports vllm.
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
    prompts = orjson.loads(Path(requests).read_bytes())
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM and its processes print, too
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    llm = LLM(model, max_model_len=4096, enforce_eager=True, block_size=32, disable_log_stats=True)
    asked = SamplingParams(
        temperature=0, max_tokens=8, logprobs=20, structured_outputs=StructuredOutputsParams(choice=["yes", "no"])
    )
    llm.chat(prompts[:8], asked, use_tqdm=False)
    print("ready", file=told, flush=True)
    for _ in sys.stdin:
        llm.reset_prefix_cache()
        begun = time.perf_counter()
        replies = llm.chat(prompts, asked, use_tqdm=False)
        taken = time.perf_counter() - begun
        if {reply.outputs[0].text for reply in replies} - {"yes", "no"}:
            raise ValueError("benchmark: the engine did not answer with yes or no")
        print(taken, file=told, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

"""What a wave of dialogues costs in process: TorchModel beside the library's `generate`, tokens per second of CPU time.

Run: `python -m benchmarks.torch_sampling [--dialogues N] [--rounds N] [--out FILE]`. A fresh model of a million
parameters on one core; every round samples the same prompts twice, as many tokens after each: by TorchModel, all
requests at once, and by `generate`, left-padded, all in one batch. `alike`: every prompt has 40 tokens and gets 30,
what `generate` is best at; `groups`: 16 dialogues a task; `mixed`: 20 to 60 tokens get 10 to 50, and `generate` goes
on until the longest ends. `turns`: dialogues of 1 to 4 turns, TorchModel alone, with the share of its time that reads
prompts. CPU time, for it varies less than wall time beside other work; who comes first changes with the round; medians.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from benchmarks.curation import machine
from pipeline.rollouts.config import Sampling
from training.sampling.rows import Rows
from training.sampling.torch_model import TorchModel

RESULT = Path(__file__).with_name("torch_sampling.json")
DIALOGUES, ROUNDS, GROUP, TURNS = 384, 5, 16, 4
_VOCABULARY = 640

Wave = tuple[list[list[int]], list[int]]
"""Prompts, and how many tokens each gets."""


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description="Measure sampling in process on one core.")
    parser.add_argument("--dialogues", type=int, default=DIALOGUES, help="dialogues a wave")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds; medians are reported")
    parser.add_argument("--out", type=Path, default=RESULT, help="JSON file for the result")
    options = parser.parse_args()
    result = measure(options.dialogues, options.rounds)
    options.out.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    print(orjson.dumps({key: result[key] for key in ("waves", "turns")}, option=orjson.OPT_INDENT_2).decode())


def measure(num: int, rounds: int) -> dict[str, Any]:
    """The result of the benchmark."""
    torch.set_num_threads(1)
    model = fresh_model()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "dialogues": num,
        "rounds": rounds,
        "parameters": sum(each.numel() for each in model.parameters()),
        "waves": {name: compared(model, wave, rounds) for name, wave in waves(num).items()},
        "turns": turned(model, num, rounds),
    }


def fresh_model() -> Qwen3ForCausalLM:
    """Of random weights, which cost what any others do."""
    torch.manual_seed(0)
    config = Qwen3Config(
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=384,
        vocab_size=_VOCABULARY,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        dtype="float32",
    )
    return Qwen3ForCausalLM(config).eval()


def waves(num: int) -> dict[str, Wave]:
    """What is sampled, by name."""
    draws = random.Random(0)

    def prompt(length: int) -> list[int]:
        return [draws.randrange(1, _VOCABULARY) for _ in range(length)]

    tasks = [prompt(40) for _ in range(-(-num // GROUP))]
    return {
        "alike": ([prompt(40) for _ in range(num)], [30] * num),
        "groups": ([tasks[index // GROUP] for index in range(num)], [30] * num),
        "mixed": ([prompt(draws.randint(20, 60)) for _ in range(num)], [draws.randint(10, 50) for _ in range(num)]),
    }


def compared(model: Qwen3ForCausalLM, wave: Wave, rounds: int) -> dict[str, float]:
    """Tokens per second of CPU time of both, and ours to theirs."""
    num_tokens = sum(wave[1])
    sides: dict[str, Callable[[], None]] = {
        "torch_model": lambda: asyncio.run(_asked(torch_model(model), wave)),
        "generate": lambda: _generated(model, wave),
    }
    for run in sides.values():
        run()
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for each in range(rounds):
        for name in sorted(sides, reverse=bool(each % 2)):
            begin = time.process_time()
            sides[name]()
            spent[name].append(time.process_time() - begin)
    per_s = {name: num_tokens / statistics.median(costs) for name, costs in spent.items()}
    rounded = {f"{name}_tokens_per_s": round(each) for name, each in per_s.items()}
    return {**rounded, "ratio": round(per_s["torch_model"] / per_s["generate"], 2)}


def torch_model(model: Qwen3ForCausalLM) -> TorchModel:
    """As a rollout engine would hold it; nothing ends a row early."""
    return TorchModel(model, identity="fresh", pad_id=0, stop_ids=frozenset())


async def _asked(sampler: TorchModel, wave: Wave) -> None:
    asked = (sampler.sample(ids, Sampling(), max_new_tokens=limit) for ids, limit in zip(*wave, strict=True))
    await asyncio.gather(*asked)


def _generated(model: Qwen3ForCausalLM, wave: Wave) -> None:
    prompts, limits = wave
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(each)) + each for each in prompts])
    seen = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in prompts])
    with torch.inference_mode():
        generate: Any = model.generate  # pyright: ignore[reportAttributeAccessIssue] - its mixin's protocol is too narrow
        generate(ids, attention_mask=seen, max_new_tokens=max(limits), do_sample=True, top_k=0, pad_token_id=0)


def turned(model: Qwen3ForCausalLM, num: int, rounds: int) -> dict[str, float]:
    """Tokens per second of CPU time, dialogues of several turns a group of them to a task."""
    costs: list[float] = []
    shares: list[float] = []
    num_tokens = 0
    for _ in range(rounds):
        sampler = _Timed(model, identity="fresh", pad_id=0, stop_ids=frozenset())
        draws = random.Random(0)
        tasks = [[draws.randrange(1, _VOCABULARY) for _ in range(draws.randint(20, 60))] for _ in range(num)]
        plans = [[draws.randint(10, 40) for _ in range(draws.randint(1, TURNS))] for _ in range(num)]
        num_tokens = sum(map(sum, plans))

        async def all_of_them(
            sampler: TorchModel = sampler, tasks: list[list[int]] = tasks, plans: list[list[int]] = plans
        ) -> None:
            await asyncio.gather(*(_dialogue(sampler, tasks[i // GROUP], plan) for i, plan in enumerate(plans)))

        begin = time.process_time()
        asyncio.run(all_of_them())
        costs.append(time.process_time() - begin)
        shares.append(sampler.read_s / costs[-1])
    return {
        "tokens_per_s": round(num_tokens / statistics.median(costs)),
        "share_of_time_reading": round(statistics.median(shares), 2),
    }


class _Timed(TorchModel):
    """Adds up the time that reading prompts takes."""

    read_s = 0.0

    def _read(self, rows: Rows) -> None:
        begin = time.process_time()
        super()._read(rows)
        self.read_s += time.process_time() - begin


async def _dialogue(sampler: TorchModel, prompt: list[int], plan: list[int]) -> None:
    ids = list(prompt)
    for limit in plan:
        completion = await sampler.sample(ids, Sampling(), max_new_tokens=limit)
        ids += [*completion.token_ids, *[7] * 12]


if __name__ == "__main__":
    main()

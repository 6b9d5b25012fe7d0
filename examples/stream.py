"""A long stream of OpenAI-chat records for benchmarks: varied, with known shares of copies and faults."""

import random
from collections import Counter
from pathlib import Path

import orjson

from examples import faults
from examples.shapes_json import openai_chat
from examples.tasks_native import channel_length, cheapest_ferry, restock
from examples.tasks_python import invoice, savings, weekday
from examples.trace import Trace

KINDS = (restock, invoice, channel_length, savings, weekday, cheapest_ferry)
FAULTS = (
    faults.empty_reply,
    faults.ends_on_observation,
    faults.unpaired_call,
    faults.orphan_observation,
    faults.undeclared_tool,
    faults.missing_argument,
    faults.wrong_type,
    faults.broken_json,
    faults.repeated_call,
    faults.wrong_answer,
    faults.with_personal_data,
)
COPY_RATE = NEAR_RATE = 0.05
FAULT_RATE = 0.11
SHARD_ROWS = 25_000
_RECENT = 2_000
_SYLLABLES = (
    "ba",
    "cor",
    "del",
    "fen",
    "gal",
    "hos",
    "ir",
    "jun",
    "kel",
    "lor",
    "mar",
    "nes",
    "ost",
    "pel",
    "rin",
    "sul",
)


def write_stream(out: Path, count: int, seed: int, *, vary: bool) -> Counter[str]:
    """Write `count` records under out/stream/2025-01-01/; returns how many of each sort were written.

    One in twenty is an exact copy of an earlier record's content, one in twenty a copy with a word or two changed, one
    in nine carries a fault. Without `vary` all records are copies of the first but for their ids.
    """
    folder = out / "stream" / "2025-01-01"
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    words = ["".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(1, 3))) for _ in range(4_000)]
    recent: list[Trace] = []
    counts: Counter[str] = Counter()
    for start in range(0, count, SHARD_ROWS):
        with (folder / f"part-{start // SHARD_ROWS:04d}.jsonl").open("wb") as shard:
            for k in range(start, min(count, start + SHARD_ROWS)):
                sort, trace = _next(rng, recent, words) if vary or not recent else ("duplicate", recent[0])
                counts[sort] += 1
                shard.write(orjson.dumps(openai_chat(trace, f"stream-{k:07d}"), option=orjson.OPT_APPEND_NEWLINE))
    return counts


def _next(rng: random.Random, recent: list[Trace], words: list[str]) -> tuple[str, Trace]:
    """A record and its sort: fresh, duplicate, near_duplicate or faulty."""
    dice = rng.random()
    if recent and dice < COPY_RATE:
        return "duplicate", rng.choice(recent)
    if recent and dice < COPY_RATE + NEAR_RATE:
        copy = rng.choice(recent).copied()
        copy.turns[-1].text += f" {rng.choice(words)} {rng.choice(words)}."
        return "near_duplicate", copy
    trace = rng.choice(KINDS)(rng)
    trace.turns[0].text += f" Port log: {' '.join(rng.choices(words, k=45))}."
    trace.turns[-1].text = f"Noted {' '.join(rng.choices(words, k=30))}. {trace.turns[-1].text}"
    if rng.random() < FAULT_RATE / (1 - COPY_RATE - NEAR_RATE):
        return "faulty", rng.choice(FAULTS)(trace, rng)
    if len(recent) < _RECENT:
        recent.append(trace)
    else:
        recent[rng.randrange(_RECENT)] = trace
    return "fresh", trace

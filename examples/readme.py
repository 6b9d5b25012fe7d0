"""The README of the sample traces: what is there, counted from the labels."""

from collections import Counter
from typing import Any

_HEAD = """# Sample traces

{records} records of an invented archipelago's agents in {formats} formats, over three days, made by
`python -m examples.make_examples --out examples` (the same bytes every time). They are laid out as the landing zone
wants them: `traces/<source>/<day>/<file>`. Islands, people, prices and ships are invented; tool replies are what the
tools in `tools.py` really return, and every Python program was run.

- `labels.jsonl` has one line per record: `path` and `index` (place in the file, from 0), `expected` (`keep`, or the
  reason it should get), `stage` (which stage gives it), `note` (why), `necessary` (whether a tool was needed; null:
  not said), `shape` (the format), `spans` (kinds of secrets or personal data in it; by default they are redacted and
  the record stays). Records with one `group` are copies of each other on one day: one of them stays, whichever has the
  smaller id, and the others get the reason named at the second.
- `gold.jsonl` has one line per record that should reach a judge: its `trajectory_id` and the right answer to each
  criterion (null: it could be said either way). `python -m examples.judge_corpus OUT` writes many more traces with the
  four faults a judge looks for, in other words, and their gold.
- `prompt` marks a question with its answer: no trace, but a task for reinforcement learning.
- `benchmark.jsonl` is the benchmark that the `contaminated` ones overlap; `toolwise.toml` names it.
- `answers.jsonl` beside the traces of `tallies` holds ground truths apart.
- Credentials are put together by the script from random characters and the word EXAMPLE. They open nothing. Cards and
  bank numbers are the published test numbers.

## What should become of them

| stage | expected | records | what is wrong |
|---|---|---:|---|
"""
_ORDER = {"trajectories": 0, "screened": 1, "replayed": 2, "attempted": 3, "judged": 4}


def readme(labels: list[dict[str, Any]], files: dict[str, bytes]) -> str:
    """The text, with its two tables."""
    faults: dict[tuple[str, str], list[str]] = {}
    shapes: dict[tuple[str, str], Counter[str]] = {}
    for label in labels:
        key = (label["stage"] if label["expected"] != "keep" else "", label["expected"])
        faults.setdefault(key, []).append(label.get("note", ""))
        source, _, name = label["path"].split("/")
        suffix = name.partition(".")[2]
        shapes.setdefault((source, label["shape"]), Counter())[suffix] += 1
    known = {label["shape"] for label in labels} - {"unknown"}
    text = _HEAD.format(records=len(labels), formats=len(known))
    for (stage, expected), notes in sorted(faults.items(), key=lambda item: (_ORDER.get(item[0][0], -1), item[0][1])):
        said = "" if expected == "keep" else "; ".join(sorted(set(notes)))
        text += f"| {stage} | {expected} | {len(notes)} | {said} |\n"
    spans = Counter(kind for label in labels for kind in label.get("spans", ()))
    text += f"\nOf the kept, {spans['secret']} hold a secret and {spans['personal_data']} personal data.\n"
    text += "\n## Where they are\n\n| source | shape | records | packed as |\n|---|---|---:|---|\n"
    for (source, shape), suffixes in sorted(shapes.items()):
        text += f"| {source} | {shape} | {suffixes.total()} | {', '.join(sorted(suffixes))} |\n"
    size = sum(len(data) for data in files.values())
    return f"{text}\n{len(files)} files, {round(size / 1000)} kB.\n"

"""Where the public traces of the text protocols stand, and their records as the reader would hand them out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.formats.registry import group_values, split_text

SHARED = Path(__file__).parents[4] / "shared" / "data"

FAMILIES: dict[str, tuple[str, str]] = {
    "mint": ("mint/dev/*/max*/*.jsonl", "codeact"),
    "tora": ("tora/outputs/*.jsonl", "tir"),
    "mathcoder": ("mathcoder/*/*/*.jsonl", "blocks"),
    "fireact": ("fireact/data/finetune/gpt_format/*.jsonl", "react_chat"),
    "r1_searcher": ("r1_searcher/data/eval_results/*.jsonl", "search_tags"),
    "reflexion_react": ("reflexion_react/hotpotqa_runs/root/ReAct/base/*.txt", "react_text"),
    "hermes": ("hermes/README.md", "hermes"),
    "toolrl": ("toolrl/dataset/*/*.json", "alpaca_tool"),
    "mini_swe_agent": ("mini_swe_agent/tests/test_data/*.traj.json", "mini_swe"),
    "api_bank": ("api_bank/lv1-lv2-samples/*/*.jsonl", "api_bank"),
    "toolbench": ("toolbench/data_example/answer/*/*.json", "toolbench"),
    "tooleval": ("toolbench/toolbench/tooleval/results/default_evalset/*/*.json", "toolbench"),
}
"""Source to the files that hold its traces, and the format every record of them is."""


def records_of(pattern: str) -> Iterator[tuple[Path, Any]]:
    """Every record of the files, in order."""
    for path in sorted(SHARED.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            values = [json.loads(line) for line in text.splitlines() if line.strip()]
        elif path.suffix == ".json":
            whole = json.loads(text)
            is_chat = isinstance(whole, list) and whole and "role" in whole[0]
            values = whole if isinstance(whole, list) and not is_chat else [whole]
        else:
            values = split_text(text)
        for group in group_values(enumerate(values)):
            yield path, group.record

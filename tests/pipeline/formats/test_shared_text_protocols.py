"""Every public trace of the text protocols is recognised, parsed and paired as counted here."""

from typing import Any

import pytest

from pipeline.formats.base import Parsed
from pipeline.formats.registry import detect, split_text
from pipeline.stages.self_written import mark_self_written
from tests.factories import make_frame, make_trajectory
from tests.pipeline.formats.shared_text_protocols import FAMILIES, SHARED, records_of

EXPECTED: dict[str, dict[str, int]] = {
    "mint": {"records": 3616, "calls": 3975, "observations": 1822, "final_answers": 2369, "ground_truths": 3616},
    "tora": {"records": 1319, "calls": 1319, "observations": 1318, "final_answers": 1316, "ground_truths": 1319},
    "mathcoder": {"records": 747, "calls": 1672, "observations": 1672, "final_answers": 747, "ground_truths": 747},
    "fireact": {"records": 2063, "calls": 2250, "observations": 2250, "final_answers": 2063, "ground_truths": 0},
    "r1_searcher": {"records": 500, "calls": 1055, "observations": 1055, "final_answers": 500, "ground_truths": 500},
    "reflexion_react": {
        "records": 512,
        "calls": 1403,
        "observations": 1403,
        "final_answers": 464,
        "ground_truths": 512,
    },
    "hermes": {"records": 2, "calls": 1, "observations": 1, "final_answers": 0, "ground_truths": 0},
    "toolrl": {"records": 400, "calls": 628, "observations": 52, "final_answers": 0, "ground_truths": 0},
    "mini_swe_agent": {"records": 2, "calls": 12, "observations": 12, "final_answers": 1, "ground_truths": 0},
    "api_bank": {"records": 263, "calls": 508, "observations": 508, "final_answers": 0, "ground_truths": 0},
    "toolbench": {"records": 15, "calls": 45, "observations": 45, "final_answers": 9, "ground_truths": 0},
    "tooleval": {"records": 100, "calls": 336, "observations": 132, "final_answers": 68, "ground_truths": 0},
}
"""Counted once and checked by hand against the files. ToolRL's last turn is the call to learn, so it stays unanswered;
tooleval cuts its steps at 100 characters, often before the response."""

NOT_A_TRACE = {"hermes": 3}
"""Parts of the Hermes README around its two conversations."""


@pytest.mark.parametrize("source", FAMILIES)
def test_every_record_is_read_as_its_family(source: str) -> None:
    pattern, family = FAMILIES[source]
    records: list[Any] = [record for _, record in records_of(pattern)]
    if not records:
        pytest.skip(f"no {source} under {SHARED.name}: the public traces are not beside this checkout")
    parsed: list[Parsed] = []
    unclaimed = 0
    for record in records:
        found = detect(record)
        if found is None:
            unclaimed += 1
            continue
        assert found.name == family
        parsed.append(found.parse(record))
    assert unclaimed == NOT_A_TRACE.get(source, 0)
    messages = [item for one in parsed for item in one.messages]
    counts = {
        "records": len(parsed),
        "calls": sum(len(item["tool_calls"] or ()) for item in messages),
        "observations": sum(item["role"] == "tool" for item in messages),
        "final_answers": sum(one.final_answer is not None for one in parsed),
        "ground_truths": sum(one.ground_truth is not None for one in parsed),
    }
    print(source, counts)
    assert counts == EXPECTED[source]
    assert {item["role"] for item in messages} <= {"system", "user", "assistant", "tool"}
    assert not [item for item in messages if item["role"] == "tool" and item["tool_call_id"] is None]
    assert all(one.is_trace and one.messages for one in parsed)


def test_the_parts_of_a_text_file_are_the_whole_text() -> None:
    paths = [path for source in ("reflexion_react", "hermes") for path in SHARED.glob(FAMILIES[source][0])]
    if not paths:
        pytest.skip("the public traces are not beside this checkout")
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert "".join(split_text(text)) == text


def test_no_clean_source_is_called_self_written() -> None:
    rows = []
    for source, (pattern, family) in FAMILIES.items():
        if source == "mint":
            continue
        for _, record in records_of(pattern):
            found = detect(record)
            if found is not None:
                rows.append(make_trajectory(found.parse(record).messages, format=family))
    if not rows:
        pytest.skip("the public traces are not beside this checkout")
    assert mark_self_written(make_frame(*rows)).collect()["reason"].null_count() == len(rows)

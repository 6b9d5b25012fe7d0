"""Chat-shaped formats on the real traces in ../shared/data: every record recognised, and what it reads as."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed
from pipeline.formats.registry import detect

DATA = Path(__file__).parents[4] / "shared" / "data"
CORPORA = "agentpile_fixtures/corpora/fixtures"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")


def records(pattern: str) -> Iterator[Any]:
    """The records of all files under the shared data that match: JSON (a list is many), JSON Lines or Parquet."""
    for path in sorted(DATA.glob(pattern)):
        if path.suffix == ".parquet":
            yield from pl.read_parquet(path).to_dicts()
            continue
        raw = path.read_bytes()
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            yield from (orjson.loads(line) for line in raw.splitlines() if line.strip())
            continue
        if isinstance(value, list):
            yield from value
        else:
            yield value


def outcome_of(record: Any) -> str:
    """The format that takes the record, with what came of it."""
    known = detect(record)
    if known is None:
        return "none"
    try:
        parsed = known.parse(record)
    except FormatError:
        return f"{known.name}: unparsable"
    return known.name if parsed.is_trace else f"{known.name}: question"


def all_parsed(pattern: str) -> list[Parsed]:
    """What every matching record reads as; none may be unknown."""
    parsed = []
    for record in records(pattern):
        known = detect(record)
        assert known is not None
        parsed.append(known.parse(record))
    return parsed


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("tau_bench/historical_trajectories/*.json", {"openai_chat": 100}),
        ("tau_bench/few_shot_data/*.jsonl", {"display_text": 19}),
        ("tau_bench/tau_bench/envs/airline/data/*.json", {"none": 3}),
        ("glaive_demo/**/*.json", {"sharegpt": 300}),
        ("bfcl/BFCL_*.json", {"bfcl: question": 840}),
        ("bfcl/DERIVED_*.jsonl", {"bfcl_replay": 200}),
        ("bfcl/possible_answer/*.json", {"none": 600}),
        ("bfcl/multi_turn_func_doc/*.json", {"none": 162}),
        ("gsm8k/**/*.jsonl", {"questions: question": 1319}),
        ("math_prompts/*.jsonl", {"questions: question": 5000}),
        ("r1_searcher/data/training_set/*.jsonl", {"questions: question": 350}),
        (f"{CORPORA}/tau_bench/*.jsonl", {"openai_chat": 7}),
        (f"{CORPORA}/tau2_bench/*.jsonl", {"openai_chat": 5}),
        (f"{CORPORA}/agentdojo/**/*.json", {"openai_chat": 3}),
        # One of MAST's two is a program's log, without messages.
        (f"{CORPORA}/mast/*.json", {"multi_agent_chat": 1, "multi_agent_chat: unparsable": 1}),
        (f"{CORPORA}/who_and_when/**/*.json", {"multi_agent_chat": 3}),
        (f"{CORPORA}/swe_gym_openhands/**/*.parquet", {"openai_chat": 4}),
        # One of SWE-smith's seven holds "this is not json" for its messages.
        (f"{CORPORA}/swe_smith/**/*.parquet", {"openai_chat": 6, "openai_chat: unparsable": 1}),
        (f"{CORPORA}/swe_rebench_openhands/*.parquet", {"openai_chat": 4}),
        (f"{CORPORA}/swe_rebench_openhands/tools.json", {"none": 5}),
        (f"{CORPORA}/swe_agent_nebius/**/*.parquet", {"swe_agent": 4}),
        (f"{CORPORA}/catchbench_pre/**/*.json", {"none": 5}),
        ("agentpile_fixtures/fixtures/tools/multimodal_messages.json", {"openai_chat": 1}),
        ("agentpile_fixtures/fixtures/tools/*tools*.json", {"none": 4}),
        ("agentpile_fixtures/fixtures/config_mcp.json", {"none": 1}),
        ("agentpile_fixtures/fixtures/not_a_trace.json", {"none": 1}),
        ("agentpile_fixtures/schemas/genai/*.json", {"none": 6}),
    ],
)
def test_every_record_of_a_folder_ends_where_it_belongs(pattern: str, expected: dict[str, int]) -> None:
    assert Counter(outcome_of(record) for record in records(pattern)) == expected


def test_tau_bench_calls_and_observations_pair_one_to_one() -> None:
    parsed = all_parsed("tau_bench/historical_trajectories/*.json")
    calls = [call["id"] for run in parsed for item in run.messages for call in item["tool_calls"] or ()]
    results = [item["tool_call_id"] for run in parsed for item in run.messages if item["role"] == "tool"]
    assert (len(calls), len(results)) == (621, 621)
    assert calls == results
    assert Counter(run.reward for run in parsed) == {0.0: 69, 1.0: 31}
    assert sum(len(run.messages) for run in parsed) == 2962


def test_glaive_calls_and_observations_pair_one_to_one() -> None:
    parsed = all_parsed("glaive_demo/**/*.json")
    calls = [call for run in parsed for item in run.messages for call in item["tool_calls"] or ()]
    answered = [item for run in parsed for item in run.messages if item["role"] == "tool" and item["tool_call_id"]]
    assert (len(calls), len(answered)) == (211, 211)
    assert all(isinstance(orjson.loads(call["arguments"] or ""), dict) for call in calls)
    assert all(run.tools is not None for run in parsed)


def test_a_bfcl_replay_has_an_observation_for_every_call() -> None:
    parsed = all_parsed("bfcl/DERIVED_*.jsonl")
    calls = [call["id"] for run in parsed for item in run.messages for call in item["tool_calls"] or ()]
    results = [item["tool_call_id"] for run in parsed for item in run.messages if item["role"] == "tool"]
    assert (len(calls), len(results)) == (1142, 1142)
    assert calls == results


def test_every_gsm8k_and_math_question_has_a_bare_answer() -> None:
    gsm8k = all_parsed("gsm8k/**/*.jsonl")
    assert all(row.ground_truth and "\n" not in row.ground_truth and "#" not in row.ground_truth for row in gsm8k)
    assert gsm8k[0].ground_truth == "18"
    mathematics = all_parsed("math_prompts/*.jsonl")
    assert [row.ground_truth for row in mathematics[:1]] == ["2"]
    assert sum("boxed" in (row.ground_truth or "boxed") for row in mathematics) == 0


def test_toolbench_train_messages_read_as_legacy_function_calls() -> None:
    chats = [
        messages
        for record in records("toolbench/data_example/answer/*/*.json")
        for messages in record["answer_generation"].get("train_messages", [])
    ]
    assert len(chats) > 50
    counts: Counter[str] = Counter()
    for messages in chats:
        known = detect(messages)
        assert known is not None
        assert known.name == "openai_chat"
        for item in known.parse(messages).messages:
            counts["calls"] += len(item["tool_calls"] or ())
            counts["observations"] += item["role"] == "tool"
            counts["orphans"] += item["role"] == "tool" and item["tool_call_id"] is None
    assert counts["orphans"] == 0
    assert counts["calls"] > counts["observations"] > 0


def test_user_calls_of_tau2_are_not_the_agents_and_a_stray_result_is_an_orphan() -> None:
    parsed = all_parsed(f"{CORPORA}/tau2_bench/*.jsonl")
    names = {call["name"] for run in parsed for item in run.messages for call in item["tool_calls"] or ()}
    assert names == {"lookup_customer", "get_usage", "get_bill", "search_flights", "get_reservation", None}
    orphans = [
        item["content"]
        for run in parsed
        for item in run.messages
        if item["role"] == "tool" and item["tool_call_id"] is None
    ]
    assert orphans == ["stray-result"]

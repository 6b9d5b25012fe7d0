"""Every file of the shared event-format folders: which format reads it, into how many records.

In a rule, `none` counts values that are no trace of any format (tool schemas, configs, capability lists, expected
outputs), `no_trace` session lines without any message, `broken` records that end as `unparsable` for a cause in BROKEN.
"""

from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.errors import FormatError
from pipeline.formats import registry
from pipeline.formats.openhands import OPENHANDS
from pipeline.formats.swe_agent import SWE_AGENT
from tests.pipeline.formats.test_broken_event_records import assert_well_formed

DATA = Path(__file__).parents[3].parent / "shared" / "data"
FOLDERS = ("agentpile_fixtures", "claude_code", "langsmith", "openhands", "swe_agent")
NOT_DATA = {"LICENSE", "PROVENANCE.md", "README.md"}

A = "agentpile_fixtures/corpora/fixtures"
F = "agentpile_fixtures/fixtures"
RULES: tuple[tuple[str, dict[str, int]], ...] = (
    (f"{A}/adp/agenttuning_alfworld/*", {"adp": 2}),
    (f"{A}/adp/agenttuning_kg/*", {"adp": 3}),
    (f"{A}/adp/*", {"adp": 1}),
    (f"{A}/agent_reward_bench/cleaned/*", {"agent_reward_bench": 1}),
    (f"{A}/agent_reward_bench/data/annotations.csv", {"none": 7}),
    (f"{A}/agentdojo/*", {"openai_chat": 1}),
    (f"{A}/catchbench_pre/data/pre/n8n.json", {}),
    (f"{A}/catchbench_pre/*", {"none": 1}),  # capability declarations
    (f"{A}/mast/*", {"multi_agent_chat": 1, "broken": 1}),
    (f"{A}/swe_agent_nebius/*", {"swe_agent": 2}),
    (f"{A}/swe_gym_openhands/*00000-of*", {"openai_chat": 2}),
    (f"{A}/swe_gym_openhands/*", {"openai_chat": 1}),
    (f"{A}/swe_rebench_openhands/tools.json", {"none": 5}),
    (f"{A}/swe_rebench_openhands/*", {"openai_chat": 4}),
    (f"{A}/swe_smith/*00000-of*", {"openai_chat": 3}),
    (f"{A}/swe_smith/*00001-of*", {"openai_chat": 3, "broken": 1}),
    (f"{A}/tau2_bench/alpha-model.jsonl", {"openai_chat": 2}),
    (f"{A}/tau2_bench/beta-model.jsonl", {"openai_chat": 3}),
    (f"{A}/tau_bench/model-a.jsonl", {"openai_chat": 4}),
    (f"{A}/tau_bench/model-gem.jsonl", {"openai_chat": 2}),
    (f"{A}/tau_bench/model-think.jsonl", {"openai_chat": 1}),
    (f"{A}/trace_commons/sessions/claude_code/*", {"claude_code": 1}),
    (f"{A}/trace_commons/sessions/cursor/*", {"none": 1}),
    (f"{A}/trail/data/gaia*", {"openinference": 3, "broken": 1}),
    (f"{A}/trail/data/swe_bench*", {"openinference": 2}),
    (f"{A}/who_and_when/*", {"multi_agent_chat": 1}),
    (f"{F}/atif_multiagent.json", {"atif": 1}),
    (f"{F}/atif_two.jsonl", {"atif": 2}),
    (f"{F}/claude_code/subagents/*", {"claude_code": 1, "no_trace": 1}),  # the first line names no agent
    (f"{F}/claude_code/*", {"claude_code": 1}),
    (f"{F}/config_mcp.json", {"none": 1}),
    (f"{F}/grade/agent_reward_bench_*", {"agent_reward_bench": 1}),
    (f"{F}/grade/c_tau2_parallel_pairing.json", {"openai_chat": 3}),
    (f"{F}/grade/scienceworld_fixture.expected.jsonl", {"none": 2}),
    (f"{F}/grade/scienceworld_fixture.json", {"sharegpt": 1, "openai_chat": 1}),
    (f"{F}/grade/swe_agent_synthetic.json", {"swe_agent": 1}),
    (f"{F}/grade/*", {"openai_chat": 1}),
    (f"{F}/not_a_trace.json", {"none": 1}),
    (f"{F}/otlp/openai_agents_*", {"openinference": 1}),
    (f"{F}/otlp/pydantic_ai_2.58.0.json", {"otlp_genai": 2}),
    (f"{F}/otlp/pydantic_ai_2.58.0_delegation.json", {"otlp_genai": 1}),
    (f"{F}/otlp/versions.json", {"none": 1}),
    (f"{F}/tools/multimodal_messages.json", {"openai_chat": 1}),
    (f"{F}/tools/*", {"none": 1}),
    ("agentpile_fixtures/schemas/*", {"none": 1}),
    ("claude_code/tests/sample_session.json", {"claude_code": 1}),
    ("claude_code/tests/sample_session.jsonl", {"claude_code": 1, "none": 1}),  # a summary line names no session
    ("langsmith/js/*", {"anthropic_managed": 1}),
    ("langsmith/python/*", {"langsmith": 1}),
    ("openhands/evaluation/*", {"openhands": 3}),
    ("openhands/tests/*", {"openhands": 2}),
    ("swe_agent/*.traj", {"swe_agent": 1}),
)
"""The first pattern that fits a file says what each such file holds."""

BROKEN = (
    "trace (a JSON text): want an object",  # a TRAIL row that says it is not JSON
    "want a JSON list of messages, found text that is not JSON",  # a swe_smith row that says so too
    "want messages with roles, found a program's log",  # MAST keeps one run as its log file
)

FILES = [
    path.relative_to(DATA).as_posix()
    for folder in FOLDERS
    for path in sorted((DATA / folder).rglob("*"))
    if path.is_file() and path.name not in NOT_DATA
]


def rule_of(name: str) -> tuple[str, dict[str, int]]:
    """The rule for a file; every file must have one."""
    return next(rule for rule in RULES if fnmatch(name, rule[0]))


def values_of(path: Path) -> list[Any]:
    """The values in a file: rows of Parquet, one JSON value (a list opened), else one value a line."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    raw = path.read_bytes()
    try:
        whole = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return [_line(line) for line in raw.splitlines() if line.strip()]
    return whole if isinstance(whole, list) else [whole]


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return line.decode()


def outcomes_of(path: Path) -> dict[str, int]:
    """How many records of which format a file holds; raises whatever a parser raises but FormatError."""
    found: Counter[str] = Counter()
    faults: list[str] = []
    for group in registry.group_values(enumerate(values_of(path))):
        known = registry.detect(group.record)
        if known is None:
            found["none"] += 1
            continue
        try:
            parsed = known.parse(group.record)
        except FormatError as error:
            faults.append(str(error))
            continue
        assert_well_formed(parsed, path)
        found[known.name if parsed.is_trace else "no_trace"] += 1
    assert [fault for fault in faults if not any(said in fault for said in BROKEN)] == []
    return dict(found) | ({"broken": len(faults)} if faults else {})


pytestmark = pytest.mark.skipif(not FILES, reason="../shared/data is not beside this checkout")


def test_every_rule_fits_a_file() -> None:
    assert {rule_of(name)[0] for name in FILES} == {pattern for pattern, _ in RULES}


@pytest.mark.parametrize("name", FILES)
def test_each_file_holds_what_its_rule_says(name: str) -> None:
    assert outcomes_of(DATA / name) == rule_of(name)[1]


def test_an_openhands_call_is_tied_to_its_observation_throughout() -> None:
    path = DATA / "openhands/evaluation/benchmarks/multi_swe_bench/examples/output.jsonl"
    for line in path.read_bytes().splitlines():
        record = orjson.loads(line)
        parsed = OPENHANDS.parse(record)
        calls = [call["id"] for item in parsed.messages for call in item["tool_calls"] or ()]
        answers = [item["tool_call_id"] for item in parsed.messages if item["role"] == "tool"]
        events = [event for event in record["history"] if "tool_call_metadata" in event]
        assert len(calls) == sum("action" in event for event in events)
        assert answers == [event["tool_call_metadata"]["tool_call_id"] for event in events if "observation" in event]
        assert set(answers) <= set(calls)


def test_a_swe_agent_run_holds_every_step_and_answers_every_call() -> None:
    for path in (DATA / "swe_agent").rglob("*.traj"):
        record = orjson.loads(path.read_bytes())
        parsed = SWE_AGENT.parse(record)
        calls = [call["id"] for item in parsed.messages for call in item["tool_calls"] or ()]
        answers = [item["tool_call_id"] for item in parsed.messages if item["role"] == "tool"]
        assert answers == calls, path.name
        # BabyEncryption's history leaves out one of its steps; function_calling_simple has no steps at all.
        missing = {"BabyEncryption.traj": 1}.get(path.name, 0)
        if record.get("trajectory"):
            assert len(calls) == len(record["trajectory"]) - missing, path.name

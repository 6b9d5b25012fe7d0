"""All public traces landed, one folder a source: every record is a row, and every schema is recognised."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from pipeline.config import CurationConfig
from pipeline.curation.summary import Summary
from pipeline.curation.trajectories import write_trajectories
from pipeline.frames import EVIDENCE_DTYPE
from pipeline.landing.zone import land
from pipeline.ledger import scan_decisions
from pipeline.stages.self_written import mark_self_written
from pipeline.store import TableStore

SHARED = Path(__file__).parents[2] / "shared" / "data"
LABELS = SHARED / "mint" / "DERIVED_self_written_observations.jsonl"
DAY = "2025-03-01"

ROWS: dict[str, dict[str, int]] = {
    "agentpile_fixtures": {
        "adp": 17,
        "agent_reward_bench": 7,
        "atif": 3,
        "claude_code": 19,
        "claude_code: no attempt": 6,
        "multi_agent_chat": 4,
        "openai_chat": 38,
        "openinference": 7,
        "otlp_genai": 3,
        "sharegpt": 1,
        "swe_agent": 5,
        "unparsable": 3,
        "none": 31,
    },
    "api_bank": {"api_bank": 263, "unparsable": 1, "none": 21},
    "bfcl": {"bfcl: no attempt": 840, "bfcl_replay": 200, "none": 764},
    "claude_code": {"claude_code": 2, "none": 3},
    "fireact": {"react_chat": 2063, "none": 2},
    "glaive_demo": {"sharegpt": 300, "none": 2},
    "gsm8k": {"questions: no attempt": 1319, "none": 2},
    "hermes": {"hermes": 2, "none": 5},
    "langsmith": {"anthropic_managed": 2, "langsmith": 2, "none": 2},
    "math_prompts": {"questions: no attempt": 5000, "none": 2},
    "mathcoder": {"blocks": 747, "none": 2},
    "mini_swe_agent": {"mini_swe": 2, "none": 2},
    "mint": {"codeact": 3616, "none": 2605},
    "openhands": {"openhands": 5, "none": 2},
    "r1_searcher": {"questions: no attempt": 350, "search_tags": 500, "none": 2},
    "reflexion_react": {"react_text": 512, "none": 2},
    "swe_agent": {"swe_agent": 22, "none": 2},
    "tau_bench": {"display_text": 19, "openai_chat": 100, "none": 6},
    "toolbench": {"toolbench": 115, "none": 2},
    "toolrl": {"alpaca_tool": 400, "none": 2},
    "tora": {"tir": 1319, "none": 2},
}
"""Rows by source and format. `none`: no format knows the record, a row `not_a_trace`; `no attempt`: a format does, and
it holds a question, or session lines without a message."""

UNPARSABLE = {
    ("corpora/fixtures/mast/MAD_full_dataset.json", 1): "found a program's log of 45 characters",  # one run as its log
    ("corpora/fixtures/swe_smith/data/tool-00001-of-00008.parquet", 2): "text that is not JSON: 'this is not json'",
    ("corpora/fixtures/trail/data/gaia-00000-of-00001-33a2e72d362d688a.parquet", 2): "want an object, found nothing",
    ("lv1-lv2-samples/level-1-given-desc/SearchEngine-level-1-1.jsonl", 0): "an empty file",
}
"""Every record that cannot be read: its place inside its source, and what is said about it."""

NO_TRACES = re.compile(
    r"(?:^|/)(?:LICENSE|PROVENANCE\.md|SCHEMAS\.md|DERIVED_README\.md|DERIVED_(?:self_written|necessity)\w*\.jsonl)$"
    r"|\.csv$|^api_bank/.*/init_database/|^bfcl/.*/(?:multi_turn_func_doc|possible_answer)/|^tau_bench/.*/wiki\.md$"
    r"|^tau_bench/.*/envs/\w+/data/|^agentpile_fixtures/.*/(?:schemas/|catchbench_pre/|cursor/|config_mcp|versions)"
    r"|^agentpile_fixtures/.*/tools/(?!multimodal)|^agentpile_fixtures/.*/(?:not_a_trace\.json|tools\.json)$"
    r"|\.expected\.jsonl$|^(?:gsm8k|math_prompts)/|^bfcl/[\d-]+/BFCL_v4_\w+\.json$|^r1_searcher/.*/training_set/"
)
"""Licences, notes, databases, tool schemas, labels and question lists."""

Rows = pl.DataFrame


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    """The store all folders were landed in."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not beside this checkout")
    store = TableStore(tmp_path_factory.mktemp("shared"))
    for folder in sorted(SHARED.iterdir()):
        if folder.is_dir():
            land([folder], store.root / "raw", folder.name, DAY, contents=True)
    return store


@pytest.fixture(scope="module")
def summary(store: TableStore) -> Summary:
    """What writing the trajectories of all of them said."""
    return write_trajectories(store, DAY, CurationConfig())


@pytest.fixture(scope="module")
def rows(store: TableStore, summary: Summary) -> Rows:
    """The trajectories."""
    return store.scan("trajectories", DAY).with_columns(pl.col("reason").cast(pl.String)).collect()


def simple_count(source: str, path: Path) -> int | None:
    """The records of a file as anybody would count them; None where sessions or texts hold them."""
    if path.stat().st_size == 0 or path.suffix in (".traj", ".csv") or path.name in ("LICENSE", "PROVENANCE.md"):
        return 1
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows
    if source == "api_bank":
        return 1  # a dialogue's lines are one file, and so is each database
    if source in ("agentpile_fixtures", "claude_code", "langsmith", "hermes") or path.suffix not in (".json", ".jsonl"):
        return None
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl" or source == "bfcl":
        return sum(not line.isspace() for line in text.splitlines(keepends=True))
    whole: Any = json.loads(text)
    if source == "mini_swe_agent" or (isinstance(whole, dict) and "/default_evalset/" not in path.as_posix()):
        return 1
    return len(whole)


def test_every_record_of_every_file_is_one_row(store: TableStore, summary: Summary, rows: Rows) -> None:
    found = Counter(rows["raw_path"].to_list())
    raw = store.root / "raw"
    landed = {path.relative_to(raw).as_posix(): path for path in raw.rglob("*") if path.is_file()}
    assert set(found) == set(landed)
    counted = {name: simple_count(name.partition("/")[0], path) for name, path in landed.items()}
    assert {name: found[name] for name, count in counted.items() if count is not None and found[name] != count} == {}
    assert sum(count is not None for count in counted.values()) > 450
    assert summary.rows_in == sum(summary.rows_by_reason.values()) == rows.height
    assert rows["trajectory_id"].is_unique().all()


def test_every_schema_is_recognised(rows: Rows) -> None:
    kind = (
        pl.when(pl.col("reason") == "unparsable")
        .then(pl.col("reason"))
        .when(pl.col("format") == "unknown")
        .then(pl.lit("none"))
        .when(pl.col("reason") == "not_a_trace")
        .then(pl.col("format") + ": no attempt")
        .otherwise(pl.col("format"))
    )
    found: dict[str, dict[str, int]] = {}
    for source, name, count in rows.group_by("source", kind.alias("kind")).len().rows():
        found.setdefault(source, {})[name] = count
    assert found == ROWS
    assert set(rows["reason"].unique()) == {None, "not_a_trace", "unparsable"}


def test_few_traces_are_unparsable_and_each_for_a_named_cause(store: TableStore, rows: Rows) -> None:
    places = rows.filter(pl.col("reason") == "unparsable").select("trajectory_id", "raw_path", "raw_index")
    told = scan_decisions(store).filter(pl.col("reason").cast(pl.String) == "unparsable").collect()
    found = {
        (row["raw_path"].split("/", 2)[2], row["raw_index"]): json.loads(row["evidence"])["error"]
        for row in places.join(told, on="trajectory_id").to_dicts()
    }
    assert set(found) == set(UNPARSABLE)
    assert [place for place, cause in UNPARSABLE.items() if cause not in found[place]] == []
    traces = rows.filter(pl.col("reason").is_null()).height
    assert len(found) / (traces + len(found)) <= 0.005


def test_files_that_hold_no_traces_end_as_such(rows: Rows) -> None:
    held = rows.group_by("raw_path").agg(pl.col("reason").unique())
    none = {row["raw_path"] for row in held.to_dicts() if row["reason"] == ["not_a_trace"]}
    named = {name for name in held["raw_path"] if NO_TRACES.search(name)}
    assert named - none == set()
    assert len(named) >= 75
    assert none - named == set()


def test_a_trace_has_messages_and_only_known_roles(rows: Rows) -> None:
    traces = rows.filter(pl.col("reason").is_null())
    roles = traces.select(pl.col("messages").explode().struct.field("role")).drop_nulls()["role"].unique()
    assert set(roles) == {"system", "user", "assistant", "tool"}
    bare = traces.filter(pl.col("messages").list.len() == 0)
    assert set(bare["source"]) == {"agentpile_fixtures"}  # fixtures of attempts that never began
    assert bare.height <= 10


def test_what_the_assistant_wrote_for_the_tool_is_found_in_mint(rows: Rows) -> None:
    listed = {
        (label["model"], label["setting"], label["task"], label["task_id"])
        for label in map(json.loads, LABELS.read_text(encoding="utf-8").splitlines())
    }
    mint = rows.filter(pl.col("source") == "mint", pl.col("reason").is_null()).lazy()
    marked = mark_self_written(mint.with_columns(evidence=pl.lit(None, EVIDENCE_DTYPE))).collect()
    flagged: set[tuple[Any, ...]] = set()
    for path, metadata, reason in marked.select("raw_path", "metadata", pl.col("reason").cast(pl.String)).iter_rows():
        *_, model, setting, name = path.split("/")
        if reason is not None:
            flagged.add((model, setting, name.removesuffix(".jsonl"), json.loads(metadata)["task_id"]))
    outside = marked.height - len(listed)
    print(f"mint: {len(flagged & listed)} of {len(listed)} caught, {len(flagged - listed)} false alarms of {outside}")
    assert (marked.height, len(listed)) == (3616, 794)
    assert len(flagged & listed) / len(listed) >= 0.99
    assert len(flagged - listed) / outside <= 0.005

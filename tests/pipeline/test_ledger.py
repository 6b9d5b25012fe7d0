"""What stands and what stood."""

from pathlib import Path

import polars as pl
import pytest

from pipeline.ledger import decisions_of, record, scan_decisions, scan_history
from pipeline.reasons import REASON_DTYPE, Kind, Reason
from pipeline.store import TableStore

DAY = "2025-01-01"


def decided(**reasons: str | None) -> pl.DataFrame:
    marked = pl.DataFrame(
        {"trajectory_id": list(reasons), "reason": list(reasons.values()), "evidence": ['{"k":1}' for _ in reasons]},
        schema_overrides={"reason": REASON_DTYPE},
    )
    return decisions_of(marked, stage="screened", day=DAY, config_hash="c0", versions={"b": "2", "a": "1"})


def test_only_rows_that_are_out_are_decisions_and_their_kind_follows_the_reason() -> None:
    rows = decided(z=None, b="wrong_answer", a="judge_failed", c="low_confidence").to_dicts()
    assert [(row["trajectory_id"], row["reason"], row["kind"]) for row in rows] == [
        ("a", "judge_failed", "retry"),
        ("b", "wrong_answer", "drop"),
        ("c", "low_confidence", "review"),
    ]
    assert rows[0]["versions"] == '{"a":"1","b":"2"}'
    assert rows[0]["evidence"] == '{"k":1}'


def test_every_reason_has_exactly_one_kind() -> None:
    assert {reason.kind for reason in Reason} == set(Kind)
    assert Reason.UNREADABLE.kind is Kind.RETRY
    assert Reason.UNPARSABLE.kind is Kind.DROP


def test_a_decision_that_no_longer_stands_is_kept_by_version(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    record(store, decided(a="wrong_answer"), stage="screened", day=DAY)
    record(store, decided(b="overlong"), stage="screened", day=DAY)
    assert scan_decisions(store).collect()["trajectory_id"].to_list() == ["b"]
    history = scan_history(store).collect()
    assert history["trajectory_id"].to_list() == ["a"]
    assert len(history["version"][0]) == 12


@pytest.mark.parametrize("times", [1, 3])
def test_recording_the_same_again_adds_no_history(tmp_path: Path, times: int) -> None:
    store = TableStore(tmp_path)
    for _ in range(times + 1):
        record(store, decided(a="wrong_answer"), stage="screened", day=DAY)
    assert scan_history(store).collect().height == 0
    assert scan_decisions(store).collect().height == 1

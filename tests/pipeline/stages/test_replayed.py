"""What the verdicts of its calls do to a trajectory."""

import orjson
import polars as pl
import pytest

from pipeline.replay.config import ReplayConfig
from pipeline.schema import REPLAYS
from pipeline.stages.replayed import mark_replayed
from tests.factories import make_frame, make_trajectory, reasons_of


def replays(*calls: tuple[str, str | None], origin: str = "environment", of: str = "t0") -> pl.LazyFrame:
    """The calls of one trajectory: (verdict, environment)."""
    rows = [
        {
            "trajectory_id": of,
            "step_index": k,
            "message_index": 2 * k + 1,
            "tool_name": f"tool{k}",
            "origin": origin,
            "environment": environment,
            "verdict": verdict,
            "recorded": f"recorded {k}",
            "rerun": f"rerun {k}",
        }
        for k, (verdict, environment) in enumerate(calls)
    ]
    return pl.LazyFrame(rows, schema=REPLAYS)


def marked(calls: pl.LazyFrame, **config: str) -> str | None:
    """The reason of a trajectory with those calls."""
    return reasons_of(mark_replayed(make_frame(make_trajectory()), calls, ReplayConfig.model_validate(config)))[0]


@pytest.mark.parametrize(
    ("verdict", "environment", "setting", "kept", "reviewed", "dropped"),
    [
        ("unexecutable", "python", "unexecutable", None, "unexecutable", "unexecutable_dropped"),
        ("unverified", "python", "unexecutable", None, "unexecutable", "unexecutable_dropped"),
        ("unexecutable", None, "unmapped", None, "unexecutable", "unexecutable_dropped"),
        ("nondeterministic", "python", "nondeterministic", None, "nondeterministic", "nondeterministic_dropped"),
    ],
)
def test_doubt_does_what_the_configuration_says(
    verdict: str, environment: str | None, setting: str, kept: str | None, reviewed: str, dropped: str
) -> None:
    calls = replays(("match", "python"), (verdict, environment))
    found = [marked(calls, **{setting: choice}) for choice in ("keep", "review", "drop")]
    assert found == [kept, reviewed, dropped]
    assert marked(calls) is None


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ([("match", "python")], None),
        ([("mismatch", "python")], "observation_mismatch"),
        ([("failed", "python")], "replay_failed"),
        ([("failed", "python"), ("mismatch", "python")], "observation_mismatch"),
        ([("unexecutable", None), ("mismatch", "python")], "observation_mismatch"),
        ([("nondeterministic", "python"), ("failed", "python")], "replay_failed"),
        ([], None),
    ],
)
def test_the_gravest_verdict_decides(calls: list[tuple[str, str | None]], reason: str | None) -> None:
    strict = {"unexecutable": "drop", "unmapped": "drop", "nondeterministic": "drop"}
    assert marked(replays(*calls), **strict) == reason


def test_unmapped_and_unexecutable_are_chosen_apart() -> None:
    assert marked(replays(("unexecutable", None)), unexecutable="drop") is None
    assert marked(replays(("unexecutable", "python")), unmapped="drop") is None


def test_what_the_assistant_claimed_is_no_gate() -> None:
    assert marked(replays(("mismatch", "python"), origin="assistant")) is None


def test_the_evidence_is_the_first_such_call_and_counts_them_all() -> None:
    calls = replays(("match", "python"), ("mismatch", "python"), ("mismatch", "python"), ("unexecutable", None))
    row = mark_replayed(make_frame(make_trajectory()), calls, ReplayConfig()).collect().row(0, named=True)
    told = orjson.loads(row["evidence"])
    assert (told["step_index"], told["message_index"], told["tool_name"]) == (1, 3, "tool1")
    assert (told["recorded"], told["rerun"], told["environment"]) == ("recorded 1", "rerun 1", "python")
    assert {name: count for name, count in told["calls"].items() if count} == {
        "match": 1,
        "mismatch": 2,
        "unexecutable": 1,
    }


def test_rows_keep_their_order_and_earlier_reasons() -> None:
    frame = make_frame(*(make_trajectory(reason="truncated" if k == 1 else None) for k in range(3)))
    calls = pl.concat([replays(("mismatch", "python"), of=name) for name in ("t2", "t1")])
    assert reasons_of(mark_replayed(frame, calls, ReplayConfig())) == [None, "truncated", "observation_mismatch"]

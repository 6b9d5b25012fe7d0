"""What every gate promises, whatever the trajectory: add a gate to GATES and it is held to it."""

from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.config import LengthGate, PrivacyGate, StructureGate, Unknown
from pipeline.frames import EVIDENCE_DTYPE
from pipeline.stages.empty import mark_empty
from pipeline.stages.length import mark_overlong
from pipeline.stages.pairing import mark_orphan_observation, mark_unpaired_call
from pipeline.stages.privacy import find_spans, mark_personal_data, mark_secret, mark_unusable_truth
from pipeline.stages.repeated import mark_repeated_call
from pipeline.stages.tools import mark_bad_arguments, mark_undeclared_tool
from pipeline.stages.truncated import mark_truncated
from tests.factories import make_frame
from tests.strategies import trajectories

Gate = Callable[[pl.LazyFrame], pl.LazyFrame]

REVIEWING = StructureGate(undeclared_tool_unknown=Unknown.REVIEW, bad_schema=Unknown.REVIEW, max_repeats=2)
DROPPING = PrivacyGate(secrets="drop", personal_data="review")

GATES: list[tuple[str, Gate]] = [
    ("empty", mark_empty),
    ("truncated", mark_truncated),
    ("unpaired_call", mark_unpaired_call),
    ("orphan_observation", mark_orphan_observation),
    ("undeclared_tool", lambda lf: mark_undeclared_tool(lf, REVIEWING)),
    ("bad_arguments", lambda lf: mark_bad_arguments(lf, REVIEWING)),
    ("repeated_call", lambda lf: mark_repeated_call(lf, REVIEWING)),
    ("overlong", lambda lf: mark_overlong(lf, LengthGate())),
    ("secret", lambda lf: mark_secret(lf, DROPPING)),
    ("personal_data", lambda lf: mark_personal_data(lf, DROPPING)),
    ("unusable_truth", mark_unusable_truth),
]

each_gate = pytest.mark.parametrize("gate", [gate for _, gate in GATES], ids=[name for name, _ in GATES])


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Up to four trajectories with evidence beside each earlier reason, and their spans."""
    rows = draw(st.lists(trajectories(), max_size=4))
    frame = make_frame(*rows).collect()
    told = pl.when(pl.col("reason").is_not_null()).then(pl.lit('{"earlier":1}')).cast(EVIDENCE_DTYPE)
    return frame.with_columns(evidence=told).join(find_spans(frame), on="trajectory_id", how="left")


@each_gate
@settings(max_examples=25, deadline=None)
@given(frame=frames())
def test_a_gate_keeps_rows_columns_and_earlier_reasons_and_twice_is_once(gate: Gate, frame: pl.DataFrame) -> None:
    once = gate(frame.lazy()).collect()
    assert_frame_equal(once.drop("reason", "evidence"), frame.drop("reason", "evidence"))
    assert once.schema == frame.schema
    spoken = frame["reason"].is_not_null()
    assert_frame_equal(once.filter(spoken), frame.filter(spoken))
    assert (once["reason"].is_null() == once["evidence"].is_null()).all()
    assert_frame_equal(gate(once.lazy()).collect(), once)


@each_gate
@settings(max_examples=8, deadline=None)
@given(frame=frames())
def test_a_row_is_marked_the_same_alone_in_a_crowd_and_streamed(gate: Gate, frame: pl.DataFrame) -> None:
    together = gate(frame.lazy()).collect()
    alone = [gate(part.lazy()).collect() for part in frame.iter_slices(1)]
    assert_frame_equal(pl.concat([together.clear(), *alone]), together)
    assert_frame_equal(gate(frame.lazy()).collect(engine="streaming"), together)

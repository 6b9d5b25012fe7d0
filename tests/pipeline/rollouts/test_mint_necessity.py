"""Necessity by outcome: the labels that come with the MINT traces, found again by our own statistics."""

import polars as pl
import pytest

from benchmarks.mint_necessity import DATA, agreement, labels_of, read_labels, read_outcomes

pytestmark = pytest.mark.skipif(not (DATA / "dev").is_dir(), reason="the shared data is not there")


def test_every_label_is_found_again_from_the_recorded_outcomes() -> None:
    found = labels_of(read_outcomes(DATA))
    told = read_labels(DATA)
    assert found.height == told.height == 1808
    result = agreement(found, told)
    assert result == {"rows": 1808, "same": 1808, "other": []}


def test_a_label_that_is_another_is_named() -> None:
    told = read_labels(DATA)
    turned = told.with_columns(label=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("else")).otherwise("label"))
    result = agreement(labels_of(read_outcomes(DATA)), turned)
    assert result["same"] == told.height - 1
    [other] = result["other"]
    assert other["told"]["label"] == "else"

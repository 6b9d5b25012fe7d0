"""Tables and pictures that the UI shows of a partition."""

import urllib.parse
from xml.etree import ElementTree

import polars as pl
import pytest

from assets.metadata import funnel_picture, reason_table, sample_table
from pipeline.reasons import Reason

_SVG = "{http://www.w3.org/2000/svg}"


def _drawn(counts: dict[str, int]) -> tuple[list[str], dict[str, str]]:
    """The labels of a picture from above, and the path of each colour."""
    markdown = funnel_picture(counts)
    assert markdown.startswith("![funnel](<data:image/svg+xml,")
    assert markdown.endswith(">)")
    picture = ElementTree.fromstring(urllib.parse.unquote(markdown[len("![funnel](<data:image/svg+xml,") : -2]))
    paths = {path.attrib["fill"]: path.attrib["d"] for path in picture.iter(f"{_SVG}path")}
    return [str(text.text) for text in picture.iter(f"{_SVG}text")], paths


def test_the_picture_has_a_bar_a_reason_coloured_by_kind() -> None:
    labels, paths = _drawn({"empty": 5, "keep": 10, "unknown_outcome": 1, "unreadable": 1})
    assert labels == ["keep 10", "empty 5", "unknown_outcome 1", "unreadable 1"]
    assert paths == {
        "seagreen": "M190 3h130v9H190",
        "firebrick": "M190 20h65v9H190",
        "darkorange": "M190 37h13v9H190",
        "steelblue": "M190 54h13v9H190",
    }


@pytest.mark.parametrize(
    "counts", [{}, {"keep": 0}, {reason.value: 1_234_567 for reason in Reason} | {"keep": 9_999_999}]
)
def test_the_picture_is_always_short_enough_to_be_shown_without_a_click(counts: dict[str, int]) -> None:
    labels, _ = _drawn(counts)
    assert len(labels) <= 8
    assert len(funnel_picture(counts)) < 1000
    shown = sum(int(label.rpartition(" ")[2].replace(",", "")) for label in labels)
    assert shown == sum(counts.values())  # the last bar holds the rest


def test_the_table_of_reasons_begins_with_the_kept_and_goes_on_by_size() -> None:
    assert reason_table({"empty": 1, "duplicate": 5, "keep": 2}).splitlines() == [
        "| reason | rows | share | kind |",
        "|---|---:|---:|---|",
        "| keep | 2 | 25.0% | keep |",
        "| duplicate | 5 | 62.5% | drop |",
        "| empty | 1 | 12.5% | drop |",
    ]


def test_no_cell_of_a_sample_can_break_out_of_its_table() -> None:
    rows = pl.DataFrame({"source": ["a|b", "<img src=x onerror=alert(1)>", "x\ny", None], "n": [1, 2, 3, 4]})
    assert sample_table(rows).splitlines()[2:] == [
        "| a\\|b | 1 |",
        "| &lt;img src=x onerror=alert(1)&gt; | 2 |",
        "| x y | 3 |",
        "|  | 4 |",
    ]

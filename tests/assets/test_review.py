"""`toolwise review`: a person's answer is recorded, decides the row at the next screening, and is asked for once."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.config import CurationConfig
from pipeline.curation.sft_set import write_sft_set
from pipeline.export.snapshot import latest
from pipeline.ledger import scan_decisions
from pipeline.reviews import read_reviews, waiting
from pipeline.store import TableStore
from tests.curating import Toolwise, curate_days, land_records, price_chat, screened_rows

ONE, TWO = "2025-03-01", "2025-03-02"
TOML = '[privacy]\npersonal_data = "review"\n'
CAREFUL = CurationConfig.model_validate({"privacy": {"personal_data": "review"}})
MAIL = "anna.petersen@harbour-office.com"


@pytest.fixture
def waiting_rows(toolwise: Toolwise) -> list[str]:
    """The ids of three rows that wait on two days, in the order they are asked about, beside three that do not."""
    toolwise.config(TOML)
    for day, first, number in ((ONE, 1, 2), (TWO, 5, 1)):
        doubtful = [price_chat(first, good, mark=f" {MAIL}") for good in range(number)]
        land_records(toolwise.store, day, [*doubtful, *(price_chat(first + 1, good) for good in range(number))])
    curate_days(toolwise.store, [ONE, TWO], CAREFUL)
    return waiting(toolwise.store)["trajectory_id"].to_list()


def reason_of(store: TableStore, trajectory_id: str) -> str | None:
    """The row's reason in the screened table, on whichever day."""
    [found] = [row for day in (ONE, TWO) for key, row in screened_rows(store, day).items() if key == trajectory_id]
    return found["reason"]


def reviews_of(store: TableStore) -> list[dict[str, Any]]:
    return read_reviews(store).to_dicts()


def in_the_set(store: TableStore) -> set[str]:
    folder = latest(store, "sft")
    assert folder is not None
    return set(pl.read_parquet(folder / "data" / "*.parquet", columns=["trajectory_id"])["trajectory_id"].to_list())


def test_rows_wait_and_are_listed(toolwise: Toolwise, waiting_rows: list[str]) -> None:
    assert len(waiting_rows) == 3
    told = toolwise.done("review", "--list")
    for trajectory_id in waiting_rows:
        assert f"{trajectory_id}" in told
    assert told.count("screened  suspected_personal_data") == 3
    assert "3 waiting\n" in told
    assert "1 waiting\n" in toolwise.done("review", "--list", "--day", TWO)
    assert reviews_of(toolwise.store) == []


def test_answers_by_id_decide_the_rows_and_the_kept_one_reaches_the_set(
    toolwise: Toolwise, waiting_rows: list[str]
) -> None:
    kept, dropped, open_ = waiting_rows
    told = toolwise.done("review", "--keep", kept[:10], "--drop", dropped, "--by", "ada")
    assert "3 waiting, 2 answered" in told
    assert reason_of(toolwise.store, kept) is None
    assert reason_of(toolwise.store, dropped) == "rejected"
    assert reason_of(toolwise.store, open_) == "suspected_personal_data"
    assert kept in in_the_set(toolwise.store)
    assert not {dropped, open_} & in_the_set(toolwise.store)
    assert waiting(toolwise.store)["trajectory_id"].to_list() == [open_]
    recorded = {row["trajectory_id"]: row for row in reviews_of(toolwise.store)}
    assert {key: (row["answer"], row["by"], row["reason"]) for key, row in recorded.items()} == {
        kept: ("keep", "ada", "suspected_personal_data"),
        dropped: ("drop", "ada", "suspected_personal_data"),
    }
    assert all(row["at"].startswith("20") and row["at"].endswith("+00:00") for row in recorded.values())


def test_the_decision_about_a_rejected_row_says_who_and_when(toolwise: Toolwise, waiting_rows: list[str]) -> None:
    toolwise.done("review", "--drop", waiting_rows[0], "--by", "ada")
    [decided] = (
        scan_decisions(toolwise.store)
        .filter(pl.col("trajectory_id") == waiting_rows[0], pl.col("stage") == "screened")
        .collect()
        .to_dicts()
    )
    assert (decided["reason"], decided["kind"]) == ("rejected", "drop")
    assert '"was":"suspected_personal_data","by":"ada","at":"20' in decided["evidence"]
    told = toolwise.done("why", waiting_rows[0])
    assert "drop: rejected" in told
    assert "review: suspected_personal_data (superseded)" in " ".join(told.split())


def test_the_rows_are_shown_redacted_and_keys_answer(toolwise: Toolwise, waiting_rows: list[str]) -> None:
    told = toolwise.done("review", "--by", "ada", "--no-apply", typed="x\nk\ns\nd\n")
    assert "3 waiting, 2 answered" in told
    assert MAIL not in told
    assert told.count("[REDACTED:") >= 6
    assert "user: " in told
    assert "calls price(" in told
    assert f"answers take effect when the day is screened again: {ONE}, {TWO}" in told
    assert [(row["trajectory_id"], row["answer"]) for row in reviews_of(toolwise.store)] == sorted(
        [(waiting_rows[0], "keep"), (waiting_rows[2], "drop")]
    )
    assert waiting(toolwise.store)["trajectory_id"].to_list() == [waiting_rows[1]]
    assert reason_of(toolwise.store, waiting_rows[0]) == "suspected_personal_data"


@pytest.mark.parametrize(
    ("typed", "status", "answered"), [("q\n", 0, 0), ("k\nq\n", 0, 1), ("k\n", 130, 1), ("", 130, 0)]
)
def test_quitting_or_the_end_of_input_keeps_what_was_answered(
    toolwise: Toolwise, waiting_rows: list[str], typed: str, status: int, answered: int
) -> None:
    outcome = toolwise("review", "--no-apply", typed=typed)
    assert outcome.status == status
    assert "Traceback" not in outcome.err
    assert [row["trajectory_id"] for row in reviews_of(toolwise.store)] == waiting_rows[:answered]


def test_an_answer_survives_reruns_and_equal_inputs_write_equal_bytes(
    toolwise: Toolwise, waiting_rows: list[str]
) -> None:
    store = toolwise.store
    toolwise.done("review", "--keep", waiting_rows[0], "--drop", waiting_rows[1])

    def bytes_of(day: str) -> list[bytes]:
        return [
            path.read_bytes() for path in [*store.shards("screened", day), *store.folder("decisions", day).glob("*")]
        ]

    before, snapshot = bytes_of(ONE), latest(store, "sft")
    toolwise.done("curate", "--day", ONE, "--until", "judged")
    assert bytes_of(ONE) == before
    write_sft_set(store, CAREFUL)
    assert latest(store, "sft") == snapshot
    assert (reason_of(store, waiting_rows[0]), reason_of(store, waiting_rows[1])) == (None, "rejected")


def test_an_answer_holds_for_the_reason_it_was_given_to(toolwise: Toolwise, waiting_rows: list[str]) -> None:
    toolwise.done("review", "--keep", waiting_rows[0], "--no-apply")
    other = CurationConfig.model_validate({"answer": {"unknown": "review"}, "privacy": {"personal_data": "review"}})
    curate_days(toolwise.store, [ONE], other)
    assert reason_of(toolwise.store, waiting_rows[0]) == "unknown_outcome"
    assert waiting_rows[0] in waiting(toolwise.store)["trajectory_id"].to_list()


def test_a_later_answer_replaces_an_earlier_one(toolwise: Toolwise, waiting_rows: list[str]) -> None:
    toolwise.done("review", "--keep", waiting_rows[0], "--by", "ada", "--no-apply")
    toolwise.done("review", "--drop", waiting_rows[0], "--by", "bo")
    [row] = reviews_of(toolwise.store)
    assert (row["answer"], row["by"]) == ("drop", "bo")
    assert reason_of(toolwise.store, waiting_rows[0]) == "rejected"
    toolwise.done("review", "--keep", waiting_rows[0])
    assert reason_of(toolwise.store, waiting_rows[0]) is None
    assert waiting_rows[0] in in_the_set(toolwise.store)


def test_a_record_that_waits_on_two_days_is_asked_about_once(toolwise: Toolwise) -> None:
    toolwise.config(TOML)
    for day in (ONE, TWO):
        land_records(toolwise.store, day, [price_chat(1, 1, mark=f" {MAIL}")])
    curate_days(toolwise.store, [ONE, TWO], CAREFUL)
    told = toolwise.done("review", "--no-apply", typed="k\n")
    assert "2 waiting, 2 answered" in told
    assert len(reviews_of(toolwise.store)) == 1


def test_an_answer_that_cannot_be_given_is_refused(toolwise: Toolwise, waiting_rows: list[str]) -> None:
    [clean] = [key for key, row in screened_rows(toolwise.store, TWO).items() if row["reason"] is None]
    mistakes = [
        (("--keep", clean), "not waiting for an answer"),
        (("--keep", "ffffffffffffffff"), "no trajectory has this id"),
        (("--keep", waiting_rows[0], "--drop", waiting_rows[0]), "both keep and drop"),
        (("--list", "--keep", waiting_rows[0]), "--list"),
    ]
    for options, said in mistakes:
        assert said in toolwise.refused("review", *options), options
    assert reviews_of(toolwise.store) == []


def test_nothing_waits_once_all_is_answered(toolwise: Toolwise, waiting_rows: list[str], tmp_path: Path) -> None:
    options = [word for each in waiting_rows for word in ("--drop", each)]
    toolwise.done("review", *options, "--no-apply")
    assert "nothing waits for a person" in toolwise.done("review")
    assert list(tmp_path.rglob("*.tmp")) == []

"""`toolwise diff`: exactly the rows two configurations decide differently, why, and not a byte written."""

from pathlib import Path

import polars as pl
import pytest

from pipeline.config import CurationConfig
from pipeline.curation.difference import differences
from pipeline.curation.trajectories import write_trajectories
from pipeline.reviews import answer
from pipeline.store import TableStore, file_hash
from tests.curating import Toolwise, curate_days, land_records, price_chat, put

ONE, TWO, THREE = "2025-03-01", "2025-03-02", "2025-03-03"
DEFAULT = CurationConfig()
SHORT = CurationConfig.model_validate({"length": {"max_tokens": 120}})
MAIL = "anna.petersen@harbour-office.com"


def long_record(city: int) -> dict[str, object]:
    """A record over the limit of SHORT and under that of the defaults."""
    record = price_chat(city, city)
    record["messages"][-1]["content"] += " And that is all there is to say about it today, madam." * 30
    return record


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    """Two days: the long record of the first is landed again on the second, as is a short one."""
    store = TableStore(tmp_path / "data")
    land_records(store, ONE, [price_chat(1, 1), long_record(2), price_chat(3, 3)])
    land_records(store, TWO, [long_record(2), price_chat(3, 3), long_record(4)])
    curate_days(store, [ONE, TWO])
    return store


def raw_index(store: TableStore, day: str, trajectory_id: str) -> int:
    """The place of a row in its file."""
    return store.scan("trajectories", day).filter(pl.col("trajectory_id") == trajectory_id).collect()["raw_index"][0]


def changes(store: TableStore, found: pl.DataFrame) -> set[tuple[str, int, str, str]]:
    """Day, place, and the two reasons of each row that differs."""
    return {
        (row["day"], raw_index(store, row["day"], row["trajectory_id"]), row["reason_a"], row["reason_b"])
        for row in found.to_dicts()
    }


def hashes(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file's hash and time under a folder."""
    return {str(path): (file_hash(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_the_rows_that_differ_are_exactly_the_long_ones(store: TableStore) -> None:
    found = differences(store, [ONE, TWO], DEFAULT, SHORT)
    assert changes(store, found) == {
        (ONE, 1, "keep", "overlong"),
        (TWO, 0, "duplicate", "overlong"),
        (TWO, 2, "keep", "overlong"),
    }
    assert found.columns == ["day", "trajectory_id", "reason_a", "reason_b", "evidence_a", "evidence_b"]
    assert all('"max_tokens":120' in told for told in found["evidence_b"])


def test_swapped_configurations_swap_the_reasons(store: TableStore) -> None:
    forth = changes(store, differences(store, [ONE, TWO], DEFAULT, SHORT))
    back = changes(store, differences(store, [ONE, TWO], SHORT, DEFAULT))
    assert back == {(day, index, b, a) for day, index, a, b in forth}


def test_one_configuration_against_itself_differs_nowhere(store: TableStore) -> None:
    assert differences(store, [ONE, TWO], SHORT, SHORT).is_empty()


def test_what_only_one_keeps_shows_on_its_duplicates_of_later_days(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    secret = price_chat(1, 1, mark=f" {MAIL}")
    land_records(store, ONE, [secret])
    land_records(store, TWO, [{**secret, "id": "again"}, price_chat(2, 2)])
    curate_days(store, [ONE, TWO])
    drops = CurationConfig.model_validate({"privacy": {"personal_data": "drop"}})
    assert changes(store, differences(store, [ONE, TWO], DEFAULT, drops)) == {
        (ONE, 0, "keep", "personal_data"),
        (TWO, 0, "duplicate", "personal_data"),
    }
    looser = CurationConfig.model_validate({"duplicates": {"near": False}})
    assert differences(store, [ONE, TWO], DEFAULT, looser).is_empty()


def test_a_copy_is_kept_where_its_original_no_longer_is(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    original = price_chat(1, 1, ground_truth="108", success=False)
    original["messages"][-1]["content"] = "The answer is 108."
    land_records(store, ONE, [original])
    land_records(store, TWO, [{**original, "success": True}])
    curate_days(store, [ONE, TWO])
    trusting = CurationConfig.model_validate({"answer": {"prefer_recorded_outcome": False}})
    assert changes(store, differences(store, [ONE, TWO], DEFAULT, trusting)) == {
        (ONE, 0, "wrong_answer", "keep"),
        (TWO, 0, "keep", "duplicate"),
    }


def test_days_before_the_range_take_part_as_they_stand(store: TableStore) -> None:
    assert changes(store, differences(store, [TWO], DEFAULT, SHORT)) == {
        (TWO, 0, "duplicate", "overlong"),
        (TWO, 2, "keep", "overlong"),
    }


def test_a_range_with_a_day_that_was_never_screened_is_decided_too(store: TableStore) -> None:
    land_records(store, THREE, [price_chat(1, 1), long_record(9)])
    write_trajectories(store, THREE, DEFAULT)
    assert changes(store, differences(store, [THREE], DEFAULT, SHORT)) == {(THREE, 1, "keep", "overlong")}


def test_a_persons_answers_count_on_both_sides(store: TableStore) -> None:
    careful = CurationConfig.model_validate({"answer": {"unknown": "review"}})
    waiting = differences(store, [ONE], DEFAULT, careful)
    assert set(waiting["reason_b"]) == {"unknown_outcome"}
    first = waiting["trajectory_id"][0]
    answer(store, first, "screened", "unknown_outcome", "keep", "ada")
    left = differences(store, [ONE], DEFAULT, careful)
    assert set(left["trajectory_id"]) == set(waiting["trajectory_id"]) - {first}


def test_the_evidence_is_redacted(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    asked, call, told, said = price_chat(1, 1, mark=f" for {MAIL}")["messages"]
    land_records(store, ONE, [{"messages": [asked, call, told, call, told, said]}])
    curate_days(store, [ONE])
    [row] = differences(
        store, [ONE], DEFAULT, CurationConfig.model_validate({"structure": {"max_repeats": 2}})
    ).to_dicts()
    assert (row["reason_a"], row["reason_b"]) == ("keep", "repeated_call")
    assert "barley1 for [REDACTED:" in row["evidence_b"]
    assert MAIL not in row["evidence_b"]


def test_the_command_prints_the_rows_and_writes_nothing(toolwise: Toolwise) -> None:
    land_records(toolwise.store, ONE, [price_chat(1, 1), long_record(2)])
    land_records(toolwise.store, TWO, [long_record(2)])
    curate_days(toolwise.store, [ONE, TWO])
    short = put(toolwise.folder / "short.toml", b"[length]\nmax_tokens = 120\n")
    before = hashes(toolwise.folder)
    told = toolwise.done("diff", "default", short)
    assert "2 rows differ over 2 days" in told
    assert "keep -> overlong" in told
    assert "duplicate -> overlong" in told
    assert '"max_tokens":120' in told
    assert "0 rows differ over 1 days" in toolwise.done("diff", short, short, "--day", ONE)
    assert "1 rows differ over 1 days" in toolwise.done("diff", "default", short, "--day", f"{TWO}..{THREE}")
    assert hashes(toolwise.folder) == before


def test_what_cannot_be_compared_is_said_in_one_line(toolwise: Toolwise) -> None:
    land_records(toolwise.store, ONE, [price_chat(1, 1)])
    curate_days(toolwise.store, [ONE])
    broken = put(toolwise.folder / "broken.toml", b"[length]\nmax_tokens = 'many'\n")
    mistakes = [
        (("default", toolwise.folder / "none.toml"), "none.toml: cannot be read"),
        ((broken, "default"), "length.max_tokens"),
        (("default",), "Missing argument"),
        (("default", "default", "--day", "2030-01-01"), "no curated day"),
        (("default", "default", "--day", "x"), "want YYYY-MM-DD"),
    ]
    for arguments, said in mistakes:
        assert said in toolwise.refused("diff", *arguments), arguments


def test_a_long_list_is_cut_unless_all_is_asked_for(toolwise: Toolwise) -> None:
    land_records(toolwise.store, ONE, [price_chat(city, good) for city in range(9) for good in range(5)])
    curate_days(toolwise.store, [ONE])
    tiny = put(toolwise.folder / "tiny.toml", b"[length]\nmax_tokens = 1\n")
    told = toolwise.done("diff", "default", tiny)
    assert told.count("keep -> overlong") == 40
    assert "5 more; --all lists them" in told
    assert toolwise.done("diff", "default", tiny, "--all").count("keep -> overlong") == 45

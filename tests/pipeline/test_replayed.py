"""A day through `replayed`: what is caught, what is kept, what is run again and what is not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from pipeline.config import CurationConfig
from pipeline.curation.path import path_of
from pipeline.curation.purge import purge
from pipeline.curation.replayed import cache_path, write_replayed
from pipeline.curation.screened import write_screened
from pipeline.curation.trajectories import write_trajectories
from pipeline.curation.waiting import days_to_retry
from pipeline.ledger import scan_decisions
from pipeline.replay.cache import ObservationCache
from pipeline.store import TableStore
from tests.curating import GOODS, land_records
from tests.curating import code_chat as chat
from tests.pipeline.replay.environments.sample_http_server import serve

DAY = "2025-03-01"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path / "data")


def screen(store: TableStore, records: list[dict[str, Any]], config: CurationConfig | None = None) -> CurationConfig:
    """Land and screen the records; the configuration."""
    held = config or CurationConfig()
    land_records(store, DAY, records)
    write_trajectories(store, DAY, held)
    write_screened(store, DAY, held)
    return held


def configured(**replay: Any) -> CurationConfig:
    return CurationConfig.model_validate({"replay": replay})


def reasons(store: TableStore) -> list[str | None]:
    return (
        store.scan("replayed", DAY)
        .sort("raw_index")
        .select(pl.col("reason").cast(pl.String))
        .collect()["reason"]
        .to_list()
    )


def verdicts(store: TableStore) -> list[str]:
    """The verdicts of all calls, in order of the records."""
    rows = store.scan("replayed", DAY).select("trajectory_id", "raw_index")
    found = store.scan("replays", DAY).join(rows, on="trajectory_id", how="left").sort("raw_index", "step_index")
    return found.select(pl.col("verdict").cast(pl.String)).collect()["verdict"].to_list()


MIXED = [
    chat(0, "print(6 * 7)", "42", "It is 42."),
    chat(1, "print(6 * 7)", "41", "It is 41."),
    chat(2, "import random; print(random.random())", "0.123456789012345", "About that."),
    chat(3, "import no_such_module", "done", "It ran."),
    chat(4, "ls", "a.txt", "One file.", tool="bash"),
    chat(5, "1 / 0", "ZeroDivisionError: division by zero", "It cannot be divided."),
]


def test_each_call_gets_its_verdict_and_a_mismatch_puts_its_row_out(store: TableStore) -> None:
    summary = write_replayed(store, DAY, screen(store, MIXED))
    assert verdicts(store) == ["match", "mismatch", "nondeterministic", "unexecutable", "unexecutable", "match"]
    assert reasons(store) == [None, "observation_mismatch", None, None, None, None]
    assert summary.rows_by_reason == {"keep": 5, "observation_mismatch": 1}
    assert summary.facts["calls"] == {"match": 2, "mismatch": 1, "nondeterministic": 1, "unexecutable": 2}
    [decided] = scan_decisions(store).filter(pl.col("stage") == "replayed").collect().to_dicts()
    told = orjson.loads(decided["evidence"])
    assert (told["recorded"], told["rerun"], told["tool_name"]) == ("41", "42", "python")
    assert "environment python" in orjson.loads(decided["versions"])


def test_what_is_in_doubt_waits_for_a_person_where_the_configuration_says_so(store: TableStore) -> None:
    config = configured(nondeterministic="review", unexecutable="review", unmapped="drop")
    write_replayed(store, DAY, screen(store, MIXED, config))
    assert reasons(store) == [
        None,
        "observation_mismatch",
        "nondeterministic",
        "unexecutable",
        "unexecutable_dropped",
        None,
    ]


def test_a_rerun_executes_nothing_and_writes_the_same_bytes(store: TableStore) -> None:
    config = screen(store, MIXED)
    first = write_replayed(store, DAY, config)
    files = {path: path.read_bytes() for asset in ("replayed", "replays") for path in store.shards(asset, DAY)}
    again = write_replayed(store, DAY, config)
    assert first.facts["runs_executed"] == 6  # five trajectories with Python; a contradiction runs twice
    assert (again.facts["runs_executed"], again.facts["runs_from_cache"]) == (0, 6)
    assert files == {path: path.read_bytes() for asset in ("replayed", "replays") for path in store.shards(asset, DAY)}
    strict = configured(nondeterministic="drop")
    assert write_replayed(store, DAY, strict).facts["runs_executed"] == 0
    assert reasons(store)[2] == "nondeterministic_dropped"


def test_a_backfill_runs_only_what_changed(store: TableStore) -> None:
    config = screen(store, MIXED)
    write_replayed(store, DAY, config)
    changed = [*MIXED[:5], chat(5, "1 / 2", "0.5", "A half."), chat(6, "print(8)", "8", "Eight.")]
    screen(store, changed)
    assert write_replayed(store, DAY, config).facts["runs_executed"] == 2
    limits = configured(environments={"python": {"kind": "python", "timeout_s": 9}})
    assert write_replayed(store, DAY, limits).facts["runs_executed"] == 7, "another limit may end a call otherwise"


def test_state_lives_through_a_trajectory_and_no_longer(store: TableStore) -> None:
    record = chat(0, "seen = 7", "", "")
    more = chat(1, "print(seen)", "7", "Seven.")
    record["messages"] = record["messages"][:3] + more["messages"][1:]
    for message in record["messages"][3:]:
        for call in message.get("tool_calls", ()):
            call["id"] = "c1"
        if "tool_call_id" in message:
            message["tool_call_id"] = "c1"
    other = chat(2, "print(seen)", "NameError: name 'seen' is not defined", "It is not there.")
    write_replayed(store, DAY, screen(store, [record, other]))
    assert verdicts(store) == ["match", "match", "match"]


def test_what_hangs_on_an_unverified_call_is_no_mismatch(store: TableStore) -> None:
    code = ["import no_such_module\nlot = no_such_module.lot()\nprint(lot)", "print(lot * 2)", "print(2 + 2)"]
    told = ["6", "12", "5"]
    record = chat(0, code[0], told[0], "")
    turns = record["messages"][:1]
    for k in range(3):
        turn = chat(k, code[k], told[k], "It is done.")["messages"]
        turn[1]["tool_calls"][0]["id"] = turn[2]["tool_call_id"] = f"c{k}"
        turns += turn[1:3]
    record["messages"] = [*turns, {"role": "assistant", "content": "It is done."}]
    write_replayed(store, DAY, screen(store, [record]))
    assert verdicts(store) == ["unexecutable", "unverified", "mismatch"]


def codeact(number: int, *claims: tuple[str, str]) -> dict[str, Any]:
    """A record whose assistant runs code and answers itself."""
    text = "\n".join(f"<execute>\n{code}\n</execute>\nObservation:\n{claimed}\n" for code, claimed in claims)
    task = f"{GOODS[number]}{number} crates: how many?"
    said = f"{text}\nThe answer is <solution> {claims[-1][1]} </solution>."
    return {"messages": [{"role": "user", "content": task}, {"role": "assistant", "content": said}]}


def test_an_invented_observation_is_run_too_and_right_by_luck_is_told_from_wrong(store: TableStore) -> None:
    lucky, wrong = codeact(0, ("x = 6 * 7\nprint(x)", "42")), codeact(1, ("print(6 * 7)", "42"), ("print(7 * 7)", "48"))
    summary = write_replayed(store, DAY, screen(store, [lucky, wrong]))
    assert reasons(store) == ["self_written_observation"] * 2
    assert summary.facts["invented_observations"] == {"match": 2, "mismatch": 1}
    ids = store.scan("replayed", DAY).sort("raw_index").collect()["trajectory_id"].to_list()
    calls = [path_of(store, trajectory_id)[-1].calls for trajectory_id in ids]
    told = [[call["verdict"] for call in held if call["origin"] == "assistant"] for held in calls]
    assert told == [["match"], ["match", "mismatch"]]


def test_a_wrong_observation_is_mended_where_the_answer_survives_it(store: TableStore) -> None:
    harmless = chat(0, "print(40 + 2)", "43 or so", "By hand it is 42.")
    fatal = chat(1, "print(40 + 2)", "43", "It is 43.")
    write_replayed(store, DAY, screen(store, [harmless, fatal], configured(mismatch="repair")))
    assert reasons(store) == [None, "observation_mismatch"]
    rows = store.scan("replayed", DAY).sort("raw_index").collect()
    assert rows["repaired"].to_list() == [[2], []]
    assert rows["messages"][0][2]["content"] == "42"
    assert rows["messages"][1][2]["content"] == "43"
    assert verdicts(store) == ["mismatch", "mismatch"], "what was found stays on record"


def test_a_purge_takes_evidence_and_cached_observations_too(store: TableStore) -> None:
    config = screen(store, [chat(0, "print('amber-secret-word')", "other", "no"), chat(1, "print(1)", "1", "One.")])
    write_replayed(store, DAY, config)
    gone, kept = store.scan("replayed", DAY).sort("raw_index").collect()["trajectory_id"].to_list()
    with sqlite_cache(store) as cache:
        assert len(cache) == 3
    purge(store, [gone], "asked")
    assert not store.has("replays", DAY)
    with sqlite_cache(store) as cache:
        assert len(cache) == 1
    screen(store, [chat(1, "print(1)", "1", "One.")])
    assert write_replayed(store, DAY, config).facts["runs_executed"] == 0
    assert store.scan("replayed", DAY).collect()["trajectory_id"].to_list() == [kept]


class sqlite_cache:
    """The store's cache of observations, closed again."""

    def __init__(self, store: TableStore) -> None:
        self._cache = ObservationCache(cache_path(store), read_only=True)

    def __enter__(self) -> ObservationCache:
        return self._cache

    def __exit__(self, *_: object) -> None:
        self._cache.close()


@pytest.fixture
def slow_day(tmp_path: Path) -> TableStore:
    store = TableStore(tmp_path / "slow")
    screen(
        store, [chat(k, f"import time; time.sleep(0.1); print({k} + 1000)", str(k + 1000), "Done.") for k in range(60)]
    )
    return store


def test_after_kill_9_the_next_run_goes_on_where_it_was(slow_day: TableStore) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from pipeline.config import CurationConfig; from pipeline.curation.replayed import write_replayed\n"
        "from pipeline.store import TableStore\n"
        f"write_replayed(TableStore(Path(sys.argv[1])), '{DAY}', CurationConfig())\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(slow_day.root)], cwd=ROOT)
    deadline = time.monotonic() + 60
    done = 0
    while done < 10 and time.monotonic() < deadline:
        time.sleep(0.05)
        if cache_path(slow_day).exists():
            with sqlite_cache(slow_day) as cache:
                done = len(cache)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not slow_day.has("replayed", DAY)
    with sqlite_cache(slow_day) as cache:
        known = len(cache)
    assert 10 <= known < 60
    summary = write_replayed(slow_day, DAY, CurationConfig())
    assert (summary.facts["runs_from_cache"], summary.facts["runs_executed"]) == (known, 60 - known)
    assert summary.rows_by_reason == {"keep": 60}


def test_a_server_that_is_down_makes_rows_wait_and_the_next_run_takes_them_up(store: TableStore) -> None:
    def pointed_at(url: str) -> CurationConfig:
        shop = {"kind": "http", "url": url, "tools": ["remember"], "repeat": "reset", "timeout_s": 5}
        return configured(environments={"shop": shop})

    record = chat(0, "", "five", "Five.", tool="remember")
    record["messages"][1]["tool_calls"][0]["function"]["arguments"] = '{"note": "five"}'
    screen(store, [record])
    write_replayed(store, DAY, pointed_at("http://127.0.0.1:9"))
    assert reasons(store) == ["replay_failed"]
    assert days_to_retry(store) == [DAY]
    with serve() as server:
        write_replayed(store, DAY, pointed_at(server.url))
    assert reasons(store) == [None]
    assert verdicts(store) == ["match"]
    assert days_to_retry(store) == []


def test_a_server_that_is_down_is_not_asked_for_every_row(store: TableStore) -> None:
    shop = {"kind": "http", "url": "http://127.0.0.1:9", "tools": ["remember"], "repeat": "reset"}
    screen(store, [chat(k, "", "five", "Five.", tool="remember") for k in range(100)])
    started = time.monotonic()
    write_replayed(store, DAY, configured(environments={"shop": shop}))
    assert reasons(store) == ["replay_failed"] * 100
    assert time.monotonic() - started < 20, "a hundred times its tries would take more than a minute"

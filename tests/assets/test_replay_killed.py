"""kill -9 while tool calls are made again: nothing is left running, and nothing is done twice."""

import signal
from pathlib import Path

from pipeline.curation.replayed import cache_path
from pipeline.replay.cache import ObservationCache
from pipeline.store import TableStore
from tests.assets.children import TOOLWISE, Place, wait_until
from tests.curating import code_chat, json_lines, put
from tests.pipeline.replay.processes import living_below

DAY = "2025-03-01"
CURATE = (*TOOLWISE, "curate", "--day", DAY, "--until", "replayed")


def slow_record(number: int) -> dict:
    """A trajectory whose one call takes a fifth of a second."""
    answer = number + 1000
    return code_chat(number, f"import time; time.sleep(0.2); print({answer})", str(answer), f"There are {answer}.")


def known(store: TableStore) -> int:
    """Runs the cache of observations holds."""
    if not cache_path(store).exists():
        return 0
    cache = ObservationCache(cache_path(store), read_only=True)
    try:
        return len(cache)
    finally:
        cache.close()


def test_a_run_killed_while_replaying_is_gone_and_the_next_goes_on(tmp_path: Path) -> None:
    place = Place(tmp_path)
    put(place.data / "raw" / "desk" / DAY / "a.jsonl", json_lines(slow_record(number) for number in range(60)))
    store = TableStore(place.data)
    child = place.start(CURATE)
    wait_until("ten trajectories replayed", lambda: known(store) >= 10, timeout_s=300, every_s=0.05)
    below = living_below(child.pid)
    assert below, "the sandboxes"
    child.send_signal(signal.SIGKILL)
    child.wait()
    wait_until("no sandbox left", lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), timeout_s=10)
    done = known(store)
    assert done < 60

    place.run(*CURATE, timeout_s=300)  # would wait for ever if the dead run still held its place in the pool
    assert known(store) == 60
    facts = store.manifest("replayed", DAY)
    assert facts is not None
    assert facts["rows"] == 60

"""Partitions are swapped in whole."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import MissingTableError
from pipeline.store import TableStore, publish_folder


def write(store: TableStore, *values: int, day: str = "2025-01-01") -> None:
    with store.writing("numbers", day) as writer:
        for value in values:
            writer.write_shard(pl.DataFrame({"x": [value]}))


def test_a_partition_reads_back_in_the_order_it_was_written(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    write(store, 3, 1, 2)
    assert store.scan("numbers", "2025-01-01").collect()["x"].to_list() == [3, 1, 2]
    manifest = store.manifest("numbers", "2025-01-01")
    assert manifest is not None
    assert manifest["rows"] == 3


def test_rewriting_leaves_none_of_the_shards_that_stood_there(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    write(store, 1, 2, 3)
    write(store, 9)
    assert store.scan("numbers", "2025-01-01").collect()["x"].to_list() == [9]
    assert not list((store.tables / ".staging").iterdir())


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    write(store, 1, 2)
    first = {path.name: path.read_bytes() for path in store.folder("numbers", "2025-01-01").iterdir()}
    write(store, 1, 2)
    assert first == {path.name: path.read_bytes() for path in store.folder("numbers", "2025-01-01").iterdir()}


def test_an_error_while_writing_leaves_what_stood(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    write(store, 1)

    def fail_half_way() -> None:
        with store.writing("numbers", "2025-01-01") as writer:
            writer.write_shard(pl.DataFrame({"x": [2]}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert store.scan("numbers", "2025-01-01").collect()["x"].to_list() == [1]


def test_a_partition_that_was_never_written_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingTableError, match="run `toolwise curate --day 2025-01-01 --until numbers` first"):
        TableStore(tmp_path).scan("numbers", "2025-01-01")


def test_a_writer_killed_half_way_leaves_the_old_partition_and_the_next_writer_cleans_up(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    write(store, 1)
    script = textwrap.dedent(
        f"""
        import sys, time, pathlib
        import polars as pl
        from pipeline.store import TableStore
        with TableStore(pathlib.Path({str(tmp_path)!r})).writing("numbers", "2025-01-01") as writer:
            writer.write_shard(pl.DataFrame({{"x": [2]}}))
            print("wrote", flush=True)
            time.sleep(60)
        """
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "wrote\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert store.scan("numbers", "2025-01-01").collect()["x"].to_list() == [1]
    assert (store.tables / ".staging" / "numbers-2025-01-01").exists()
    write(store, 3)
    assert store.scan("numbers", "2025-01-01").collect()["x"].to_list() == [3]
    assert not list((store.tables / ".staging").iterdir())


def test_a_file_system_without_exchange_still_ends_with_the_new_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctypes
    import errno

    class NoExchange:
        """A libc whose renameat2 is not supported, as on NFS."""

        def renameat2(self, *_arguments: object) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_a, **_k: NoExchange())
    for name, text in (("new", "2"), ("old", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(text)
    publish_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "x").read_text() == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]

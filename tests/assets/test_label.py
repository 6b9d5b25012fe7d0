"""`toolwise label`: the address, the answers, a clean end, and what to do next."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from pipeline.judging.labels import add_labels, stored_labels
from pipeline.store import TableStore
from tests.curating import Toolwise
from tests.labelling import judged_row, lines_file, write_judged_tables
from tests.pipeline.judging.labelled import label, labels_of

HOME = Path(__file__).parents[2]
_END_S = 30


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path / "data")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "assets.cli", "label", *map(str, arguments)]


def environment(store: TableStore) -> Mapping[str, str]:
    return os.environ | {"TOOLWISE_DATA": str(store.root), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}


class Running:
    """A command that serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""
        assert process.stdout is not None
        for line in process.stdout:
            self.said += line
            if line.startswith("Ctrl-C"):
                break
        found = re.search(r"http://\S+/", self.said)
        assert found is not None, self.said
        self.address = found.group()

    def answer(self, place: int, answers: dict[str, Any]) -> int:
        """Status of an answer that is sent."""
        parts = urlsplit(self.address)
        origin = {"origin": f"{parts.scheme}://{parts.netloc}"}
        return httpx.post(f"{self.address}rows/{place}", json={"answers": answers}, headers=origin).status_code

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Status, and what was said after the signal."""
        self.process.send_signal(number)
        told, _ = self.process.communicate(timeout=_END_S)
        return self.process.returncode, told


@contextmanager
def running(store: TableStore, *arguments: object) -> Iterator[Running]:
    with subprocess.Popen(
        command("--no-browser", *arguments),
        cwd=HOME,
        env=environment(store),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_cleanly_and_tells_what_was_stored(store: TableStore, number: int) -> None:
    write_judged_tables(store, [judged_row(f"row-{k}") for k in range(5)])
    with running(store, "--by", "ann") as page:
        assert "0 labelled tasks certify and 0 fit; at least 59 more that certify are needed" in page.said
        assert "label 5 rows as ann at http://127.0.0.1:" in page.said
        assert page.answer(0, {"grounded": False}) == 200
        assert page.answer(1, {"accept": True}) == 200
        status, told = page.end(number)
    assert status == 0
    assert "stored: 2 of 5 rows, by ann; 3 in the sample are not answered. Next: toolwise calibrate\n" in told
    assert "Traceback" not in told
    assert set(stored_labels(store)["by"]) == {"ann"}


def test_number_day_and_port_are_as_they_are_named(store: TableStore) -> None:
    write_judged_tables(store, [judged_row(f"row-{k}") for k in range(5)])
    write_judged_tables(store, [judged_row(f"late-{k}") for k in range(4)], "2025-03-02")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with running(store, "--number", 3, "--day", "2025-03-02", "--port", port) as page:
        assert "label 3 rows" in page.said
        assert f"http://127.0.0.1:{port}/" in page.address
        assert page.answer(2, {"accept": True}) == 200
        assert page.answer(3, {"accept": True}) == 404
    assert stored_labels(store)["subject_id"].str.starts_with("late-").all()


def test_a_port_that_is_taken_is_told(toolwise: Toolwise) -> None:
    write_judged_tables(toolwise.store, [judged_row("row")])
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = toolwise.refused("label", "--no-browser", "--port", port)
    assert f"127.0.0.1:{port}: Address already in use" in told


def test_when_all_is_labelled_the_next_move_is_told(toolwise: Toolwise) -> None:
    write_judged_tables(toolwise.store, [judged_row("row")])
    answers = [label("row", True), label("row", False, by="bo"), label("gone", True)]
    add_labels(toolwise.store, labels_of(*answers))
    told = toolwise.done("label", "--by", "ann")
    assert "two persons or more agreed on 0 of 1 questions (0%)" in told
    assert "1 labelled rows are in no table" in told
    assert "every row that can be asked about is labelled; next: toolwise calibrate\n" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--day", "2025-01-01..2025-01-02"), "judged: want judged days, found none"),
        (("--rubric", "prompts"), "prompts_judged: want judged days, found none"),
        (("--by", " "), "want a name, found none"),
        (("--number", "0"), "--number"),
        (("--day", "yesterday"), "want YYYY-MM-DD"),
        (("--rubric", "traces"), "--rubric"),
    ],
)
def test_a_mistake_is_told_in_a_line(toolwise: Toolwise, arguments: tuple[str, ...], told: str) -> None:
    write_judged_tables(toolwise.store, [judged_row("row")])
    assert told in toolwise.refused("label", *arguments)


def test_a_bad_file_of_labels_is_told_before_the_page_opens(toolwise: Toolwise, tmp_path: Path) -> None:
    write_judged_tables(toolwise.store, [judged_row("row")])
    lines_file(tmp_path / "gold.jsonl", {"trajectory_id": "row"})
    toolwise.config('[judge]\nlabels = ["gold.jsonl"]\n')
    told = toolwise.refused("label", "--no-browser")
    assert f"{tmp_path / 'gold.jsonl'}:1: want answers, accept, or both, found neither" in told

"""A server of our own that nobody is asking gives way to another process; one that is asked does not."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.model_servers import asking, end_servers, servers_held
from pipeline.serving.own import OwnServer
from tests.pipeline.replay.processes import is_gone, lives, wait_until
from tests.pipeline.serving.owners import line_of, own, own_elsewhere, pids, tiny


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnServer]:
    yield own(tmp_path, tiny(), lambda _line: None)
    end_servers()


def test_an_idle_server_gives_way_and_one_that_is_asked_does_not(server: OwnServer, tmp_path: Path) -> None:
    with servers_held():
        with asking("ours", lambda: server) as asked:
            [ours] = pids(asked.endpoint().log)
            other = own_elsewhere(tmp_path)
            lines: list[str] = []
            waiting = threading.Thread(target=lambda: lines.append(line_of(other)))
            waiting.start()
            try:
                wait_until(lambda: server.is_in_the_way)
                waiting.join(1.5)
                assert not lines
                assert lives(ours)
            except BaseException:
                other.kill()
                raise
        try:
            waiting.join(20)
            assert is_gone(ours)
            assert lines[0].endswith(".log")
        finally:
            other.kill()
            other.wait()
            assert other.stdout is not None
            other.stdout.close()
        with asking("ours", lambda: server) as asked:  # and starts again once it is asked
            assert pids(asked.endpoint().log) != [ours]


def test_a_server_lives_from_one_asking_to_the_next(server: OwnServer) -> None:
    with servers_held():
        logs = []
        for _ in range(2):
            with asking("ours", lambda: server) as asked:
                logs.append(asked.endpoint().log)
        assert logs[0] == logs[1]
    assert is_gone(pids(logs[0])[0])

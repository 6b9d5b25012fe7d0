"""Environments by their configuration."""

import contextlib
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import EnvironmentUnavailableError
from pipeline.replay.config import EnvironmentConfig, HttpServer, McpServer, RegisteredClass
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.environments.registry import open_environment
from tests.pipeline.replay.environments.conftest import Register
from tests.pipeline.replay.environments.sample_http_server import serve

RAW = str(Path(__file__).with_name("raw_mcp_server.py"))
ECHO = """
    import json, os

    class Echo:
        def reset(self, episode, seed): pass
        def call(self, name, arguments):
            if name == "break":
                os._exit(1)
            return arguments
        def close(self): pass
"""


def exercise(config: EnvironmentConfig, trajectories: int, broken: str) -> None:
    """Open it, replay, break it in each trajectory, close it."""
    with contextlib.closing(open_environment("any", config)) as environment:
        assert environment.version
        for k in range(trajectories):
            environment.reset(Episode(f"t{k}"), 1)
            assert environment.call("echo", f'{{"k": {k}}}') == Observation(f'{{"k": {k}}}')
            assert environment.call(broken, "{}").status is Status.FAILED


def descriptors() -> list[str]:
    """The kinds of our open descriptors."""
    found = []
    for held in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own
            found.append(str(held.readlink()).split(":")[0])
    return sorted(found)


def test_each_kind_is_opened_and_leaves_no_descriptor_and_no_thread_behind(register: Register) -> None:
    register(ECHO, "echo = shop:Echo")

    def left_by(trajectories: int) -> tuple[list[str], int]:
        """Descriptors and threads, once the sample server's own have ended."""
        with serve() as server:
            exercise(RegisteredClass(kind="registered", name="echo", repeat="reset"), trajectories, "break")
            exercise(McpServer(kind="mcp", command=(sys.executable, RAW, "old"), repeat="reset"), trajectories, "break")
            exercise(HttpServer(kind="http", url=server.url, repeat="reset"), trajectories, "cut")
        until = time.monotonic() + 5
        while threading.active_count() > 1 and time.monotonic() < until:
            time.sleep(0.02)
        return descriptors(), threading.active_count()

    assert left_by(1) == left_by(4)  # what is loaded once stays open


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RegisteredClass(kind="registered", name="nonesuch", repeat="reset"), "want an entry point 'nonesuch'"),
        (McpServer(kind="mcp", command=("nonesuch",), repeat="reset"), "want an MCP server from nonesuch"),
        (HttpServer(kind="http", url="nonesuch", repeat="reset"), "want a url with http or https"),
    ],
)
def test_what_cannot_be_opened_is_named_as_the_configuration_names_it(config: EnvironmentConfig, message: str) -> None:
    with pytest.raises(EnvironmentUnavailableError, match=rf"^replay\.environments\.desk: {message}"):
        open_environment("desk", config)

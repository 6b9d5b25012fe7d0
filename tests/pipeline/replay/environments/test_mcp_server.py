"""Servers of the Model Context Protocol: processes, and over HTTP on loopback."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipeline.errors import EnvironmentUnavailableError
from pipeline.replay.config import McpServer
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.environments import mcp_server
from pipeline.replay.environments.calls import MAX_RESULT_CHARS
from pipeline.replay.environments.mcp_server import McpEnvironment
from tests.pipeline.replay.processes import is_gone, lives

SAMPLE = str(Path(__file__).with_name("sample_mcp_server.py"))
RAW = str(Path(__file__).with_name("raw_mcp_server.py"))
STDIO = (sys.executable, SAMPLE, "stdio")
EPISODE = Episode("t1")
TOO_LONG = Observation("", Status.CAPPED, "a result of more than 1048576 characters")


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_server, "PAUSE_S", 0.01)


def opened(**settings: object) -> McpEnvironment:
    return McpEnvironment(
        "desk", McpServer.model_validate({"kind": "mcp", "repeat": "reset", "timeout_s": 10.0, **settings})
    )


@contextlib.contextmanager
def listening(*more: str) -> Iterator[tuple[str, int]]:
    """A sample server over HTTP, with its process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, SAMPLE, "http", str(port), *more], stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
                break
            time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{port}/mcp", process.pid
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening() as (address, _):
        yield address


@pytest.fixture(scope="module")
def desk() -> Iterator[McpEnvironment]:
    """One connection for the tests that leave it as it was."""
    environment = opened(command=STDIO, repeat="read_only", writes=("rem*",), env={"DESK": "1"})
    environment.start()
    yield environment
    environment.close()


def call(environment: McpEnvironment, name: str, **arguments: object) -> Observation:
    return environment.call(name, json.dumps(arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [
        ("echo", {"text": "as it is é"}, Observation("as it is é")),
        ("measure", {"width": 2, "height": 3}, Observation('{\n  "area": 6\n}', alternatives=('{"area": 6}',))),
        ("picture", {}, Observation("[image/png sha256:ba7816bf8f01cfea]")),
        ("fail", {"reason": "sold out"}, Observation("Error executing tool fail")),
        ("nonesuch", {}, Observation("", Status.MISSING, "tool nonesuch")),
        ("remember", {"note": "a"}, Observation("", Status.MISSING, "tool remember is declared as writing")),
        ("environment", {}, Observation("DESK,HOME,LANG,PATH")),
        ("long", {"length": MAX_RESULT_CHARS + 1}, TOO_LONG),
    ],
)  # fmt: skip
def test_what_a_server_gives_becomes_an_observation(
    desk: McpEnvironment, name: str, arguments: dict[str, object], wanted: Observation
) -> None:
    desk.reset(EPISODE, 1)
    assert call(desk, name, **arguments) == wanted


def test_arguments_a_tool_cannot_read_are_its_error_and_no_object_is_never_sent(desk: McpEnvironment) -> None:
    desk.reset(EPISODE, 1)
    assert "Field required" in call(desk, "echo", wrong="a").text
    assert desk.call("echo", "[1]") == Observation("", Status.MISSING, "arguments are not a JSON object")


def test_the_version_names_server_and_tools(desk: McpEnvironment) -> None:
    name, server, version, tools = desk.version.split()
    assert (name, server, version) == ("mcp", "sample", "1.5")
    assert len(tools) == 16


def test_a_reading_server_goes_on_after_a_timeout_and_after_a_crash() -> None:
    environment = opened(command=STDIO, repeat="read_only", timeout_s=2.0)
    with contextlib.closing(environment):
        environment.reset(EPISODE, 1)
        assert call(environment, "sleep", seconds=30) == Observation("", Status.TIMEOUT, "tool sleep: more than 2 s")
        assert call(environment, "echo", text="a") == Observation("a")
        crashed = call(environment, "crash")
        assert crashed.status is Status.FAILED
        assert crashed.detail == "tool crash: Connection closed (sample server: about to crash)"
        assert call(environment, "echo", text="a") == Observation("a")


def test_every_trajectory_has_a_process_of_its_own_and_a_timeout_or_crash_loses_one_only() -> None:
    environment = opened(command=STDIO, timeout_s=2.0)
    with contextlib.closing(environment):
        environment.reset(EPISODE, 1)
        assert call(environment, "remember", note="a").text == "a"
        assert call(environment, "remember", note="b").text == "a, b"
        environment.reset(Episode("t2"), 1)
        assert call(environment, "remember", note="c").text == "c"
        pids = [int(pid) for pid in call(environment, "processes").text.split()]
        assert call(environment, "sleep", seconds=30).status is Status.TIMEOUT
        assert all(is_gone(pid) for pid in pids)
        assert call(environment, "echo", text="a") == Observation(
            "", Status.TIMEOUT, "the state was lost: tool sleep: more than 2 s"
        )
        for status in (Status.FAILED, Status.CAPPED):
            environment.reset(Episode("t3"), 1)
            assert call(environment, "crash").status is status
            assert call(environment, "echo", text="a").status is status
        environment.reset(EPISODE, 1)
        pids = [int(pid) for pid in call(environment, "processes").text.split()]
    assert all(is_gone(pid) for pid in pids)
    assert call(environment, "echo", text="a") == Observation("", Status.FAILED, "closed")


def test_over_http_every_trajectory_has_a_session_of_its_own(url: str) -> None:
    first, second = opened(url=url), opened(url=url)
    with contextlib.closing(first), contextlib.closing(second):
        first.reset(EPISODE, 1)
        second.reset(Episode("t2"), 1)
        assert call(first, "remember", note="a").text == "a"
        assert call(second, "remember", note="b").text == "b"
        assert call(first, "remember", note="c").text == "a, c"
        first.reset(EPISODE, 1)
        assert call(first, "remember", note="d").text == "d"
        assert call(second, "remember", note="e").text == "b, e"
        assert first.version == second.version


def test_over_http_a_slow_call_times_out(url: str) -> None:
    environment = opened(url=url, timeout_s=1.0)
    with contextlib.closing(environment):
        environment.reset(EPISODE, 1)
        assert call(environment, "sleep", seconds=5) == Observation("", Status.TIMEOUT, "tool sleep: more than 1 s")
        environment.reset(EPISODE, 1)
        assert call(environment, "echo", text="a") == Observation("a")


def test_over_http_a_server_that_dies_is_a_failure_and_then_unavailable() -> None:
    with listening() as (address, pid):
        environment = opened(url=address)
        with contextlib.closing(environment):
            environment.reset(EPISODE, 1)
            assert call(environment, "echo", text="a") == Observation("a")
            assert call(environment, "crash").status is Status.FAILED
            assert is_gone(pid)
            with pytest.raises(
                EnvironmentUnavailableError,
                match=r"^replay\.environments\.desk: want an MCP server from the address in `url`, found .*; start it",
            ):
                environment.reset(EPISODE, 1)


def test_over_http_a_server_without_sessions_may_only_read() -> None:
    with listening("stateless") as (address, _):
        with pytest.raises(EnvironmentUnavailableError, match=r'found one that gives none.*repeat = "read_only"'):
            opened(url=address).start()
        reading = opened(url=address, repeat="read_only")
        with contextlib.closing(reading):
            reading.reset(EPISODE, 1)
            assert call(reading, "echo", text="a") == Observation("a")


@pytest.mark.parametrize("kind", ["old", "modern"])
def test_servers_of_both_ages_are_spoken_to_and_their_errors_told_apart(kind: str) -> None:
    environment = opened(command=(sys.executable, RAW, kind), timeout_s=1.0, repeat="read_only")
    with contextlib.closing(environment):
        environment.reset(EPISODE, 1)
        assert call(environment, "echo", a=1) == Observation('{"a": 1}')
        assert call(environment, "garbage", a=1) == Observation('{"a": 1}')
        assert call(environment, "refuse") == Observation("want a date, found red")
        assert call(environment, "break") == Observation("", Status.FAILED, "tool break: database is down")
        assert call(environment, "garbage_only") == Observation("", Status.TIMEOUT, "tool garbage_only: more than 1 s")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("nonesuch",), r"want an MCP server from nonesuch, found .*nonesuch: No such file or directory"),
        ((sys.executable, "-c", "import nonesuch"), "found .*No module named 'nonesuch'"),
        ((sys.executable, "-c", "print('not JSON', flush=True)"), "found MCPError: Connection closed"),
        ((sys.executable, "-c", "print('x' * 10**7, flush=True)"), "found MCPError: Connection closed"),
    ],
)
def test_a_command_that_is_no_server_is_explained(command: tuple[str, ...], message: str) -> None:
    with pytest.raises(EnvironmentUnavailableError, match=rf"^replay\.environments\.desk: .*{message}"):
        opened(command=command).start()


def test_what_is_not_declared_repeatable_is_never_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    environment = opened(command=("touch", str(started)), repeat="never")
    environment.start()
    environment.reset(EPISODE, 1)
    assert call(environment, "echo", text="a") == Observation("", Status.MISSING, "not declared read_only or reset")
    environment.close()
    assert not started.exists()


def test_nothing_is_left_when_we_are_killed(tmp_path: Path) -> None:
    host = tmp_path / "host.py"
    host.write_text(
        "import sys, time\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from tests.pipeline.replay.environments.test_mcp_server import EPISODE, STDIO, call, opened\n"
        "environment = opened(command=STDIO)\n"
        "environment.reset(EPISODE, 1)\n"
        "print(call(environment, 'processes').text, flush=True)\n"
        "call(environment, 'sleep', seconds=60)\n"
    )
    with subprocess.Popen([sys.executable, str(host)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(lives, pids))
        os.kill(process.pid, signal.SIGKILL)
        assert all(is_gone(pid) for pid in pids)

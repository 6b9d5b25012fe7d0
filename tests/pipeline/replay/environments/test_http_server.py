"""Tool servers over plain HTTP, on loopback."""

import contextlib
import json
import socket
import time

import pytest

from pipeline.errors import EnvironmentUnavailableError
from pipeline.replay.config import HttpServer
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.environments import http_server
from pipeline.replay.environments.calls import MAX_RESULT_CHARS
from pipeline.replay.environments.http_server import TRIES, HttpEnvironment
from tests.pipeline.replay.environments.sample_http_server import serve

EPISODE = Episode("t1", "shop", "task", {"user": "ann"}, None)


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "PAUSE_S", 0.001)


def open_at(url: str, **settings: object) -> HttpEnvironment:
    settings = {"repeat": "reset", "timeout_s": 0.5, **settings}
    return HttpEnvironment("shop", HttpServer.model_validate({"kind": "http", "url": url, **settings}))


def call(environment: HttpEnvironment, name: str, **arguments: object) -> Observation:
    return environment.call(name, json.dumps(arguments))


def test_a_session_opens_with_the_trajectory_and_its_seed_and_ends_with_it() -> None:
    with serve() as server:
        environment = open_at(server.url)
        environment.reset(EPISODE, 7)
        assert server.episodes == [
            {
                "episode": {
                    "trajectory_id": "t1",
                    "source": "shop",
                    "task_id": "task",
                    "metadata": {"user": "ann"},
                    "tools": None,
                },
                "seed": 7,
            }
        ]
        assert list(server.sessions) == ["s1"]
        environment.reset(EPISODE, 7)
        assert list(server.sessions) == ["s2"]
        environment.close()
        assert server.sessions == {}


def test_state_lives_in_a_session_and_no_longer() -> None:
    with serve() as server:
        environment = open_at(server.url)
        environment.reset(EPISODE, 1)
        assert call(environment, "remember", note="a").text == "a"
        assert call(environment, "remember", note="b").text == "a, b"
        environment.reset(Episode("t2"), 1)
        assert call(environment, "remember", note="c").text == "c"
        environment.close()
        assert environment.call("echo", "{}") == Observation("", Status.FAILED, "closed")
        environment.reset(EPISODE, 1)
        assert call(environment, "remember", note="d").text == "d"
        environment.close()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("", "{}"),
        ("not json", "not json"),
        ("[1, 2]", "[1, 2]"),
        ('{"a": "\\ud83d"}', '{"a": "?"}'),
        ('{"a": "é"}', '{"a": "é"}'),
    ],
)
def test_arguments_go_as_an_object_or_as_the_text_they_are(arguments: str, text: str) -> None:
    with serve() as server:
        environment = open_at(server.url)
        environment.reset(EPISODE, 1)
        assert environment.call("echo", arguments) == Observation(text)
        environment.close()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("wrong", Observation("no such booking")),
        ("nonesuch", Observation("", Status.MISSING, "tool nonesuch")),
        ("error500", Observation("", Status.FAILED, "tool error500: HTTP 500")),
        ("malformed", Observation("", Status.FAILED, "tool malformed: a reply that is not a JSON object")),
        ("no_content", Observation("", Status.FAILED, "tool no_content: a reply without content")),
        ("half_pair", Observation("?")),
        ("busy_once", Observation("at last")),
        ("busy_long", Observation("", Status.FAILED, "tool busy_long: HTTP 429, too many requests")),
    ],
)
def test_a_reply_becomes_an_observation(name: str, wanted: Observation) -> None:
    with serve() as server:
        environment = open_at(server.url)
        environment.reset(EPISODE, 1)
        assert call(environment, name) == wanted
        environment.close()


def test_a_cut_connection_is_a_failure() -> None:
    with serve() as server:
        environment = open_at(server.url)
        environment.reset(EPISODE, 1)
        observation = call(environment, "cut")
        assert observation.status is Status.FAILED
        assert observation.detail.startswith("tool cut: the connection broke: RemoteProtocolError")
        environment.close()


@pytest.mark.parametrize(("name", "seconds"), [("sleep", 3.0), ("drip", None)])
def test_a_slow_or_dripping_reply_times_out_and_takes_the_state_with_it(name: str, seconds: float | None) -> None:
    with serve() as server:
        environment = open_at(server.url, timeout_s=0.2)
        environment.reset(EPISODE, 1)
        begun = time.monotonic()
        assert call(environment, name, seconds=seconds) == Observation(
            "", Status.TIMEOUT, f"tool {name}: more than 0.2 s"
        )
        assert time.monotonic() - begun < 2
        assert call(environment, "remember", note="a") == Observation(
            "", Status.TIMEOUT, f"the state was lost: tool {name}: more than 0.2 s"
        )
        environment.reset(EPISODE, 1)
        assert call(environment, "remember", note="a").text == "a"
        environment.close()


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (MAX_RESULT_CHARS, Status.RETURNED),
        (MAX_RESULT_CHARS + 1, Status.CAPPED),
        (8 * MAX_RESULT_CHARS, Status.CAPPED),
    ],
)
def test_a_long_result_is_capped(length: int, status: Status) -> None:
    with serve() as server:
        environment = open_at(server.url, timeout_s=10)
        environment.reset(EPISODE, 1)
        assert call(environment, "long", length=length).status is status
        assert call(environment, "remember", note="a").text == "a"
        environment.close()


@pytest.mark.parametrize("name", ["error500", "cut", "malformed", "fails_once"])
def test_a_stateful_call_is_never_sent_twice_and_a_reading_one_is(name: str) -> None:
    with serve() as server:
        stateful, reading = open_at(server.url), open_at(server.url, repeat="read_only")
        stateful.reset(EPISODE, 1)
        assert call(stateful, name).status is Status.FAILED
        assert server.counts[f"call {name}"] == 1
        server.counts.clear()
        reading.reset(EPISODE, 1)
        read = call(reading, name)
        assert read.status is (Status.RETURNED if name == "fails_once" else Status.FAILED)
        assert server.counts[f"call {name}"] == (2 if name == "fails_once" else TRIES)
        assert call(reading, "echo", a=1).text == '{"a": 1}'
        stateful.close()
        reading.close()


def test_a_reading_server_needs_no_sessions_and_a_stateful_one_does() -> None:
    with serve(sessions=False) as server:
        reading = open_at(server.url, repeat="read_only")
        reading.reset(EPISODE, 1)
        assert call(reading, "echo", a=1).text == '{"a": 1}'
        reading.close()
        stateful = open_at(server.url)
        with contextlib.closing(stateful), pytest.raises(EnvironmentUnavailableError) as told:
            stateful.reset(EPISODE, 1)
        assert str(told.value) == (
            f"replay.environments.shop: want a session from POST {server.url}reset, found HTTP 404; "
            'serve it, or declare repeat = "read_only" if the mapped tools change nothing'
        )


def test_with_a_third_of_requests_failing_no_result_is_invented_and_no_stateful_call_sent_twice() -> None:
    with serve(failing=0.3) as server:
        reading, stateful = open_at(server.url, repeat="read_only"), open_at(server.url)
        with contextlib.closing(reading), contextlib.closing(stateful):
            ended = {"read": 0, "lost": 0, "noted": 0, "unknown": 0}
            for k in range(300):
                reading.reset(Episode(f"t{k}"), 1)
                read = call(reading, "echo", k=k)
                assert read.status in (Status.RETURNED, Status.FAILED)
                assert read.text == (f'{{"k": {k}}}' if read.status is Status.RETURNED else "")
                ended["read" if read.status is Status.RETURNED else "lost"] += 1
                stateful.reset(Episode(f"t{k}"), 1)
                noted = call(stateful, "remember", note=f"n{k}")
                assert noted.status in (Status.RETURNED, Status.FAILED)
                assert noted.text == (f"n{k}" if noted.status is Status.RETURNED else "")
                ended["noted" if noted.status is Status.RETURNED else "unknown"] += 1
        # Four tries fail together in 0.8 % of cases, and a reading call needs a reset as well.
        assert ended["read"] >= 290
        # A stateful call has one try, if its reset came through.
        assert 60 <= ended["unknown"] <= 120
        assert server.counts["call remember"] <= 300


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = open_at(f"http://ann:secret@127.0.0.1:{port}")
    for fails in (environment.start, lambda: environment.reset(EPISODE, 1)):
        with pytest.raises(EnvironmentUnavailableError) as told:
            fails()
        assert str(told.value).startswith(
            f"replay.environments.shop: want a server at http://127.0.0.1:{port}, found no connection: "
        )
        assert str(told.value).endswith("; start it, or mend `url`")
        assert "secret" not in str(told.value)


@pytest.mark.parametrize("url", ["ftp://host/x", "host:8000", "http://[::1"])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(EnvironmentUnavailableError, match=r"^replay\.environments\.shop: want a url"):
        open_at(url).start()


def test_the_version_is_that_of_the_config_and_of_the_server_where_it_has_one() -> None:
    with serve(version="7") as told, serve(version=None) as silent:
        first, other = open_at(told.url, version="3"), open_at(silent.url, version="3")
        first.start()
        other.start()
        assert first.version.split()[2:] == ["3", "7"]
        assert other.version.split()[2:] == ["3"]
        assert first.version.split()[1] != other.version.split()[1]
        first.close()
        other.close()


def test_what_is_not_declared_repeatable_is_never_called() -> None:
    with serve() as server:
        environment = open_at(server.url, repeat="never")
        environment.start()
        environment.reset(EPISODE, 1)
        assert call(environment, "echo") == Observation("", Status.MISSING, "not declared read_only or reset")
        environment.close()
        writing = open_at(server.url, repeat="read_only", writes=("rem*",))
        writing.reset(EPISODE, 1)
        assert call(writing, "remember", note="a") == Observation(
            "", Status.MISSING, "tool remember is declared as writing"
        )
        writing.close()
        assert server.counts == {"reset": 1, "close": 1}

"""An endpoint somebody else runs is checked before it is asked, and what is wrong is said plainly."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from pipeline.errors import ModelServerError
from pipeline.serving.existing import ExistingServer

Answer = tuple[int, str]
Answers = Callable[[str, str | None], Answer]
"""From the path and the key to status and body."""


def models(*names: str) -> str:
    return json.dumps({"object": "list", "data": [{"id": name} for name in names]})


@contextmanager
def serving(answers: Answers) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers(self.path, self.headers["Authorization"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def existing(url: str, model: str | None = None, key: str | None = None, revision: str = "") -> ExistingServer:
    return ExistingServer(url, model=model, api_key=key, revision=revision)


def serves(*names: str) -> Answers:
    return lambda path, _key: (200, models(*names)) if path == "/v1/models" else (404, "")


def test_the_only_model_is_asked_where_none_is_named() -> None:
    with serving(serves("m")) as url:
        server = existing(f"{url}/")
        endpoint = server.endpoint()
        assert (endpoint.base_url, endpoint.model, endpoint.api_key, endpoint.log) == (url, "m", "none", None)
        assert server.identity == "m"


def test_the_identity_is_the_model_wherever_it_runs() -> None:
    assert existing("http://one:1/v1", "m").identity == existing("https://two/v1", "m", key="k").identity == "m"
    assert existing("http://one:1/v1", "m", revision="2").identity == "m@2"


@pytest.mark.parametrize(
    ("model", "served", "told"),
    [
        (None, ("a", "b"), "serves a, b; say which one to ask in TOOLWISE_JUDGE_MODEL"),
        (None, (), "serves no model; say which"),
        ("c", ("a", "b"), "want the model 'c', found a, b; name one in TOOLWISE_JUDGE_MODEL"),
        ("c", tuple(f"m{n}" for n in range(25)), "m19 and 5 more; name one"),
    ],
)
def test_a_model_that_is_not_clear_lists_those_served(model: str | None, served: tuple[str, ...], told: str) -> None:
    with serving(serves(*served)) as url, pytest.raises(ModelServerError, match=told):
        existing(url, model).endpoint()


def test_a_key_is_sent_and_one_that_is_missing_or_wrong_is_told() -> None:
    def answers(path: str, key: str | None) -> Answer:
        if path == "/health":
            return 200, ""
        return (200, models("m")) if key == "Bearer right" else (401, "{}")

    with serving(answers) as url:
        assert existing(url, key="right").endpoint().api_key == "right"
        with pytest.raises(ModelServerError, match=r"want an API key, found no key \(status 401\)"):
            existing(url).endpoint()
        with pytest.raises(ModelServerError, match="found one that it refuses") as raised:
            existing(url, key="wrong-secret").endpoint()
        assert "wrong-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            lambda _path, _key: (404, ""),
            "no list of models at .*/v1/models; TOOLWISE_JUDGE_BASE_URL most often ends in",
        ),
        (lambda path, _key: (503, "") if path == "/health" else (200, models("m")), r"not well \(status 503\)"),
        (
            lambda path, _key: (500, "") if path != "/health" else (200, ""),
            "want an OpenAI-compatible server.*status 500",
        ),
        (lambda _path, _key: (200, "<html>"), "want an OpenAI-compatible server, found status 200"),
        (lambda _path, _key: (200, '{"data": "m"}'), "want an OpenAI-compatible server, found status 200"),
        (lambda _path, _key: (302, ""), "want an OpenAI-compatible server, found status 302"),
    ],
)
def test_what_is_no_such_server_is_told(answers: Answers, told: str) -> None:
    with serving(answers) as url, pytest.raises(ModelServerError, match=told):
        existing(url, "m").endpoint()


def test_a_server_that_stumbles_once_is_asked_again() -> None:
    asked: list[str] = []

    def answers(path: str, _key: str | None) -> Answer:
        asked.append(path)
        return (503, "") if len(asked) in (1, 3) else (200, models("m"))

    with serving(answers) as url:
        assert existing(url).endpoint().model == "m"
    assert asked == ["/health", "/health", "/v1/models", "/v1/models"]


def test_nothing_at_the_address_is_told_without_the_password_in_it() -> None:
    with pytest.raises(
        ModelServerError, match=r"http://127\.0\.0\.1:1/v1: cannot be reached \(.*\); start the server"
    ) as e:
        existing("http://user:hidden@127.0.0.1:1/v1", "m").endpoint()
    assert "hidden" not in str(e.value)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://host/v1", "http:///v1", "", "http://host:port/v1"])
def test_what_is_no_address_is_told_before_anything_is_asked(url: str) -> None:
    with pytest.raises(ModelServerError, match=r"TOOLWISE_JUDGE_BASE_URL: want http://HOST:PORT/v1, found"):
        existing(url)


@pytest.mark.parametrize(
    ("url", "is_remote"),
    [
        ("http://localhost:1/v1", False),
        ("http://judge.localhost/v1", False),
        ("http://127.8.9.1:1/v1", False),
        ("http://[::1]:1/v1", False),
        ("http://0.0.0.0:1/v1", False),
        ("http://10.0.0.1/v1", True),
        ("https://localhost.example.com/v1", True),
        ("https://example.com/v1", True),
    ],
)
def test_what_leaves_the_machine_is_remote(url: str, is_remote: bool) -> None:  # noqa: FBT001 - a table's column
    assert existing(url, "m").is_remote is is_remote


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    with serving(serves("m")) as url:
        assert existing(url).endpoint().model == "m"

"""A tool server over plain HTTP for tests, with every fault a server may have; it counts what it is sent."""

import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SampleServer(ThreadingHTTPServer):
    """Sessions of notes; the tool named in a call says what goes wrong."""

    daemon_threads = True

    def __init__(self, *, sessions: bool = True, version: str | None = "7", failing: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.has_sessions = sessions
        self.sessions: dict[str, list[str]] = {}
        self.version = version
        self.failing = failing
        self.counts: Counter[str] = Counter()
        self.episodes: list[dict[str, Any]] = []
        self.luck = random.Random(1)
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/"

    def fails_now(self) -> bool:
        """Whether this request is one of the failing share."""
        with self.lock:
            return self.luck.random() < self.failing


@contextlib.contextmanager
def serve(**settings: Any) -> Iterator[SampleServer]:
    """A server in a thread."""
    server = SampleServer(**settings)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every reply waits for an acknowledgement
    server: SampleServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        known = self.server.version is not None and self.path == "/version"
        self._answer(200 if known else 404, {"version": self.server.version} if known else {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        verb = self.path.strip("/")
        with self.server.lock:
            self.server.counts[f"{verb} {asked.get('name', '')}".strip()] += 1
        if self.server.fails_now():
            self._answer(503, {"error": "unlucky"})
        elif verb == "reset" and not self.server.has_sessions:
            self._answer(404, {})
        elif verb == "reset":
            self.server.episodes.append(asked)
            session = f"s{len(self.server.episodes)}"
            self.server.sessions[session] = []
            self._answer(200, {"session": session})
        elif verb == "close":
            self.server.sessions.pop(asked["session"])
            self._answer(200, {})
        else:
            self._call(asked["name"], asked["arguments"], asked["session"])

    def _call(self, name: str, arguments: Any, session: str) -> None:
        count = self.server.counts[f"call {name}"]
        match name:
            case "echo":
                self._answer(200, {"content": arguments, "is_error": False})
            case "remember":
                notes = self.server.sessions[session]
                notes.append(arguments["note"])
                self._answer(200, {"content": ", ".join(notes)})
            case "wrong":
                self._answer(200, {"content": "no such booking", "is_error": True})
            case "sleep":
                time.sleep(arguments["seconds"])
                self._answer(200, {"content": "awake"})
            case "drip":
                self.send_response(200)
                self.send_header("content-length", "1000")
                self.end_headers()
                with contextlib.suppress(OSError):
                    for _ in range(100):
                        self.wfile.write(b" ")
                        time.sleep(0.05)
                self.close_connection = True
            case "error500":
                self._answer(500, {})
            case "cut":
                self.send_response(200)
                self.send_header("content-length", "1000")
                self.end_headers()
                self.wfile.write(b'{"content": "half of')
                self.close_connection = True
            case "malformed":
                self._raw(200, b"{content: 1}")
            case "no_content":
                self._answer(200, {"result": 1})
            case "half_pair":
                self._raw(200, b'{"content": "\\ud83d"}')
            case "long":
                self._answer(200, {"content": "x" * arguments["length"]})
            case "busy_once" | "busy_long":
                pause = "0" if name == "busy_once" else "3600"
                done = name == "busy_once" and count > 1
                self._answer(200 if done else 429, {"content": "at last"} if done else {}, {"retry-after": pause})
            case "fails_once":
                self._answer(500 if count == 1 else 200, {"content": "second try"})
            case _:
                self._answer(404, {"error": "unknown tool"})

    def _answer(self, code: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._raw(code, json.dumps(body).encode(), headers)

    def _raw(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        with contextlib.suppress(OSError):
            self.send_response(code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

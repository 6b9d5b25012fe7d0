"""A policy for tests: a real HTTP server on loopback that answers chats as vLLM does, and dies on demand."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "fake-policy"

Answers = Callable[[str], str]
"""From the last message of a chat to what the policy says."""


class FakePolicy:
    """The server; every body it was sent is kept."""

    def __init__(self, answers: Answers, *, die_after: int | None = None) -> None:
        """`die_after`: so many requests are answered, then connections are cut and nobody listens."""
        self.requests: list[dict[str, Any]] = []
        self._answers, self._die_after = answers, die_after
        self._mutex = threading.Lock()
        self._is_dead = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.02))

    def __enter__(self) -> "FakePolicy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        """Ends in /v1."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def prompts(self) -> list[str]:
        """The last message of each request."""
        return [each["messages"][-1]["content"] for each in self.requests]

    def _takes(self, body: dict[str, Any]) -> bool:
        with self._mutex:
            self._is_dead = self._is_dead or len(self.requests) == self._die_after
            if not self._is_dead:
                self.requests.append(body)
            return not self._is_dead

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        said = self._answers(body["messages"][-1]["content"])
        choice = {"finish_reason": "stop", "logprobs": None, "message": {"role": "assistant", "content": said}}
        num = body.get("n") or 1
        return {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 0,
            "model": MODEL,
            "choices": [{"index": k, **choice} for k in range(num)],
            "usage": {"prompt_tokens": 9, "completion_tokens": 7 * num, "total_tokens": 9 + 7 * num},
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        policy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if policy._is_dead:
                    self._cut()
                elif self.path == "/v1/models":
                    self._tell(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
                else:
                    self._tell(200 if self.path == "/health" else 404, {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path != "/v1/chat/completions":
                    self._tell(404, {})
                elif policy._takes(body):
                    self._tell(200, policy._completion(body))
                else:
                    self._cut()

            def _tell(self, status: int, told: dict[str, Any]) -> None:
                data = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _cut(self) -> None:
                self.close_connection = True
                self.connection.close()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

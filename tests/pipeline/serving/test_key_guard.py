"""Without the key a server of ours answers nothing but whether it is well and what it counts."""

import asyncio
from typing import Any

import pytest

from pipeline.serving.key_guard import KeyGuard


@pytest.mark.parametrize(
    ("path", "key", "is_let_in"),
    [
        ("/v1/chat/completions", b"Bearer right", True),
        ("/v1/chat/completions", b"Bearer wrong", False),
        ("/v1/chat/completions", b"right", False),
        ("/v1/chat/completions", None, False),
        ("/invocations", None, False),
        ("/tokenize", None, False),
        ("/invocations", b"Bearer right", True),
        ("/health", None, True),
        ("/metrics", None, True),
        ("/health/../invocations", None, False),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_key_opens(
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    key: bytes | None,
    is_let_in: bool,  # noqa: FBT001 - a table's column
    kind: str,
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "right")
    passed: list[str] = []
    sent: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        passed.append(scope["path"])

    async def receive() -> dict[str, Any]:
        return {}

    async def send(message: Any) -> None:
        sent.append(message.get("status", message.get("code")))

    scope = {"type": kind, "path": path, "headers": [] if key is None else [(b"authorization", key)]}
    asyncio.run(KeyGuard(app)(scope, receive, send))
    assert passed == ([path] if is_let_in else [])
    assert sent == ([] if is_let_in else [401, None] if kind == "http" else [1008])


def test_the_servers_own_start_and_end_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "right")
    passed: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        passed.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    asyncio.run(KeyGuard(app)({"type": "lifespan"}, nothing, nothing))
    assert passed == ["lifespan"]

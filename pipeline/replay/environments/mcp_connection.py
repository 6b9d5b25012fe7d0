"""One connection to a Model Context Protocol server, behind functions that block."""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any, Literal, Self, TextIO

import anyio
import httpx2
import mcp_types as types
from anyio.from_thread import start_blocking_portal
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from pipeline.processes.guardian import guarded
from pipeline.replay.config import McpServer

START_S = 60.0
"""How long a server may take to answer at all."""

_GRACE_S = 1.0
_LATE_S = 15.0
_PAGES = 100
_INHERITED = ("PATH", "HOME", "LANG")
_MODERN_ONLY = (types.METHOD_NOT_FOUND, types.UNSUPPORTED_PROTOCOL_VERSION)
"""Answers to the handshake of servers that know only the protocol of 2026."""

# What the client has to say reaches us as an exception; its loggers would print a traceback of it as well.
for _logger in ("mcp", "client"):
    logging.getLogger(_logger).addHandler(logging.NullHandler())


class ServerUnavailableError(Exception):
    """The server cannot be started or reached, or does not speak the protocol."""


class Connection:
    """A server process of our own, or a session over HTTP; `server` tells its name, version and a hash of its tools."""

    def __init__(self, config: McpServer) -> None:
        self.server = ""
        self.tools: frozenset[str] = frozenset()
        self.session_id: str | None = None
        self._config = config
        self._stack = ExitStack()

    def open(self) -> Self:
        """Connect; ServerUnavailableError says why not.

        The handshake of before 2026 comes first: older servers end at a first message they do not know, and only it
        gives an HTTP server's client a session.
        """
        error = self._open("legacy")
        if isinstance(error, MCPError) and error.code in _MODERN_ONLY:
            error = self._open("auto")
        if error is None:
            return self
        raise ServerUnavailableError(f"{type(error).__name__}: {error}{self._last_words}") from error

    def call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """The server's answer to one call; raises TimeoutError, MCPError, or whatever else the client does."""
        future = self._portal.start_task_soon(self._call, name, arguments)
        return future.result(self._config.timeout_s + _LATE_S)

    def close(self) -> str:
        """End the session, the server process and all it started; returns the last line that it logged, in brackets."""
        # A connection that broke tells so once more when it is closed.
        with contextlib.suppress(Exception):
            self._stack.close()
        return self._last_words

    def _open(self, mode: Literal["legacy", "auto"]) -> BaseException | None:
        """Connect in one way; what went wrong, None if nothing did."""
        self._last_words = ""
        # The guardian passes on no more than a few kilobytes of what the server logs.
        errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with the stack
        with ExitStack() as stack:
            stack.callback(errors.close)
            stack.callback(self._read_last_words, errors)
            try:
                self._portal = stack.enter_context(start_blocking_portal())
                connected = self._portal.wrap_async_context_manager(self._connected(mode, errors))
                self._client = stack.enter_context(connected)
            except Exception as error:  # transports raise what they like, in groups of groups
                return _leaf(error)
            self._stack = stack.pop_all()
        return None

    @asynccontextmanager
    async def _connected(self, mode: Literal["legacy", "auto"], errors: TextIO) -> AsyncGenerator[Client]:
        async with AsyncExitStack() as stack:
            if self._config.command:
                # The guardian hides what the client would pass on beside these.
                program, *arguments = guarded(
                    self._config.command, grace_s=_GRACE_S, keep=(*_INHERITED, *self._config.env)
                )
                language = {"LANG": os.environ["LANG"]} if "LANG" in os.environ else {}  # passed on, not read
                server = StdioServerParameters(command=program, args=arguments, env=language | self._config.env)
                transport = stdio_client(server, errors)
            else:
                http = httpx2.AsyncClient(
                    headers=self._config.headers,
                    timeout=httpx2.Timeout(10.0, read=self._config.timeout_s + _LATE_S),
                    trust_env=False,  # what is configured is the server, no proxy of the machine's
                    event_hooks={"response": [self._note_session]},
                )
                http = await stack.enter_async_context(http)
                transport = streamable_http_client(str(self._config.url), http_client=http)
            client = Client(transport, mode=mode, read_timeout_seconds=START_S, cache=None)
            client = await stack.enter_async_context(client)
            await self._identify(client)
            yield client

    async def _identify(self, client: Client) -> None:
        tools: list[types.Tool] = []
        cursor: str | None = None
        for _ in range(_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += page.tools
            if (cursor := page.next_cursor) is None:
                break
        held = sorted(json.dumps(tool.model_dump(mode="json", exclude_none=True), sort_keys=True) for tool in tools)
        digest = hashlib.sha256("\n".join(held).encode()).hexdigest()[:16]
        told = client.server_info
        self.tools = frozenset(tool.name for tool in tools)
        self.server = f"{told.name} {told.version} {digest}" if told is not None else digest

    async def _note_session(self, response: httpx2.Response) -> None:
        self.session_id = response.headers.get("mcp-session-id", self.session_id)

    async def _call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        with anyio.fail_after(self._config.timeout_s):
            return await self._client.call_tool(name, arguments, self._config.timeout_s + _LATE_S)

    def _read_last_words(self, errors: TextIO) -> None:
        errors.seek(0)
        lines = [line.strip() for line in errors.read().splitlines() if line.strip()]
        self._last_words = f" ({lines[-1][:300]})" if lines else ""


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

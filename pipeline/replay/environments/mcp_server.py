"""An environment that is a server of the Model Context Protocol, a process of ours or reached over HTTP."""

import concurrent.futures
import contextlib
import time

import mcp_types as types
from mcp import MCPError

from pipeline.errors import EnvironmentUnavailableError
from pipeline.replay.config import McpServer
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.environments.calls import Crashes, lost, no_object, read_arguments, refused, returned
from pipeline.replay.environments.mcp_connection import Connection, ServerUnavailableError
from pipeline.replay.environments.mcp_content import read_result

TRIES = 3
"""How often a server is started, or connected to, before it counts as unavailable."""
PAUSE_S = 0.2
"""Pause before the second try; every later one is twice as long."""


class McpEnvironment:
    """Under `reset` every trajectory gets a process or an HTTP session of its own, under `read_only` all share one."""

    def __init__(self, name: str, config: McpServer) -> None:
        self.version = ""
        self._name = name
        self._config = config
        self._connection: Connection | None = None
        self._is_fresh = False
        self._crashes = Crashes()
        self._no_state: Observation | None = Observation("", Status.FAILED, "not reset yet")

    def start(self) -> None:
        """Connect, unless the server's tools are never called again."""
        if self._config.repeat != "never" and self._connection is None:
            self._connect()

    def reset(self, episode: Episode, seed: int) -> None:
        """Have a connection; under `reset` one that nothing was called over. The protocol tells servers no seed."""
        del seed
        self._crashes.begin(episode.trajectory_id)
        if self._config.repeat == "never":
            return
        if self._connection is not None and self._config.repeat == "reset" and not self._is_fresh:
            self._disconnect()
        if self._connection is None:
            self._connect()
        self._no_state = None

    def call(self, name: str, arguments: str) -> Observation:
        """The content the server gives back, errors of the tool included."""
        self._crashes.enter(name, arguments)
        if (refusal := refused(self._config, name) or self._no_state) is not None:
            return refusal
        if self._connection is None:  # it broke, and there is no state to lose
            try:
                self._connect()
            except EnvironmentUnavailableError as error:
                return Observation("", Status.FAILED, str(error))
        if self._connection is None or name not in self._connection.tools:
            return Observation("", Status.MISSING, f"tool {name}")
        if (read := read_arguments(arguments)) is None:
            return no_object()
        self._is_fresh = False
        try:
            return read_result(self._connection.call(name, read))
        except MCPError as error:
            if error.code == types.INVALID_PARAMS:
                return returned(error.message)
            timed_out = error.code == types.REQUEST_TIMEOUT
            return self._broke(Status.TIMEOUT if timed_out else Status.FAILED, name, error.message)
        except (TimeoutError, concurrent.futures.TimeoutError):
            return self._broke(Status.TIMEOUT, name, f"more than {self._config.timeout_s:g} s")
        except Exception as error:  # a call may end the transport in any way; that is no reason to end the stage
            return self._broke(Status.FAILED, name, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """End the connection, and with it a server process of ours."""
        self._disconnect()
        self._no_state = Observation("", Status.FAILED, "closed")

    def _broke(self, status: Status, name: str, why: str) -> Observation:
        broken = Observation("", status, f"tool {name}: {why}{self._disconnect()}")
        if status is Status.FAILED and self._config.command:  # a server of others may go down for any reason
            broken = self._crashes.observe(broken.detail)
        if self._config.repeat == "reset":
            self._no_state = lost(broken)
        return broken

    def _connect(self) -> None:
        connection = self._opened()
        if self._config.url is not None and self._config.repeat == "reset" and connection.session_id is None:
            connection.close()
            raise self._unavailable(
                "want an MCP server that gives sessions, found one that gives none, so its state cannot be fresh",
                'let it give sessions, or declare repeat = "read_only" if the mapped tools change nothing',
            )
        self._connection = connection
        self._is_fresh = True
        self.version = f"mcp {connection.server}"

    def _opened(self) -> Connection:
        """A new connection; raises EnvironmentUnavailableError once every try has failed."""
        pause_s = PAUSE_S
        for _ in range(TRIES - 1):
            with contextlib.suppress(ServerUnavailableError):
                return Connection(self._config).open()
            time.sleep(pause_s)
            pause_s *= 2
        try:
            return Connection(self._config).open()
        except ServerUnavailableError as error:
            at = self._config.command[0] if self._config.command else "the address in `url`"
            raise self._unavailable(f"want an MCP server from {at}, found {error}") from error

    def _disconnect(self) -> str:
        last_words = self._connection.close() if self._connection is not None else ""
        self._connection = None
        return last_words

    def _unavailable(
        self, found: str, mend: str = "start it, or mend `command` or `url`"
    ) -> EnvironmentUnavailableError:
        return EnvironmentUnavailableError(f"replay.environments.{self._name}: {found}; {mend}")

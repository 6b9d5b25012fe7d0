"""A vLLM server of our own on loopback, alive while a run asks it something."""

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx

from pipeline.errors import ModelServerError
from pipeline.serving.config import EMBEDDED, SERVED_NAME, ServerConfig
from pipeline.serving.embedded import embedded_weights, wheel_weights
from pipeline.serving.endpoint import Endpoint
from pipeline.serving.log_reading import why_ended
from pipeline.serving.probing import ask, root_of, served_models
from pipeline.serving.recipe import Launch, Recipe, Seat, vllm_launch
from pipeline.serving.role import JUDGE, Role
from pipeline.serving.server_process import ServerProcess, new_log
from pipeline.serving.turn import is_wanted, take_turn
from pipeline.serving.weights import folder_digest, telling_flags

LOCK = "own-server.lock"
"""Under the cache: held while a server of ours is alive."""

_LOOK_AGAIN_S = 0.25
_PORT_TRIES = 3
_PORT_TAKEN = "its port was taken"

_living: dict[Path, "OwnServer"] = {}
"""Of this process, by lock: a second one of ours would wait for itself."""


class OwnServer:
    """A model server that is started when somebody asks for its endpoint, and ended with us at the latest."""

    is_remote = False

    def __init__(
        self,
        config: ServerConfig,
        *,
        cache: Path,
        logs: Path,
        say: Callable[[str], None],
        recipe: Recipe = vllm_launch,
        role: Role = JUDGE,
    ) -> None:
        """Starts nothing. Another `recipe` starts another serving program that speaks the same API."""
        self._config = config
        self._cache = cache
        self._logs = logs
        self._say = say
        self._recipe = recipe
        self._role = role
        self._mutex = threading.Lock()
        self._closing = threading.Event()
        self._running: tuple[ServerProcess, Endpoint] | None = None
        self._failed: str | None = None
        self._identity: str | None = None

    @property
    def identity(self) -> str:
        """The model, its adapter and the flags that change answers. Raises ModelServerError if there are no weights."""
        if self._identity is None:
            self._identity = self._identify()
        return self._identity

    def endpoint(self) -> Endpoint:
        """The server, started if it is not alive. Raises ModelServerError: why it did not start, and where its log is.

        A server that once did not start is not tried again until it is closed; one that died later is.
        """
        with self._mutex:
            if self._failed is not None:
                raise ModelServerError(self._failed)
            if self._running is not None:
                process, endpoint = self._running
                if process.status() is None:
                    return endpoint
                self._end()
            self._make_room()
            try:
                self._running = self._start()
            except ModelServerError as error:
                self._failed = str(error)
                raise
            _living[self._lock] = self
            return self._running[1]

    def close(self) -> None:
        """End the server; nothing of it is left running."""
        self._closing.set()
        with self._mutex:
            self._end()
            self._failed = None
            self._closing.clear()

    def why_down(self) -> str | None:
        """What is known of the end of a server that died by itself, None while it is alive or was never started."""
        running = self._running
        if running is None or (status := running[0].status()) is None:
            return None
        log = running[0].log
        return f"the server has ended: {self._why_ended(log, status) or f'exit status {status}'}; its log: {log}"

    @property
    def is_in_the_way(self) -> bool:
        """Whether it is alive while another process waits to start one."""
        return self._running is not None and is_wanted(self._lock)

    @property
    def _lock(self) -> Path:
        return self._cache.absolute() / LOCK

    def _folder(self) -> Path | None:
        """The folder of weights, None for a name that vLLM resolves. Raises ModelServerError if it is not there."""
        path = Path(self._config.model).expanduser()
        if path.is_dir():
            return path.absolute()
        if path.is_absolute() or self._config.model.startswith((".", "~")):
            raise ModelServerError(f"{self._role.server}.model: want a folder of weights, found nothing at {path}")
        return None

    def _identify(self) -> str:
        config = self._config
        if config.model == EMBEDDED:
            told = wheel_weights().identity
        elif (folder := self._folder()) is None:
            told = config.model
        else:
            told = f"{folder.name}@{folder_digest(folder)}"
        if config.served is not None:
            adapter = Path(config.adapters[config.served])
            if not adapter.is_dir():
                raise ModelServerError(f"{self._role.server}.adapters.{config.served}: {adapter} is no folder")
            told = f"{told}+{config.served}@{folder_digest(adapter)}"
        return told + telling_flags(config.flags)

    def _why_ended(self, log: Path, status: int | None = None) -> str:
        return why_ended(log, status, role=self._role)

    def _make_room(self) -> None:
        other = _living.get(self._lock)
        if other is not None and other is not self:
            other.close()

    def _end(self) -> None:
        if self._running is not None:
            self._running[0].stop()
            self._running = None
        if _living.get(self._lock) is self:
            del _living[self._lock]

    def _start(self) -> tuple[ServerProcess, Endpoint]:
        folder = self._folder() if self._config.model != EMBEDDED else None
        key = secrets.token_urlsafe(32)
        seat = Seat(self._config.model, 0, key, self._lock.parent, self._role)
        self._recipe(self._config, seat)  # says at once what is missing
        if self._config.model == EMBEDDED:
            folder = embedded_weights(self._cache, self._say)
        if folder is not None:
            seat = replace(seat, model=str(folder))
        for attempt in range(1, _PORT_TRIES + 1):
            port = _free_port()
            endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", self._config.served or SERVED_NAME, key)
            try:
                return self._launch(self._recipe(self._config, replace(seat, port=port)), endpoint)
            except ModelServerError as error:
                if _PORT_TAKEN not in str(error) or attempt == _PORT_TRIES:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _launch(self, launch: Launch, endpoint: Endpoint) -> tuple[ServerProcess, Endpoint]:
        held = take_turn(self._lock, f"{launch.program} with {self._config.model}", self._say, self._closing)
        try:
            log = new_log(self._logs)
            process = ServerProcess(launch, log, held=held)
        except OSError as error:
            raise ModelServerError(f"model server: {error.filename}: {error.strerror}; mend its rights") from error
        finally:
            os.close(held)  # the guardian has it now
        try:
            begun = time.monotonic()
            self._say(f"starting {launch.program} with {self._config.model}; its log: {log}")
            self._wait(process, launch, endpoint)
            self._say(f"{launch.program} answers after {time.monotonic() - begun:.0f} s")
        except BaseException:
            process.stop()
            raise
        return process, Endpoint(endpoint.base_url, endpoint.model, endpoint.api_key, str(log))

    def _wait(self, process: ServerProcess, launch: Launch, endpoint: Endpoint) -> None:
        """Until it is well and serves the model. Raises ModelServerError."""
        limit_s = self._config.start_timeout_s
        until = time.monotonic() + limit_s
        while not _serves(endpoint):
            if (status := process.status()) is not None:
                why = self._why_ended(process.log, status) or f"exit status {status}, without a word"
                raise ModelServerError(f"model server: {launch.program} did not start: {why}; its log: {process.log}")
            if time.monotonic() > until:
                last = self._why_ended(process.log)
                raise ModelServerError(
                    f"model server: {launch.program} did not answer within {limit_s:g} s; last it said: "
                    f"{last or 'nothing'}; its log: {process.log}; large weights need a longer "
                    f"{self._role.server}.start_timeout_s"
                )
            if self._closing.wait(_LOOK_AGAIN_S):
                raise ModelServerError("model server: closed while it started")


def _serves(endpoint: Endpoint) -> bool:
    with contextlib.suppress(httpx.HTTPError, ValueError):
        if ask(f"{root_of(endpoint.base_url)}/health").is_success:
            answer = ask(f"{endpoint.base_url}/models", endpoint.api_key).raise_for_status()
            return endpoint.model in served_models(answer)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

"""A fork server in a sandbox, as the machine sees it: started, given calls, timed, ended."""

import time

from pipeline.errors import EnvironmentUnavailableError
from pipeline.replay.config import PythonSandbox
from pipeline.replay.sandbox.bubblewrap import start_isolated
from pipeline.replay.sandbox.protocol import (
    CALL,
    HELLO,
    OUTCOME,
    RECYCLE,
    REPLY,
    RESET,
    Answer,
    ForgedReplyError,
    Words,
    largest_reply,
    parse_answer,
    parse_words,
    request,
)

_START_S = 120.0
"""Until the modules are loaded; a second on an idle machine."""
_GRACE_S = 1.0
"""After its time a call is interrupted, and has so long to take that as its end."""
_PART = 2**18


class LostError(Exception):
    """The fork server is of no more use."""


class SilentError(LostError):
    """It did not answer in time."""


class GoneError(LostError):
    """It ended, or says what no fork server says."""


class WornError(LostError):
    """It asks for another in its place: the last trajectory left too much to clear away."""


class Zygote:
    """One sandbox with its fork server; whoever catches a `LostError` closes it."""

    def __init__(self, config: PythonSandbox, hash_seed: int) -> None:
        """Start it and wait until it has loaded its modules.

        Raises SandboxUnavailableError where nothing can be isolated, EnvironmentUnavailableError if the server does
        not come up.
        """
        self.hash_seed = hash_seed
        self.num_trajectories = 0
        self._timeout_s = config.timeout_s + _GRACE_S
        self._largest = largest_reply(config.output_bytes)
        self._isolated = start_isolated(config, hash_seed=hash_seed)
        self._received = bytearray()
        self._reset = b""
        try:
            kind, _, _ = self._reply(_START_S)
        except LostError as error:
            complaint = self._isolated.complaint()
            self.close()
            raise EnvironmentUnavailableError(
                f"sandbox: the Python in it did not start: {complaint or error or 'no answer'}; check `preload` and "
                "`interpreter`, and that memory is left"
            ) from error
        except BaseException:
            self.close()
            raise
        if kind != HELLO:
            self.close()
            raise EnvironmentUnavailableError("sandbox: the Python in it speaks another protocol; reinstall toolwise")

    @property
    def ended_for_memory(self) -> bool:
        """Whether the watch from outside ended it."""
        return self._isolated.ended_for_memory

    @property
    def pid(self) -> int:
        """The fork server, as the machine numbers it."""
        return self._isolated.pid

    def reset(self, seed: int) -> None:
        """Begin a trajectory; does not wait. Raises GoneError."""
        self.num_trajectories += 1
        self._send(request(RESET, str(seed).encode()), self._timeout_s)

    def call(self, code: bytes) -> tuple[Words, Answer | None]:
        """How the call ended; no answer from a process that ended without one. Raises LostError."""
        deadline = time.monotonic() + self._timeout_s
        self._send(request(CALL, code), self._timeout_s)
        kind, words, answer = self._reply(deadline - time.monotonic())
        if kind == RECYCLE:
            raise WornError
        if kind != OUTCOME:
            raise GoneError("an answer that was not asked for")
        try:
            return parse_words(words), parse_answer(answer) if answer else None
        except ForgedReplyError:
            return Words(end="forged"), None

    def close(self) -> None:
        """End every process of it."""
        self._isolated.kill()

    def _send(self, data: bytes, timeout_s: float) -> None:
        channel = self._isolated.channel
        try:
            channel.settimeout(max(timeout_s, 0.001))
            channel.sendall(data)
        except TimeoutError as error:
            raise SilentError from error
        except OSError as error:
            raise GoneError(str(error)) from error

    def _reply(self, timeout_s: float) -> tuple[bytes, bytes, bytes]:
        """Kind and parts of the next message; a late part does not win more time."""
        deadline = time.monotonic() + timeout_s
        while len(self._received) < REPLY.size:
            self._receive(deadline)
        kind, *sizes = REPLY.unpack_from(self._received)
        if max(sizes) > self._largest:
            raise GoneError("a reply beyond all size")
        end = REPLY.size + sum(sizes)
        while len(self._received) < end:
            self._receive(deadline)
        middle = REPLY.size + sizes[0]
        words, answer = bytes(self._received[REPLY.size : middle]), bytes(self._received[middle:end])
        del self._received[:end]
        return kind, words, answer

    def _receive(self, deadline: float) -> None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise SilentError
        channel = self._isolated.channel
        try:
            channel.settimeout(left_s)
            part = channel.recv(_PART)
        except TimeoutError as error:
            raise SilentError from error
        except OSError as error:
            raise GoneError(str(error)) from error
        if not part:
            raise GoneError("it ended")
        self._received += part

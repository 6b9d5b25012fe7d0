"""Threads that tools run in: one that hangs is left behind, and keeps neither the loop nor the process from ending."""

import asyncio
import contextlib
import os
import queue
import signal
import threading
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from pipeline.replay.environment import Environment


class Worker:
    """A daemon thread that does one thing after the other."""

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[], Any]) -> Any:
        """What the work returns or raises, done in the thread; a caller that is cancelled leaves it running there."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def told() -> None:
            try:
                result = work()
            except BaseException as error:
                _tell(loop, future, None, error)
            else:
                _tell(loop, future, result, None)

        self._queue.put(told)
        return await future

    def end(self, last: Callable[[], None] | None = None) -> None:
        """End the thread after what it does now and `last`; does not wait. Again does nothing."""
        if last is not None:
            self._queue.put(last)
        self._queue.put(None)

    def join(self, wait_s: float) -> None:
        """Wait for the end of the thread, no longer than this."""
        self._thread.join(max(wait_s, 0.0))

    @property
    def is_alive(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()


@runtime_checkable
class _OfOneProcess(Protocol):
    """An environment whose calls end with a process."""

    @property
    def pid(self) -> int | None:
        """The process, None where there is none."""
        ...


class Lane:
    """Environments in a thread of their own."""

    def __init__(self, number: int) -> None:
        self.worker = Worker(f"tools-{number}")
        self.environments: dict[str, Environment] = {}
        self.is_lost = False
        """Nobody waits for its call any more: its thread begins nothing new."""

    def end(self) -> None:
        """Have every environment closed in its own thread, once that comes back; does not wait."""
        self.worker.end(self._close_all)

    def give_up(self) -> None:
        """The same for a thread that hangs in a call; where that runs in a process, the process is killed."""
        self.is_lost = True
        self.end()
        for environment in list(self.environments.values()):
            pid = environment.pid if isinstance(environment, _OfOneProcess) else None
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _close_all(self) -> None:
        with contextlib.ExitStack() as stack:
            for environment in self.environments.values():
                stack.callback(environment.close)


def _tell(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]", result: object, error: BaseException | None
) -> None:
    """Hand over what came of it, if anybody still waits."""

    def settle() -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(settle)

"""Threads that tools run in: one that hangs is left behind, and keeps neither the loop nor the process from ending."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any


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

    def stop(self, last: Callable[[], None], wait_s: float) -> None:
        """Do `last` after what waits, and end the thread; one that hangs is not waited for any longer than this."""
        self._queue.put(last)
        self._queue.put(None)
        self._thread.join(wait_s)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()


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

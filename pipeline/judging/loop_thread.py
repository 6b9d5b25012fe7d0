"""An event loop in a thread of its own, for callers that have no loop, or have one they must not block."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any


class LoopThread:
    """Starts with the first work it is given."""

    def __init__(self) -> None:
        self.is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begin the work; cancelling the future cancels it. Raises RuntimeError once the thread is closed."""
        if self.is_closed:
            work.close()
            raise RuntimeError("the thread is closed")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A daemon: a caller that forgets to close it can still exit.
            self._thread = threading.Thread(target=self._loop.run_forever, name="judge", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancel what is left and end the thread; may be called twice."""
        self.is_closed = True
        if self._loop is None or self._thread is None or self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for each in left:
        each.cancel()
    await asyncio.gather(*left, return_exceptions=True)

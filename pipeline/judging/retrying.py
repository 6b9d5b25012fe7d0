"""Questions asked until they are answered, given up or the server is: attempts, waits between them, and the watch."""

import asyncio
import random
from collections.abc import Callable

import httpx2

from pipeline.judging.asking import ChatClient, Fate, RequestError
from pipeline.judging.config import JudgeConfig
from pipeline.judging.questions import Question, Reply
from pipeline.serving.endpoint import Endpoint

_LONGEST_WAIT_S = 60.0
"""Between two attempts, whatever the server asks for."""
_SEVERAL = 5
"""Outages in a row after which the server is asked for its health."""
_PROBES = 2
_BETWEEN_PROBES_S = 0.5
_FAILED_IN_A_ROW = 64
"""Requests in a row without one verdict after which nothing more is asked, at least; four for each in flight."""


class Watch:
    """Whether the server is still worth asking. A server that merely fails often is."""

    def __init__(self, client: ChatClient, endpoint: Endpoint, config: JudgeConfig) -> None:
        self.down: str | None = None
        """Why it is not."""
        self.stopped = asyncio.Event()
        self._client = client
        self._endpoint = endpoint
        self._most_failures = max(_FAILED_IN_A_ROW, 4 * config.concurrency)
        self._num_failures = 0
        self._num_outages = 0
        self._probing = asyncio.Lock()

    def answered(self, *, with_verdict: bool) -> None:
        """The server replied; a refusal is no verdict, but a sign of life."""
        self._num_outages = 0
        if with_verdict:
            self._num_failures = 0

    async def failed(self, error: RequestError) -> None:
        """Count a failure, and look after the server if there were several."""
        if error.fate is Fate.DENIED:
            self._stop(f"does not let us in, {error.text}; check TOOLWISE_JUDGE_API_KEY")
        elif error.fate is Fate.REFUSED:
            self.answered(with_verdict=False)
        else:
            self._num_failures += 1
            self._num_outages += error.is_outage
            async with self._probing:  # one asks, the others wait for what it finds
                if self._num_outages >= _SEVERAL and self.down is None:
                    await self._probe(error)
            if self._num_failures >= self._most_failures:
                self._stop(f"gave no verdict to {self._num_failures} requests in a row, the last: {error.text}")

    async def _probe(self, error: RequestError) -> None:
        for number in range(_PROBES):
            if number:
                await asyncio.sleep(_BETWEEN_PROBES_S)
            if await self._client.is_alive():
                self._num_outages = 0
                return
        self._stop(f"stopped answering, {error.text}")

    def _stop(self, why: str) -> None:
        if self.down is None:
            log = f"; its log is {self._endpoint.log}" if self._endpoint.log else ""
            shown = httpx2.URL(self._endpoint.base_url).copy_with(userinfo=b"")  # it may hold a password
            self.down = f"the judge at {shown} {why}{log}"
            self.stopped.set()


class Asker:
    """Asks one question as often as the configuration allows."""

    def __init__(self, client: ChatClient, watch: Watch, config: JudgeConfig) -> None:
        self._client = client
        self._watch = watch
        self._config = config
        self._jitter = random.Random()

    async def ask(self, question: Question, asking: Callable[[], None], tried: Callable[[], None]) -> Reply:
        """The reply; `asking` is called before every attempt, `tried` after, however it ended."""
        attempt = 0
        while True:
            attempt += 1
            asking()
            try:
                score = await self._client.score(question.messages)
            except RequestError as error:
                tried()
                await self._watch.failed(error)
                if error.fate is not Fate.RETRY:
                    return Reply(None, error.text, num_attempts=attempt)
                if attempt >= self._config.max_attempts:
                    return Reply(None, f"{error.text}; {attempt} attempts", num_attempts=attempt)
                await asyncio.sleep(self._wait_s(attempt, error))
            else:
                tried()
                self._watch.answered(with_verdict=True)
                return Reply(score, num_attempts=attempt)

    def _wait_s(self, attempt: int, error: RequestError) -> float:
        """Doubled with each attempt, spread so that those that failed together do not come back together."""
        wait = self._config.backoff_s * 2 ** (attempt - 1) * self._jitter.uniform(0.5, 1.5)
        if error.retry_after_s is not None:
            wait = max(wait, error.retry_after_s * self._jitter.uniform(1.0, 1.2))
        return min(wait, _LONGEST_WAIT_S)

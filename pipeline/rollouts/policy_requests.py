"""Requests to a policy's server: tried again while that may help, and no longer."""

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import orjson

from pipeline.errors import PolicyDownError, PolicyRequestError
from pipeline.rollouts.config import PolicyConfig
from pipeline.serving.endpoint import Endpoint
from pipeline.serving.probing import is_loopback, root_of

Told = TypeVar("Told")

_KEPT_OPEN_S = 4.0
"""vLLM closes a connection that was idle for five seconds; one just closed would cost an attempt."""
_CONNECT_S = 10.0
_HEALTH_S = 5.0
_LONGEST_WAIT_S = 60.0
"""Between two tries, whatever the server asks for."""
_SEVERAL = 5
"""Outages in a row after which the server is asked for its health."""
_PROBES = 2
_BETWEEN_PROBES_S = 0.5
_FAILED_IN_A_ROW = 64
"""Requests in a row without an answer after which nothing more is asked, at least; four for each in flight."""
_TRIED_AGAIN = (408, 409, 425, 429)
_TAKES_US_NOT = (401, 403, 404)
_LONG = ("context length", "too long", "maximum input", "max_model_len", "input tokens")
LONG = "the prompt is longer than the policy takes"
"""How the cause reads where a server refused a prompt for its length."""


@dataclass(slots=True, eq=False)
class RequestError(Exception):
    """One request without an answer."""

    text: str
    """Status and cause, without a word of prompt or answer."""
    is_refused: bool = False
    """The server does not take this request, however often it is asked."""
    is_denied: bool = False
    """The server does not take us."""
    is_outage: bool = False
    """Whether a server that is gone would look like that."""
    retry_after_s: float | None = None


class PolicyClient:
    """Requests to one server over connections that are used again; it belongs to one event loop."""

    def __init__(self, endpoint: Endpoint, config: PolicyConfig) -> None:
        self.down: str | None = None
        """Why nothing more is asked; None while the server answers."""
        self.stopped = asyncio.Event()
        self.num_requests = 0
        """Requests made, further tries included."""
        self.endpoint = endpoint
        self._config = config
        self._http = httpx2.AsyncClient(
            limits=httpx2.Limits(
                max_connections=config.concurrency + 1,  # one beside the requests, for the health check
                max_keepalive_connections=config.concurrency + 1,
                keepalive_expiry=_KEPT_OPEN_S,
            ),
            timeout=httpx2.Timeout(config.timeout_s, connect=min(_CONNECT_S, config.timeout_s)),
            headers={"Authorization": f"Bearer {endpoint.api_key}", "Content-Type": "application/json"},
            follow_redirects=True,
            trust_env=not is_loopback(endpoint.base_url),
        )
        self._jitter = random.Random()
        self._num_failures = 0
        self._num_outages = 0
        self._probing = asyncio.Lock()

    async def ask(self, path: str, body: dict[str, Any], read: Callable[[Any], Told]) -> Told:
        """What `read` makes of the server's reply, asked as often as the configuration allows.

        `read` raises ValueError, KeyError, TypeError or AttributeError for a reply that is not one. Raises
        PolicyRequestError, whose message begins with "refused" where asking again cannot help; PolicyDownError where
        nothing more is to be asked.
        """
        tried = 0
        while True:
            if self.down is not None:
                raise PolicyDownError(self.down)
            try:
                told = await self.ask_once(path, body, read)
            except RequestError as error:
                tried += 1
                await self.failed(error)
                if error.is_refused:
                    raise PolicyRequestError(error.text) from error
                if self.down is not None:
                    raise PolicyDownError(self.down) from error
                if tried >= self._config.max_attempts:
                    raise PolicyRequestError(f"{error.text}; {tried} tries") from error
                await asyncio.sleep(self.wait_s(tried, error))
            else:
                return told

    async def ask_once(self, path: str, body: dict[str, Any], read: Callable[[Any], Told]) -> Told:
        """The same, asked once. Raises RequestError."""
        self.num_requests += 1
        url = f"{self.endpoint.base_url.rstrip('/')}/{path}"
        try:
            async with asyncio.timeout(self._config.timeout_s):
                response = await self._http.post(url, content=orjson.dumps(body))
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise RequestError(f"timeout: no answer in {self._config.timeout_s:g} s", is_outage=True) from error
        except httpx2.HTTPError as error:
            raise RequestError(f"connection failed ({type(error).__name__})", is_outage=True) from error
        if not response.is_success:
            raise _refusal(response)
        try:
            told = read(orjson.loads(response.content))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RequestError("malformed reply: not what was asked for") from error
        self._num_outages = self._num_failures = 0
        return told

    async def failed(self, error: RequestError) -> None:
        """Count a failure, and look after the server if there were several."""
        if error.is_denied:
            self._stop(
                f"does not let us in or knows no such model, {error.text}; check TOOLWISE_POLICY_MODEL and _API_KEY"
            )
        elif error.is_refused:
            self._num_outages = 0
        else:
            self._num_failures += 1
            self._num_outages += error.is_outage
            async with self._probing:  # one asks, the others wait for what it finds
                if self._num_outages >= _SEVERAL and self.down is None:
                    await self._probe(error)
            if self._num_failures >= max(_FAILED_IN_A_ROW, 4 * self._config.concurrency):
                self._stop(f"gave no answer to {self._num_failures} requests in a row, the last: {error.text}")

    def wait_s(self, tried: int, error: RequestError) -> float:
        """Doubled with each try, spread so that those that failed together do not come back together."""
        wait = self._config.backoff_s * 2 ** (tried - 1) * self._jitter.uniform(0.5, 1.5)
        if error.retry_after_s is not None:
            wait = max(wait, error.retry_after_s * self._jitter.uniform(1.0, 1.2))
        return min(wait, _LONGEST_WAIT_S)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _probe(self, error: RequestError) -> None:
        for number in range(_PROBES):
            if number:
                await asyncio.sleep(_BETWEEN_PROBES_S)
            if await self._is_alive():
                self._num_outages = 0
                return
        self._stop(f"stopped answering, {error.text}")

    async def _is_alive(self) -> bool:
        """Whether the server says that it is well: /health, or the list of models where it has none."""
        base = self.endpoint.base_url.rstrip("/")
        for url in (f"{root_of(base)}/health", f"{base}/models"):
            try:
                response = await self._http.get(url, timeout=_HEALTH_S)
            except httpx2.HTTPError:
                return False
            if response.is_success:
                return True
            if response.status_code >= 500:
                return False
        return True

    def _stop(self, why: str) -> None:
        if self.down is None:
            log = f"; its log is {self.endpoint.log}" if self.endpoint.log else ""
            shown = httpx2.URL(self.endpoint.base_url).copy_with(userinfo=b"")  # it may hold a password
            self.down = f"the policy at {shown} {why}{log}"
            self.stopped.set()


def _refusal(response: httpx2.Response) -> RequestError:
    status = response.status_code
    if status in _TRIED_AGAIN or status >= 500:
        text = f"{'server error' if status >= 500 else 'busy'} ({status})"
        return RequestError(text, retry_after_s=_retry_after_s(response), is_outage=status >= 500)
    if status in _TAKES_US_NOT:
        return RequestError(f"denied ({status})", is_denied=True)
    told = response.text[:2000].lower()
    cause = LONG if any(word in told for word in _LONG) else "no cause given"
    return RequestError(f"refused ({status}): {cause}", is_refused=True)


def _retry_after_s(response: httpx2.Response) -> float | None:
    """Seconds the server asks for, None where it does not say so in seconds."""
    try:
        asked_for = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(asked_for, 0.0) if math.isfinite(asked_for) else None

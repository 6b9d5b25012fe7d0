"""An environment that is a tool server over plain HTTP; docs/design/environments.md has the messages."""

import contextlib
import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from pipeline.errors import EnvironmentUnavailableError
from pipeline.replay.config import HttpServer
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.environments.calls import MAX_RESULT_CHARS, as_text, lost, read_arguments, refused, returned

TRIES = 4
"""How often at most a request is sent that may be sent again."""
PAUSE_S = 0.1
"""Pause before the second try; every later one is twice as long."""
LONGEST_PAUSE_S = 10.0
"""A server that asks for a longer pause with Retry-After is not waited for."""

_REPLY_BYTES = 4 * MAX_RESULT_CHARS
_CLOSE_S = 5.0
_NO_SESSIONS = (404, 405, 501)
_BUSY = 429


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a request came to: an HTTP status and an object, or why there is none."""

    code: int = 0
    body: dict[str, Any] | None = None
    failure: Status | None = None
    detail: str = ""
    pause_s: float | None = None
    is_unreachable: bool = False

    @property
    def is_passing(self) -> bool:
        """Whether another try may come to more."""
        return self.code == _BUSY or self.failure is Status.FAILED


class HttpEnvironment:
    """A session a trajectory under `reset`, none where the server's tools only read.

    A request is sent again after a failure only where that cannot repeat an effect: reset, calls of a read-only server,
    and whatever never reached the server or was refused with 429.
    """

    def __init__(self, name: str, config: HttpServer) -> None:
        self._declared = f"http {hashlib.sha256(config.url.encode()).hexdigest()[:16]} {config.version}"
        self.version = self._declared
        self._name = name
        self._config = config
        self._url = config.url.rstrip("/")
        self._shown = re.sub(r"//[^/]*@", "//", self._url)  # without a password
        self._client: httpx.Client | None = None
        self._session: str | None = None
        self._no_state: Observation | None = Observation("", Status.FAILED, "not reset yet")

    def start(self) -> None:
        """Ask the server for its version, which it need not have; whether it is there at all shows as well."""
        if self._config.repeat == "never":
            return
        try:
            scheme = httpx.URL(self._url).scheme
        except httpx.InvalidURL as error:
            raise self._unavailable(f"want a url, found one that is none ({error})", "mend `url`") from error
        if scheme not in ("http", "https"):
            raise self._unavailable(f"want a url with http or https, found {scheme!r}", "mend `url`")
        reply = self._request("version", None, may_repeat=True)
        self._raise_unreachable(reply)
        if reply.body is not None and isinstance(told := reply.body.get("version"), str):
            self.version = f"{self._declared} {told}"

    def reset(self, episode: Episode, seed: int) -> None:
        """Open a session; a server that is there but fails leaves every call of the trajectory `failed`."""
        if self._config.repeat == "never":
            return
        self._end_session()
        reply = self._request("reset", {"episode": asdict(episode), "seed": seed}, may_repeat=True)
        self._raise_unreachable(reply)
        self._no_state = None
        if reply.code in _NO_SESSIONS:
            if self._config.repeat == "reset":
                raise self._unavailable(
                    f"want a session from POST {self._shown}/reset, found HTTP {reply.code}",
                    'serve it, or declare repeat = "read_only" if the mapped tools change nothing',
                )
        elif reply.failure is not None or reply.code != 200 or reply.body is None:
            self._no_state = Observation("", Status.FAILED, f"reset: {reply.detail or f'HTTP {reply.code}'}")
        elif isinstance(session := reply.body.get("session"), str):
            self._session = session
        elif self._config.repeat == "reset":
            self._no_state = Observation("", Status.FAILED, "reset: a reply without a session")

    def call(self, name: str, arguments: str) -> Observation:
        """What the server answers; arguments that are no object are sent as the text they are."""
        if (refusal := refused(self._config, name) or self._no_state) is not None:
            return refusal
        read = read_arguments(arguments)
        asked = {"session": self._session, "name": name, "arguments": arguments if read is None else read}
        may_repeat = self._config.repeat == "read_only"
        reply = self._request("call", asked, may_repeat=may_repeat)
        if reply.code == 404 and reply.body is not None and reply.body.get("error") == "unknown tool":
            return Observation("", Status.MISSING, f"tool {name}")
        if reply.failure is None and reply.code == 200 and reply.body is not None and "content" in reply.body:
            return returned(as_text(reply.body["content"]))
        detail = reply.detail or (f"HTTP {reply.code}" if reply.code != 200 else "a reply without content")
        broken = Observation("", reply.failure or Status.FAILED, f"tool {name}: {detail}")
        if not may_repeat and broken.status is not Status.CAPPED:
            # The server may have carried it out or not.
            self._no_state = lost(broken)
        return broken

    def close(self) -> None:
        """End the session and every connection."""
        self._end_session()
        if self._client is not None:
            self._client.close()
        self._client = None
        self._no_state = Observation("", Status.FAILED, "closed")

    def _end_session(self) -> None:
        if self._session is not None:
            self._send("close", {"session": self._session}, min(_CLOSE_S, self._config.timeout_s))
        self._session = None

    def _request(self, verb: str, asked: dict[str, Any] | None, *, may_repeat: bool) -> _Reply:
        """The reply, after as many tries as are safe."""
        pause_s = PAUSE_S
        reply = self._send(verb, asked, self._config.timeout_s)
        for _ in range(TRIES - 1):
            safe = may_repeat or reply.is_unreachable or reply.code == _BUSY
            wait_s = pause_s if reply.pause_s is None else reply.pause_s
            if not (reply.is_passing and safe) or wait_s > LONGEST_PAUSE_S:
                return reply
            time.sleep(wait_s)
            pause_s *= 2
            reply = self._send(verb, asked, self._config.timeout_s)
        return reply

    def _send(self, verb: str, asked: dict[str, Any] | None, timeout_s: float) -> _Reply:
        """One try."""
        if self._client is None:
            # No proxy of the machine's: what is configured is the server itself.
            self._client = httpx.Client(headers=self._config.headers, trust_env=False, timeout=self._config.timeout_s)
        until = time.monotonic() + timeout_s
        held = bytearray()
        try:
            # Not httpx's own JSON, which stumbles over half surrogate pairs.
            sent = None if asked is None else json.dumps(asked).encode()
            with self._client.stream(
                "GET" if sent is None else "POST",
                f"{self._url}/{verb}",
                content=sent,
                headers={"content-type": "application/json"},
                timeout=timeout_s,
            ) as response:
                for part in response.iter_bytes():
                    held += part
                    if len(held) > _REPLY_BYTES:
                        return _Reply(failure=Status.CAPPED, detail=f"a reply of more than {_REPLY_BYTES} bytes")
                    if time.monotonic() > until:
                        raise httpx.ReadTimeout("the whole reply")
                code, wanted_pause = response.status_code, response.headers.get("retry-after")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return _Reply(failure=Status.FAILED, detail=f"no connection: {error}", is_unreachable=True)
        except httpx.TimeoutException:
            return _Reply(failure=Status.TIMEOUT, detail=f"more than {timeout_s:g} s")
        except httpx.HTTPError as error:
            return _Reply(failure=Status.FAILED, detail=f"the connection broke: {type(error).__name__}: {error}")
        body: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(held)
        if code == _BUSY:
            return _Reply(code, detail="HTTP 429, too many requests", pause_s=_seconds(wanted_pause))
        if code >= 500 and code not in _NO_SESSIONS:
            return _Reply(code, failure=Status.FAILED, detail=f"HTTP {code}")
        if code == 200 and not isinstance(body, dict):
            return _Reply(code, failure=Status.FAILED, detail="a reply that is not a JSON object")
        return _Reply(code, body if isinstance(body, dict) else None)

    def _raise_unreachable(self, reply: _Reply) -> None:
        if reply.is_unreachable:
            raise self._unavailable(f"want a server at {self._shown}, found {reply.detail}", "start it, or mend `url`")

    def _unavailable(self, found: str, mend: str) -> EnvironmentUnavailableError:
        return EnvironmentUnavailableError(f"replay.environments.{self._name}: {found}; {mend}")


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After in seconds; None where it is a date or nothing."""
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None

"""Requests to a policy's server: tried again while that may help, and no longer."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.errors import PolicyDownError, PolicyRequestError
from pipeline.rollouts.config import PolicyConfig
from pipeline.serving.endpoint import Endpoint
from pipeline.serving.requests import Fate, RequestError, ServerClient, Watch, Wording
from pipeline.serving.role import POLICY

Told = TypeVar("Told")

LONG = "the prompt is longer than the policy takes"
"""How the cause reads where a server refused a prompt for its length."""
_WORDING = Wording(
    POLICY,
    answer="answer",
    too_long=LONG,
    denial="does not let us in or knows no such model",
    check="TOOLWISE_POLICY_MODEL and _API_KEY",
    denied=(401, 403, 404),
)


class PolicyClient:
    """Requests to one server over connections that are used again; it belongs to one event loop."""

    def __init__(self, endpoint: Endpoint, config: PolicyConfig) -> None:
        self.num_requests = 0
        """Requests made, further tries included."""
        self.endpoint = endpoint
        self._max_attempts = config.max_attempts
        self._server = ServerClient(endpoint, config, _WORDING)
        self._watch = Watch(self._server, config)

    @property
    def down(self) -> str | None:
        """Why nothing more is asked; None while the server answers."""
        return self._watch.down

    @property
    def stopped(self) -> asyncio.Event:
        """Set once nothing more is asked."""
        return self._watch.stopped

    async def ask(self, path: str, body: dict[str, Any], read: Callable[[Any], Told]) -> Told:
        """What `read` makes of the server's reply, asked as often as the configuration allows.

        `read` raises ValueError, KeyError, TypeError or AttributeError for a reply that is not one, RequestError where
        it knows better what that means. Raises PolicyRequestError, whose message begins with "refused" where asking
        again cannot help; PolicyDownError where nothing more is to be asked.
        """
        tried = 0
        while True:
            if self.down is not None:
                raise PolicyDownError(self.down)
            tried += 1
            self.num_requests += 1
            try:
                told = _read(await self._server.post(path, body), read)
            except RequestError as error:
                await self._watch.failed(error)
                if error.fate is Fate.REFUSED:
                    raise PolicyRequestError(error.text) from error
                if self.down is not None:
                    raise PolicyDownError(self.down) from error
                if tried >= self._max_attempts:
                    raise PolicyRequestError(f"{error.text}; {tried} tries") from error
                await self._watch.pause(tried, error)
            else:
                self._watch.answered(with_answer=True)
                return told

    async def close(self) -> None:
        """Close every connection."""
        await self._server.close()


class ClientOfLoop:
    """A client for each event loop that asks, since connections belong to one."""

    def __init__(self, endpoint: Endpoint, config: PolicyConfig) -> None:
        self._endpoint = endpoint
        self._config = config
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, PolicyClient] = weakref.WeakKeyDictionary()

    def get(self) -> PolicyClient:
        """That of the running loop; another one once it was closed, so that a server that was down is asked again."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            for gone in [each for each in self._clients if each.is_closed()]:
                del self._clients[gone]
            self._clients[loop] = PolicyClient(self._endpoint, self._config)
        return self._clients[loop]

    async def close(self) -> None:
        """Close the connections of the running loop; those of others end with them."""
        if (client := self._clients.pop(asyncio.get_running_loop(), None)) is not None:
            await client.close()


def _read(reply: Any, read: Callable[[Any], Told]) -> Told:
    """What `read` makes of it. Raises RequestError."""
    try:
        return read(reply)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError("malformed reply: not what was asked for") from error

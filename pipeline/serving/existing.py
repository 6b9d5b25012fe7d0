"""A model server that somebody else runs."""

import time
from functools import cached_property

import httpx

from pipeline.errors import ModelServerError
from pipeline.serving.endpoint import Endpoint
from pipeline.serving.probing import ask, is_loopback, root_of, served_models
from pipeline.serving.role import JUDGE, Role

_TRIES = 3
_WAIT_S = 0.5
_NUM_SHOWN = 20


class ExistingServer:
    """An OpenAI-compatible endpoint."""

    def __init__(
        self, base_url: str, *, model: str | None, api_key: str | None, revision: str, role: Role = JUDGE
    ) -> None:
        """Raises ModelServerError for what is no address; nothing is asked yet."""
        self._base_url = base_url.rstrip("/")
        self._model = model
        self._api_key = api_key
        self._revision = revision
        self._role = role
        try:
            url = httpx.URL(self._base_url)
        except httpx.InvalidURL as error:
            raise ModelServerError(
                f"{role.base_url}: want http://HOST:PORT/v1, found what is no address ({error})"
            ) from error
        self.shown_url = str(url.copy_with(userinfo=b""))
        """The address without the password it may hold."""
        if url.scheme not in ("http", "https") or not url.host:
            raise ModelServerError(f"{role.base_url}: want http://HOST:PORT/v1, found {self.shown_url}")

    @property
    def is_remote(self) -> bool:
        """Whether what is asked leaves this machine."""
        return not is_loopback(self._base_url)

    @property
    def identity(self) -> str:
        """The model's name and revision, wherever it runs; a model that is not named is looked up."""
        model = self._model or self._only_model
        return f"{model}@{self._revision}" if self._revision else model

    def endpoint(self) -> Endpoint:
        """The server, once it has said that it is well and serves the model.

        Raises ModelServerError saying what it answered, and what to do.
        """
        self._check_health()
        served = self._served()
        model = self._model or self._only(served)
        if model not in served:
            raise ModelServerError(
                f"{self.shown_url}: want the model {model!r}, found {_listed(served)}; name one in "
                f"{self._role.variables}_MODEL"
            )
        return Endpoint(self._base_url, model, self._api_key or "none")

    def close(self) -> None:
        """Nothing: it is not ours to end."""

    @cached_property
    def _only_model(self) -> str:
        return self._only(self._served())

    def _only(self, served: list[str]) -> str:
        if len(served) != 1:
            raise ModelServerError(
                f"{self.shown_url}: serves {_listed(served)}; say which one to ask in {self._role.variables}_MODEL"
            )
        return served[0]

    def _check_health(self) -> None:
        """Raises ModelServerError where the server says it is not well; one without /health says nothing."""
        answer = self._ask(f"{root_of(self._base_url)}/health")
        if answer.is_server_error:
            raise ModelServerError(
                f"{self.shown_url}: it answers, but says it is not well (status {answer.status_code}); "
                "look at its log, and start it again"
            )

    def _served(self) -> list[str]:
        answer = self._ask(f"{self._base_url}/models")
        status = answer.status_code
        if status in (401, 403):
            found = "no key" if self._api_key is None else "one that it refuses"
            raise ModelServerError(
                f"{self.shown_url}: want an API key, found {found} (status {status}); set "
                f"{self._role.variables}_API_KEY"
            )
        if status == 404:
            raise ModelServerError(
                f"{self.shown_url}: no list of models at {self.shown_url}/models; {self._role.base_url} most often "
                "ends in /v1"
            )
        try:
            return served_models(answer.raise_for_status())
        except (httpx.HTTPStatusError, ValueError) as error:
            raise ModelServerError(
                f"{self.shown_url}: want an OpenAI-compatible server, found status {status} without a list of models; "
                f"mend {self._role.base_url}"
            ) from error

    def _ask(self, url: str) -> httpx.Response:
        """Its answer; what may pass is tried again. Raises ModelServerError if there is none."""
        for attempt in range(1, _TRIES + 1):
            try:
                answer = ask(url, self._api_key)
            except httpx.HTTPError as error:
                if attempt == _TRIES:
                    told = str(error) or type(error).__name__
                    raise ModelServerError(
                        f"{self.shown_url}: cannot be reached ({told}); start the server, or mend {self._role.base_url}"
                    ) from error
            else:
                if not answer.is_server_error or attempt == _TRIES:
                    return answer
            time.sleep(_WAIT_S)
        raise AssertionError("the last attempt returns or raises")


def _listed(served: list[str]) -> str:
    if not served:
        return "no model"
    more = f" and {len(served) - _NUM_SHOWN} more" if len(served) > _NUM_SHOWN else ""
    return ", ".join(served[:_NUM_SHOWN]) + more

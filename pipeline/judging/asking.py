"""One request to a judge: what is sent, what comes back, and what a failure means."""

import asyncio
import math
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

import httpx2
import openai
import orjson

from pipeline.errors import JudgeReplyError
from pipeline.judging.config import JudgeConfig
from pipeline.judging.replies import ANSWER, LABELS, score_of
from pipeline.serving.endpoint import Endpoint
from pipeline.serving.probing import is_loopback, root_of

_REPLY_TOKENS = {"choice": 8, "json_schema": 64, "none": 8}
"""JSON comes with any number of line breaks."""
_TOP_LOGPROBS = 20
_SCHEMA = {
    "type": "object",
    "properties": {ANSWER: {"type": "string", "enum": list(LABELS)}},
    "required": [ANSWER],
    "additionalProperties": False,
}
_CONSTRAINTS: dict[str, dict[str, Any]] = {
    "choice": {"structured_outputs": {"choice": list(LABELS)}},
    "json_schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "schema": _SCHEMA, "strict": True},
        }
    },
    "none": {},
}
_KEPT_OPEN_S = 4.0
"""vLLM closes a connection that was idle for five seconds; one just closed would cost an attempt."""
_CONNECT_S = 10.0
_HEALTH_S = 5.0
_TRIED_AGAIN = (408, 409, 425, 429)
_DENIED = (401, 403)
_LONG = ("context length", "too long", "maximum input", "max_model_len")


class Fate(Enum):
    """What a failed request means."""

    RETRY = "retry"
    REFUSED = "refused"
    """The server does not take this question, however often it is asked."""
    DENIED = "denied"
    """The server does not take us."""


@dataclass(slots=True, eq=False)
class RequestError(Exception):
    """A request without a verdict."""

    text: str
    """Status and cause, without a word of prompt or reply."""
    fate: Fate = Fate.RETRY
    retry_after_s: float | None = None
    is_outage: bool = False
    """Whether a server that is gone would look like that."""


class ChatClient:
    """Requests of one judge over connections that are used again."""

    def __init__(self, endpoint: Endpoint, config: JudgeConfig) -> None:
        self._endpoint = endpoint
        self._config = config
        limits = httpx2.Limits(
            max_connections=config.concurrency + 1,  # one beside the questions, for the health check
            max_keepalive_connections=config.concurrency + 1,
            keepalive_expiry=_KEPT_OPEN_S,
        )
        timeout = httpx2.Timeout(config.timeout_s, connect=min(_CONNECT_S, config.timeout_s))
        self._http = httpx2.AsyncClient(
            limits=limits, timeout=timeout, follow_redirects=True, trust_env=not is_loopback(endpoint.base_url)
        )
        self._openai = openai.AsyncOpenAI(
            base_url=endpoint.base_url, api_key=endpoint.api_key, max_retries=0, http_client=self._http, timeout=timeout
        )
        self._sent: dict[str, Any] = {
            "model": endpoint.model,
            "temperature": 0.0,
            "max_tokens": _REPLY_TOKENS[config.constrain],
            **_CONSTRAINTS[config.constrain],
        }
        if config.logprobs:
            self._sent |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}

    async def score(self, messages: list[dict[str, Any]]) -> float:
        """The probability of yes. Raises RequestError."""
        try:
            async with asyncio.timeout(self._config.timeout_s):
                # As it is: turning prompts and logprobs into the client's own objects costs a millisecond a request.
                raw = await self._openai.post(
                    "/chat/completions", cast_to=httpx2.Response, body={**self._sent, "messages": messages}
                )
            reply = orjson.loads(raw.content)
            return score_of(reply, constrain=self._config.constrain, logprobs=self._config.logprobs)
        except (TimeoutError, openai.APITimeoutError) as error:
            raise RequestError(f"timeout: no answer in {self._config.timeout_s:g} s", is_outage=True) from error
        except openai.APIConnectionError as error:
            cause = type(error.__cause__ or error).__name__
            raise RequestError(f"connection failed ({cause})", is_outage=True) from error
        except openai.APIStatusError as error:
            raise _refusal(error) from error
        except openai.APIError as error:
            raise RequestError(f"request failed ({type(error).__name__})") from error
        except orjson.JSONDecodeError as error:
            raise RequestError("malformed reply: no JSON") from error
        except JudgeReplyError as error:
            raise RequestError(str(error)) from error

    async def is_alive(self) -> bool:
        """Whether the server says that it is well: /health, or the list of models where it has none."""
        base = self._endpoint.base_url.rstrip("/")
        headers = {"Authorization": f"Bearer {self._endpoint.api_key}"}
        for url in (f"{root_of(base)}/health", f"{base}/models"):
            try:
                response = await self._http.get(url, headers=headers, timeout=_HEALTH_S)
            except httpx2.HTTPError:
                return False
            if response.is_success:
                return True
            if response.status_code >= 500:
                return False
        return True

    async def close(self) -> None:
        """Close every connection."""
        await self._openai.close()


def _refusal(error: openai.APIStatusError) -> RequestError:
    status = error.status_code
    if status in _TRIED_AGAIN or status >= 500:
        text = f"{'server error' if status >= 500 else 'busy'} ({status})"
        return RequestError(text, retry_after_s=_retry_after_s(error.response), is_outage=status >= 500)
    if status in _DENIED:
        return RequestError(f"denied ({status})", Fate.DENIED)
    return RequestError(f"refused ({status}): {_cause(error)}", Fate.REFUSED)


def _cause(error: openai.APIStatusError) -> str:
    """Why, in words of our own: a server may quote the prompt."""
    body = error.body if isinstance(error.body, dict) else {}
    told = str(body.get("message", ""))[:1000].lower()
    if any(word in told for word in _LONG):
        return "the prompt is longer than the judge takes; lower judge.max_prompt_chars"
    if error.status_code == 404:
        return "the server knows no such model or path"
    kind = body.get("type")
    return kind if isinstance(kind, str) and kind.isidentifier() and len(kind) < 50 else "no cause given"


def _retry_after_s(response: httpx2.Response) -> float | None:
    """Seconds the server asks for, None where it does not say."""
    told = response.headers.get("retry-after", "")
    try:
        asked_for = float(told)
        return max(asked_for, 0.0) if math.isfinite(asked_for) else None
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(told)
        now = parsedate_to_datetime(response.headers["date"])
        return max((then - now).total_seconds(), 0.0)
    except (KeyError, TypeError, ValueError):
        return None

"""One request to a judge: what is sent, and the probability that comes back."""

from typing import Any

from pipeline.errors import JudgeReplyError
from pipeline.judging.config import JudgeConfig
from pipeline.judging.replies import ANSWER, LABELS, score_of
from pipeline.serving.endpoint import Endpoint
from pipeline.serving.requests import RequestError, ServerClient, Wording
from pipeline.serving.role import JUDGE

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
_WORDING = Wording(
    JUDGE,
    answer="verdict",
    too_long="the prompt is longer than the judge takes; lower judge.max_prompt_chars",
    denial="does not let us in",
    check="TOOLWISE_JUDGE_API_KEY",
)


class ChatClient(ServerClient):
    """Requests of one judge over connections that are used again."""

    def __init__(self, endpoint: Endpoint, config: JudgeConfig) -> None:
        super().__init__(endpoint, config, _WORDING)
        self._config = config
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
        reply = await self.post("chat/completions", {**self._sent, "messages": messages})
        try:
            return score_of(reply, constrain=self._config.constrain, logprobs=self._config.logprobs)
        except JudgeReplyError as error:
            raise RequestError(str(error)) from error

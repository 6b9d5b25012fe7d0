"""ToolTalk conversations: each assistant turn carries the API calls it made, with their results."""

from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, json_text, message, pair_by_position, tool_call
from pipeline.formats.outcomes import read_outcome
from pipeline.schema import Message, ToolCall


class ToolTalkFormat:
    """`{conversation: [{index, role, text, apis: [{request, response, exception}]}]}`."""

    name = "tooltalk"

    def detects(self, record: Any) -> bool:
        """A conversation of indexed turns with `text`, or one whose turns carry `apis`."""
        turns = record.get("conversation") if type(record) is dict else None
        if type(turns) is not list or not turns or type(turns[0]) is not dict:
            return False
        first = turns[0]
        if type(first.get("role")) is not str or "text" not in first:
            return False
        return "index" in first or any(type(turn) is dict and "apis" in turn for turn in turns)

    def parse(self, record: dict[str, Any]) -> Parsed:
        """Calls first, then their results, then what the assistant said: the text rests on the results."""
        messages: list[Message] = []
        for k, turn in enumerate(record["conversation"]):
            messages += _turn(turn, f"conversation[{k}]")
        outcome = read_outcome(record)
        left = {"conversation", *outcome.used}
        return Parsed(
            pair_by_position(messages),
            ground_truth=outcome.ground_truth,
            reward=outcome.reward,
            success=outcome.success,
            metadata={key: value for key, value in record.items() if key not in left},
        )


def _turn(turn: Any, where: str) -> list[Message]:
    if type(turn) is not dict:
        raise FormatError(f"{where}: want an object with role and text, found {type(turn).__name__}")
    role, text = turn.get("role"), turn.get("text")
    if role not in ("user", "assistant", "system"):
        raise FormatError(f"{where}.role: want user, assistant or system, found {role!r}")
    if text is not None and not isinstance(text, str):
        raise FormatError(f"{where}.text: want text, found {type(text).__name__}")
    apis = turn.get("apis") or []
    if not isinstance(apis, list):
        raise FormatError(f"{where}.apis: want a list, found {type(apis).__name__}")
    if role != "assistant" or not apis:
        return [message(role, text)]
    calls: list[ToolCall] = []
    results: list[Message] = []
    for k, api in enumerate(apis):
        request = api.get("request") if type(api) is dict else None
        if type(request) is not dict or not isinstance(request.get("api_name"), str):
            raise FormatError(f"{where}.apis[{k}].request.api_name: want the name of an API, found none")
        calls.append(tool_call(request["api_name"], request.get("parameters")))
        exception = api.get("exception")
        if exception is not None:
            result = exception if isinstance(exception, str) else json_text(exception)
        else:
            result = json_text(api.get("response"))
        results.append(message("tool", result, name=request["api_name"]))
    said = [message("assistant", text)] if text else []
    return [message("assistant", tool_calls=calls), *results, *said]


TOOLTALK = ToolTalkFormat()

"""API-Bank dialogues: one turn a line, role User, AI or API; the API line holds the call and its result together."""

from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, json_text, message, pair_by_position, tool_call
from pipeline.schema import Message

_ROLES = ("User", "AI", "API")


class ApiBankFormat:
    """A session format: all turns of a file are one dialogue."""

    name = "api_bank"

    def session_key(self, value: Any) -> str | None:
        """The same key for every turn of this format; None for anything else."""
        return "dialogue" if _is_turn(value) else None

    def detects(self, record: Any) -> bool:
        """Whether the record is a list of such turns."""
        return isinstance(record, list) and bool(record) and all(_is_turn(value) for value in record)

    def parse(self, record: Any) -> Parsed:
        """The dialogue; an API line joins the AI words before it, and its output or exception is the observation."""
        messages: list[Message] = []
        if not isinstance(record, list) or not record:
            raise FormatError("api_bank: want the turns of a dialogue, found none; land the file whole")
        for turn in record:
            if turn["role"] == "API":
                call = tool_call(turn["api_name"], turn.get("param_dict"))
                last = messages[-1] if messages else None
                if last is not None and last["role"] == "assistant" and not last["tool_calls"]:
                    last["tool_calls"] = [call]
                else:
                    messages.append(message("assistant", tool_calls=[call]))
                messages.append(message("tool", _observation(turn.get("result")), name=turn["api_name"]))
            else:
                messages.append(message("user" if turn["role"] == "User" else "assistant", turn["text"]))
        return Parsed(messages=pair_by_position(messages))


def _is_turn(value: Any) -> bool:
    """Whether the value is one turn of an API-Bank dialogue."""
    if not isinstance(value, dict) or value.get("role") not in _ROLES:
        return False
    if value["role"] == "API":
        return isinstance(value.get("api_name"), str)
    return isinstance(value.get("text"), str)


def _observation(result: Any) -> str | None:
    """What the API gave back: its exception if it raised, else its output; a text stays a text."""
    if not isinstance(result, dict):
        return result if result is None or isinstance(result, str) else json_text(result)
    told = {"exception": result["exception"]} if result.get("exception") else result.get("output")
    return told if isinstance(told, str) else json_text(told)


API_BANK = ApiBankFormat()

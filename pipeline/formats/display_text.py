"""Chats printed as one text, a line `role: …` opening each message, as tau-bench's few-shot demonstrations are."""

import re
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, message, pair_by_position
from pipeline.schema import Message

_TURN = re.compile(r"^(system|user|assistant|tool): ", re.MULTILINE)


class DisplayTextFormat:
    """A text under `messages_display`, each message opened by its role; the calls themselves were not printed."""

    name = "display_text"

    def detects(self, record: Any) -> bool:
        """A text under `messages_display`."""
        return type(record) is dict and type(record.get("messages_display")) is str

    def parse(self, record: dict[str, Any]) -> Parsed:
        """The messages; an assistant's `None` is the empty content of a call that the print left out."""
        text = record["messages_display"]
        marks = list(_TURN.finditer(text))
        if not marks or marks[0].start() != 0:
            raise FormatError(f"messages_display: want a text opening with a role, found {text[:60]!r}")
        messages: list[Message] = []
        for k, mark in enumerate(marks):
            end = marks[k + 1].start() if k + 1 < len(marks) else len(text)
            content = text[mark.end() : end].removesuffix("\n")
            role = mark.group(1)
            messages.append(message(role, None if role == "assistant" and content == "None" else content))
        left = {key: value for key, value in record.items() if key != "messages_display"}
        return Parsed(pair_by_position(messages), metadata=left)


DISPLAY_TEXT = DisplayTextFormat()

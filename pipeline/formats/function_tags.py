"""Calls that OpenHands and SWE-agent models write as `<function=name>` tags in plain chat."""

import re

from pipeline.formats.base import message, pair_by_position, tool_call
from pipeline.schema import Message

_CALL = re.compile(r"<function=([\w.-]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([\w.-]+)>(.*?)</parameter>", re.DOTALL)
_OBSERVATION = re.compile(r"(?:OBSERVATION:\n|EXECUTION RESULT of \[([\w.-]+)\]:\n)")


def read_function_tags(messages: list[Message]) -> list[Message]:
    """The messages with tagged calls as tool calls, and the user messages that report on them as observations.

    Only for a chat without native calls. Text after the first call of a message stays in its content: there the
    model goes on by itself, which may be an observation it made up.
    """
    read: list[Message] = []
    called = False
    for item in messages:
        content = item["content"] or ""
        if item["role"] == "assistant" and "<function=" in content:
            found = _CALL.search(content)
            if found is not None:
                said = content[: found.start()].rstrip() + content[found.end() :].rstrip()
                arguments = {name: value.strip("\n") for name, value in _PARAMETER.findall(found.group(2))}
                read.append(
                    message(
                        "assistant",
                        said or None,
                        reasoning=item["reasoning"],
                        tool_calls=[tool_call(found.group(1), arguments)],
                    )
                )
                called = True
                continue
        if item["role"] == "user" and called:
            reported = _OBSERVATION.match(content)
            if reported is not None:
                read.append(message("tool", content[reported.end() :], name=reported.group(1), images=item["images"]))
                called = False
                continue
        called = False
        read.append(item)
    return pair_by_position(read)

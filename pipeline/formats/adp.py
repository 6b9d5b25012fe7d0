"""Agent Data Protocol records: a list of typed observations and actions."""

import re
from typing import Any

from pipeline.formats.base import Parsed, message, pair_by_position, tool_call
from pipeline.formats.fields import answer_last_call, dict_of, json_or, list_at, object_at, some, text_of, wanted
from pipeline.formats.outcomes import as_bool
from pipeline.formats.tool_schemas import openai_tools
from pipeline.schema import Message

_FINISH = re.compile(r"<finish>(.*?)</finish>", re.DOTALL)
_SOLUTION = re.compile(r"<solution>(.*?)</solution>", re.DOTALL)
_LANGUAGES = {"py": "python", "python3": "python", "sh": "bash", "shell": "bash"}
_OPENHANDS = {"bash": ("execute_bash", "command"), "python": ("execute_ipython_cell", "code")}
"""What OpenHands declares for a language, and under which argument it takes the code."""
_CALLS = ("api_action", "code_action")


class Adp:
    """Actions are the assistant's, with `description` its words; the observation after a call is that call's result.

    A source writes `user` for its environment too, so position decides: after a call it is the observation.
    """

    name = "adp"

    def detects(self, record: Any) -> bool:
        """Whether the record's content is a list of items that carry `class_`."""
        if not isinstance(record, dict) or "id" not in record:
            return False
        items = record.get("content")
        if not isinstance(items, list):
            return False
        if not items:
            return record.keys() == {"id", "content", "details"}
        return isinstance(items[0], dict) and isinstance(items[0].get("class_"), str)

    def parse(self, record: Any) -> Parsed:
        """The trajectory; `<solution>` or `<finish>` of the last message action is the final answer."""
        messages: list[Message] = []
        task: str | None = None
        acted = open_call = False
        final: str | None = None
        details = object_at(record, "details")
        tools = openai_tools(details["tools"]) if details.get("tools") else None
        declared = {tool["function"]["name"] for tool in tools or ()}
        for index, item in enumerate(list_at(record, "content", "adp")):
            where = f"content[{index}]"
            kind = dict_of(item, where).get("class_")
            if kind in _CALLS:
                messages.append(_call(item, kind, declared))
                acted = open_call = True
            elif kind == "message_action":
                content, thought = text_of(item.get("content")), text_of(item.get("description"))
                messages.append(message("assistant", "\n\n".join(part for part in (thought, content) if part) or None))
                final, open_call = _answer(content or ""), False
            elif kind in ("text_observation", "web_observation", "image_observation"):
                if kind == "text_observation" and item.get("source") == "agent":
                    messages.append(message("assistant", text_of(item.get("content"))))
                    continue
                seen = _seen(item, kind, "tool" if open_call else "user")
                answer_last_call(messages, seen) if open_call else messages.append(seen)
                if seen["role"] == "user" and kind == "text_observation" and not acted:
                    task = seen["content"]
                open_call = False
            else:
                raise wanted(f"{where}.class_", "an observation or action of the protocol", kind)
        return Parsed(
            messages=pair_by_position(messages),
            prompt=task,
            tools=tools,
            final_answer=final,
            success=_resolved(details),
            metadata=some(**{key: held for key, held in details.items() if key != "tools"} | {"id": record["id"]}),
        )


def _call(item: dict[str, Any], kind: str, declared: set[str]) -> Message:
    """An assistant turn with one call: an API's, or `python`, `bash`, … with the code, by the name that is declared."""
    if kind == "api_action":
        call = tool_call(text_of(item.get("function")), item.get("kwargs"))
    else:
        language = text_of(item.get("language")) or "code"
        name, argument = _LANGUAGES.get(language, language), "code"
        if name not in declared and name in _OPENHANDS and _OPENHANDS[name][0] in declared:
            name, argument = _OPENHANDS[name]
        call = tool_call(name, {argument: text_of(item.get("content")) or ""})
    return message("assistant", text_of(item.get("description")) or None, tool_calls=[call])


def _seen(item: dict[str, Any], kind: str, role: str) -> Message:
    """An observation: a text, a page as its accessibility tree (else its HTML, else its address), or an image."""
    if kind == "text_observation":
        return message(role, text_of(item.get("content")))
    if kind == "image_observation":
        held = text_of(item.get("content"))
        return message(role, None, images=[held] if held else None)
    text = next((text_of(item[key]) for key in ("axtree", "html", "url") if item.get(key)), None)
    image = item.get("image_observation")
    held = text_of(image.get("content")) if isinstance(image, dict) else None
    return message(role, text, images=[held] if held else None)


def _answer(text: str) -> str | None:
    """What a message marks as the answer; None where it marks none."""
    marked = _SOLUTION.search(text) or _FINISH.search(text)
    return (marked.group(1).strip() or None) if marked else None


def _resolved(details: dict[str, Any]) -> bool | None:
    """Whether the source's tests passed, where it says so."""
    told = as_bool(details.get("resolved"))
    report = json_or(details.get("test_result"), None)
    report = report.get("report") if isinstance(report, dict) else None
    return told if told is not None or not isinstance(report, dict) else as_bool(report.get("resolved"))


ADP = Adp()

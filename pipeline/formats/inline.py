"""Messages out of one text in which the model's words, its calls and the environment's replies follow each other."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import message, pair_by_position
from pipeline.formats.chat_messages import ROLES
from pipeline.schema import Message, ToolCall

_BOXED = re.compile(r"\\boxed\s{0,9}\{")
_MAX_BOXES = 10
_MAX_BOX_CHARS = 2_000


@dataclass(slots=True)
class Mark:
    """A piece [start, end) of the text that is a call or an observation; what lies between marks is prose."""

    start: int
    end: int
    call: ToolCall | None = None
    observation: str | None = None


def inline_messages(text: str, marks: Iterable[Mark]) -> list[Message]:
    r"""The assistant and tool messages of a text; each observation that directly follows a call is a tool message.

    The environment writes where the model stopped, right behind its call. So an observation with no call before it,
    behind another observation, or behind more prose was written by the model: it stays in the content, verbatim.
    """
    messages: list[Message] = []
    calls: list[ToolCall] = []
    inside = _starts_inside_think(text)
    prose_start = prose_end = 0
    call_end = 0
    kept_verbatim = False

    def flush(until: int) -> None:
        nonlocal calls, inside, kept_verbatim
        words = text[prose_start:until]
        if kept_verbatim:
            reasoning, content = None, words.strip() or None
        else:
            reasoning, content, inside = _split_think(words, inside)
        if reasoning or content or calls:
            messages.append(message("assistant", content, reasoning=reasoning, tool_calls=calls))
        calls, kept_verbatim = [], False

    for mark in marks:
        if mark.call is not None:
            if calls and text[call_end : mark.start].strip():
                flush(prose_end)
                prose_start = call_end
            if not calls:
                prose_end = mark.start
            calls.append(mark.call)
            call_end = mark.end
        elif calls and not text[call_end : mark.start].strip():
            flush(prose_end)
            messages.append(message("tool", mark.observation))
            prose_start = mark.end
        else:
            if calls:
                flush(prose_end)
                prose_start = call_end
            kept_verbatim = True
    if calls:
        flush(prose_end)
        prose_start = call_end
    flush(len(text))
    return pair_by_position(messages)


def known_role(role: Any, where: str) -> str:
    """The trajectory's word for a turn's role. Raises FormatError for one that no protocol here knows."""
    known = ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        raise FormatError(f"{where}: want role system, user, assistant or tool, found {role!r}; check the turn")
    return known


def enclosed(text: str, closings: Mapping[str, str]) -> Iterator[tuple[int, int, str, str]]:
    """Start, end, opening tag and body of each `opening … closing` in the text, none inside another.

    Linear in the text, however many tags are opened and never closed: a lazy regular expression would be quadratic.
    """
    opening = re.compile("|".join(re.escape(tag) for tag in closings))
    never_closed: set[str] = set()
    found = opening.search(text)
    while found is not None:
        closing = closings[found[0]]
        close = -1 if closing in never_closed else text.find(closing, found.end())
        if close < 0:
            never_closed.add(closing)
            position = found.end()
        else:
            position = close + len(closing)
            yield found.start(), position, found[0], text[found.end() : close]
        found = opening.search(text, position)


def last_boxed(text: str) -> str | None:
    r"""What stands in the last complete `\boxed{…}`, braces matched; None where there is none near the end."""
    for start in reversed([found.end() for found in _BOXED.finditer(text)][-_MAX_BOXES:]):
        depth = 1
        for offset, letter in enumerate(text[start : start + _MAX_BOX_CHARS]):
            depth += (letter == "{") - (letter == "}")
            if depth == 0:
                return text[start : start + offset].strip() or None
    return None


def split_think(text: str) -> tuple[str | None, str | None]:
    """Reasoning and content of a text that may open with a `<think>` block, its opening tag perhaps in the prompt."""
    reasoning, content, _ = _split_think(text, _starts_inside_think(text))
    return reasoning, content


def _starts_inside_think(text: str) -> bool:
    """Whether the text's first think tag is a closing one: the prompt held the opening tag."""
    close = text.find("</think>")
    return close >= 0 and text.find("<think>", 0, close) < 0


def _split_think(words: str, inside: bool) -> tuple[str | None, str | None, bool]:  # noqa: FBT001 - private, two calls
    """Reasoning, content, and whether the think block is still open behind these words."""
    reasoning: list[str] = []
    content: list[str] = []
    position = 0
    while position < len(words):
        tag = "</think>" if inside else "<think>"
        found = words.find(tag, position)
        (reasoning if inside else content).append(words[position : found if found >= 0 else len(words)])
        if found < 0:
            break
        position = found + len(tag)
        inside = not inside
    return "".join(reasoning).strip() or None, "".join(content).strip() or None, inside

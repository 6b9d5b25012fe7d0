"""The functions that an environment offered inside of its Python, as its prompt tells of them."""

import builtins
import keyword
import re
from collections.abc import Iterable

import orjson

from pipeline.replay.arguments import code_of
from pipeline.replay.dependence import binds

_NUMBERED = re.compile(r"^[ \t]*\[\d+\][ \t]*`?([A-Za-z_][\w.]*)`?[ \t]*(?=\(|:)", re.MULTILINE)
_TOOLS = re.compile(r"\b(?:tool|function|helper|API)s?\b", re.IGNORECASE)
_AT_HAND = re.compile(
    r"\b(?:available|imported|provided|have access|at your disposal)\b|\b(?:may|can)(?: \w+)? (?:call|use)\b",
    re.IGNORECASE,
)
_HEADING = re.compile(r"[#*\s]*(?:Tools|Functions|Helpers|APIs)[:*\s]*", re.IGNORECASE)
_END = re.compile(
    r"-{3,}[ \t]*$|#{1,6} |[#*\s]*(?:Task|Question|Problem|Instructions?|Examples?|User|Assistant|Observation)[* \t]*:",
    re.IGNORECASE,
)
_MAX_LINE = 2_000
"""Characters of a line that are searched."""
_LISTED = re.compile(
    r"\bdef[ \t]+([A-Za-z_]\w*)[ \t]*\(|`([A-Za-z_][\w.]*)[ \t]*(?:\(|`)"
    r"|^[ \t]*(?:[-*+]|\d+[.)])[ \t]*\**`?([A-Za-z_][\w.]*)`?\**[ \t]*(?=\(|:)"
    r"|^[ \t]*([A-Za-z_]\w*)\([^\n]*\)[ \t]*(?:->|:)"
)
_ORDINARY = frozenset(dir(builtins)) | frozenset(keyword.kwlist) | frozenset(keyword.softkwlist)
_MIN_CHARS = 3


def helper_names(text: str, tools: str | None, arguments: Iterable[str | None]) -> frozenset[str]:
    """Names of functions that the original environment held, and which no step of the trajectory binds itself.

    Documented are the entries of a numbered list, `[1] wikipedia_search(query: str)`, and, in a passage that says that
    tools are available, signatures, list entries and names in back quotes. A function of the task is not among them:
    the model has to write it.

    Args:
        text: What the environment says of itself: system text and first user message.
        tools: JSON list of declared function schemas, as in `trajectories`.
        arguments: Arguments of all calls, as emitted.
    """
    found = {name.partition(".")[0] for name in (*_NUMBERED.findall(text), *_offered(text), *_declared(tools))}
    names = {name for name in found if len(name) >= _MIN_CHARS and name.isidentifier() and name not in _ORDINARY}
    if not names:
        return frozenset()
    codes = (code for item in arguments if (code := code_of(item)) and any(name in code for name in names))
    for code in codes:
        names -= binds(code)
    return frozenset(names)


def _offered(text: str) -> list[str]:
    """Names in the passages that say that tools are available, each up to the next heading or rule."""
    names: list[str] = []
    is_offered = False
    for whole in text.splitlines():
        line = whole[:_MAX_LINE]
        if _HEADING.fullmatch(line) or (_TOOLS.search(line) and _AT_HAND.search(line)):
            is_offered = True
        elif _END.match(line):
            is_offered = False
        if is_offered:
            names += [name for found in _LISTED.finditer(line) for name in found.groups() if name]
    return names


def _declared(tools: str | None) -> list[str]:
    """Names in a list of function schemas, in either nesting."""
    try:
        listed = orjson.loads(tools or "[]")
    except orjson.JSONDecodeError:
        return []
    schemas = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    named = [item["function"] if isinstance(item.get("function"), dict) else item for item in schemas]
    return [item["name"] for item in named if isinstance(item.get("name"), str)]

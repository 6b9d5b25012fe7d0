"""The code in the arguments of a Python call, however a trace writes it."""

import ast
import json
import re
from typing import Any

import orjson

CODE_KEYS = ("code", "source", "script", "program", "snippet", "command", "input", "query")
"""Parameters that hold code, those that say so most plainly first."""
PYTHON_LABELS = frozenset({"", "python", "python3", "py", "py3", "ipython", "ipython3", "tool_code", "code", "repl"})
"""Languages, as a fence or a parameter names them, that are Python; a bare fence counts."""

_LANGUAGE_KEYS = ("language", "lang")
_MAX_LITERAL = 100_000
"""Characters that `ast.literal_eval` is asked to read."""
_BROKEN = re.compile(rf"""\A\s*\{{\s*["'](?:{"|".join(CODE_KEYS)})["']\s*:""")
"""An object that cannot be read: no call was understood either, and as Python it says nothing."""
_RAW_LINES = json.JSONDecoder(strict=False)
"""Reads strings with line ends that should have been escaped, a model's most common slip in JSON that holds code."""
_OPENING = re.compile(r"\A[ \t]*(`{3,}|~{3,})[ \t]*(?:\{\.?)?([\w+.-]*)\}?[ \t]*(?:\r?\n|\Z)")
_CLOSINGS = {mark: re.compile(rf"^[ \t]*{mark}{{3,}}[ \t]*$", re.MULTILINE) for mark in "`~"}
_ONE_LINE = re.compile(r"\A\s*(?:```(?:(\w+)[ \t]+)?|`)([^`\n]+)(?:```|`)\s*\Z")
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\r?\n)+")
_TAG = re.compile(r"\A\s*<(execute|python|code|tool_code)>(?:[ \t]*\r?\n)?")


def code_of(arguments: str | None) -> str | None:
    """The Python code of a call, as emitted but for fences and tags around it; None where there is none.

    The arguments are an object with a parameter of `CODE_KEYS` or with a single string, a JSON string, or the code
    itself. Code may be a list of lines. What is declared to be another language is none.
    """
    if arguments is None or not arguments.strip():
        return None
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        value = _lenient(arguments)
        if value is None:
            return None if _BROKEN.match(arguments) else unwrapped(arguments)
    if isinstance(value, str):  # perhaps an object that was encoded twice
        inner = _lenient(value)
        return unwrapped(value) if inner is None or not any(key in inner for key in CODE_KEYS) else _of_object(inner)
    if isinstance(value, dict):
        return _of_object(value)
    if isinstance(value, list):
        lines = _text(value)
        return arguments if lines is None else unwrapped(lines)
    # a number is an expression; null, true and false are JSON's words, not Python's
    return arguments if isinstance(value, int | float) and not isinstance(value, bool) else None


def unwrapped(text: str) -> str | None:
    """Code without the Markdown fence or the tag around it, else as it is; None in a fence of another language."""
    if "<" in text and (tag := _TAG.match(text)) is not None:
        text = text[tag.end() :]
        if text.rstrip().endswith(f"</{tag[1]}>"):
            text = _without_line_end(text.rstrip()[: -len(tag[1]) - 3].rstrip(" \t"))
    if "`" not in text and "~~~" not in text:
        return text
    inline = _ONE_LINE.match(text)
    if inline is not None:
        return inline[2] if (inline[1] or "").lower() in PYTHON_LABELS else None
    body = _BLANK_LINES.sub("", text)
    if _OPENING.match(body) is not None:
        return _fenced(body)
    closed = body.rstrip()
    # the opening fence was a part of the prompt
    return closed[:-3].rstrip() if closed.endswith("\n```") and closed.count("```") == 1 else text


def _fenced(body: str) -> str | None:
    """The code in the fences of a text that opens with one; words between and behind them are not code."""
    codes: list[str] = []
    while (opening := _OPENING.match(body)) is not None and opening[2].lower() in PYTHON_LABELS:
        closing = _CLOSINGS[opening[1][0]].search(body, opening.end())
        if closing is None:
            codes.append(body[opening.end() :])
            break
        codes.append(_without_line_end(body[opening.end() : closing.start()]))
        body = body[closing.end() :].lstrip()
    return "\n".join(codes) if codes else None


def _without_line_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _of_object(value: dict[str, Any]) -> str | None:
    """The code of an object of arguments."""
    language = next((value[key] for key in _LANGUAGE_KEYS if isinstance(value.get(key), str)), "")
    if language.strip().lower() not in PYTHON_LABELS:
        return None
    for key in CODE_KEYS:
        if (code := _text(value.get(key))) is not None:
            return unwrapped(code)
    texts = [text for key, item in value.items() if key not in _LANGUAGE_KEYS and (text := _text(item)) is not None]
    return unwrapped(texts[0]) if len(texts) == 1 else None


def _text(value: object) -> str | None:
    """A string, or a list of lines, each with its line end or none of them."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value or not all(isinstance(line, str) for line in value):
        return None
    return ("" if any(line.endswith("\n") for line in value) else "\n").join(value)


def _lenient(text: str) -> dict[str, Any] | None:
    """The object that the text writes as JSON, with raw line ends perhaps, or as Python does; None where neither."""
    if not text.lstrip().startswith("{") or len(text) > _MAX_LITERAL:
        return None
    for read in (_RAW_LINES.decode, ast.literal_eval):
        try:
            value = read(text.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, dict) else None
    return None

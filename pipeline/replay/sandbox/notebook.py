"""Code that a notebook understands, as plain Python: indented cells, prompts, magics, shell lines, help.

Runs inside the sandbox: standard library alone, any Python from 3.9 on.
"""

from __future__ import annotations

import ast
import re
from typing import Any

MISSING_CALL = "__toolwise_missing__"
"""The built-in function that stands where code asks for what a sandbox does not have; takes what that is."""

_INDENT = re.compile(r"[ \t]*")
_SESSION = re.compile(r"\s*(?:>>>|In ?\[\d+\]:)")
_PROMPT = re.compile(r"^\s*(?:>>>|\.\.\.(?=\s|$)|In ?\[\d+\]:|\.{3,}:) ?")
_MAGIC = re.compile(r"^(\s*)(?:[\w.,\[\]'\" ]+=\s*)?%{1,2}\s*(\w+)\s*(.*)$")
_SHELL = re.compile(r"^(\s*)(?:[\w., ]+=\s*)?!{1,2}")
_HELP = re.compile(r"^(\s*)(?:\?{1,2}\s*[\w.%*]+|[\w.%*]+\s*\?{1,2})\s*$")
_TIMED = ("time", "timeit", "prun", "memit", "mprun", "lprun")
_TIMED_OPTIONS = re.compile(r"^(?:-\w\s*\d*\s+)+")
_SETTINGS = (
    "matplotlib",
    "load_ext",
    "reload_ext",
    "unload_ext",
    "autoreload",
    "config",
    "colors",
    "xmode",
    "autosave",
)
_SHELL_MAGICS = (
    "pip", "conda", "mamba", "uv", "sh", "bash", "script", "system", "sx", "ls", "cd", "pwd", "cat", "mkdir", "rm",
    "cp", "mv", "env", "!",
)  # fmt: skip


def split(code: str, filename: str, flags: int) -> list[Any] | None:
    """The code compiled, its last line as an expression by itself; None where it is not one.

    The quick way: no syntax tree is made, which would touch many pages that a fork shares with its parent. Statements
    that end before the last line, and a last line that is an expression, are together what the whole is.
    """
    body = code.rstrip()
    start = body.rfind("\n") + 1
    if "\r" in code or code[:1].isspace() or body[start : start + 1] in ("", " ", "\t", "#") or _SESSION.match(code):
        return None
    try:
        last = "\n" * code.count("\n", 0, start) + body[start:]
        expression = compile(last, filename, "eval", flags, dont_inherit=True)
        return [*([compile(code[:start], filename, "exec", flags, dont_inherit=True)] if start else []), expression]
    except Exception:
        return None  # the other way tells what is wrong


def parsed(code: str, filename: str, flags: int) -> tuple[str, Any]:
    """The code in Python alone, and its tree.

    It is first read as it is, so that a `%` or `!` that is Python's own is never touched; then each line that the
    parser stumbles over is looked at by itself. Raises SyntaxError where nothing helps.
    """
    code = _dedented(code.replace("\r\n", "\n").replace("\r", "\n"))
    if _SESSION.match(code):  # `In [1]: x = 2` would be Python, if an odd one
        code = _unprompted(code)
    stumbled = SyntaxError("invalid syntax")
    for _ in range(code.count("\n") + 2):
        try:
            return code, compile(code, filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        except SyntaxError as error:
            stumbled = error
            rewritten = _rewritten(code, error.lineno or 0)
        if rewritten is None:
            break
        code = rewritten
    raise stumbled


def _dedented(code: str) -> str:
    """The code without empty lines before it and without the indentation of its first line."""
    if code[:1] not in (" ", "\t", "\n", "\f"):
        return code
    lines = code.split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    indent = _INDENT.match(lines[0] if lines else "")
    width = len(indent.group()) if indent else 0
    return "\n".join([line[width:] if line[:width] == lines[0][:width] else line for line in lines])


def _unprompted(code: str) -> str:
    """What stands behind the prompts of a session that was pasted; the rest is output."""
    return "\n".join([_PROMPT.sub("", line) for line in code.split("\n") if _PROMPT.match(line)])


def _rewritten(code: str, number: int) -> str | None:
    """The code with its `number`th line in Python, None where that line is not a notebook's."""
    lines = code.split("\n")
    if lines[0].startswith("%%"):
        return _cell_magic(lines)
    if not 0 < number <= len(lines):
        return None
    line = lines[number - 1]
    if found := _SHELL.match(line):
        lines[number - 1] = f"{found[1]}{MISSING_CALL}('shell')"
    elif found := _MAGIC.match(line):
        lines[number - 1] = found[1] + _line_magic(found[2], found[3])
    elif found := _HELP.match(line):
        lines[number - 1] = f"{found[1]}{MISSING_CALL}('help')"
    else:
        return None
    return "\n".join(lines)


def _cell_magic(lines: list[str]) -> str:
    words = lines[0][2:].split(maxsplit=1) or [""]
    if words[0] in _TIMED:
        return "\n".join([_TIMED_OPTIONS.sub("", f"{words[1]} ") if len(words) > 1 else "", *lines[1:]])
    wanted = "shell" if words[0] in _SHELL_MAGICS else f"magic %%{words[0]}"
    return f"{MISSING_CALL}({wanted!r})"


def _line_magic(name: str, rest: str) -> str:
    if name in _SETTINGS:
        return "pass"
    if name in _TIMED:
        statement = _TIMED_OPTIONS.sub("", rest) or "pass"
        return statement if name == "time" else f"{statement};"
    wanted = "shell" if name in _SHELL_MAGICS else f"magic %{name}"
    return f"{MISSING_CALL}({wanted!r})"

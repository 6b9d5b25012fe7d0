"""Python source as a syntax tree, the way notebooks read it: indented cells and IPython's magics included."""

import ast
import re
import warnings

MAX_CODE_CHARS = 200_000
"""Longest code that is parsed; a longer one is opaque."""

_CELL_MAGIC = re.compile(r"\A\s*%%(?:time|timeit|capture|prun)\b[^\n]*(?:\n|\Z)")
_LINE_MAGIC = re.compile(r"^([ \t]*)(?:[%!][^\n]*|\?{1,2}[\w.]+|[\w.]+\?{1,2}[ \t]*)$", re.MULTILINE)
_ASSIGNED_MAGIC = re.compile(r"^([\w, \t]+=[ \t]*)[%!][^\n]*$", re.MULTILINE)
_ANY_MAGIC = re.compile(rf"{_LINE_MAGIC.pattern}|{_ASSIGNED_MAGIC.pattern}", re.MULTILINE)
_INDENT = re.compile(r"\A(?:[ \t]*(?:#[^\n]*)?\n)*([ \t]+)")


class OpaqueCodeError(ValueError):
    """Code too long or too deeply nested to be read: nothing is known about it."""


def parse_code(code: str) -> ast.Module | None:
    """The syntax tree; None where the code is no Python. Raises OpaqueCodeError."""
    if len(code) > MAX_CODE_CHARS:
        raise OpaqueCodeError(f"code of {len(code)} characters: want at most {MAX_CODE_CHARS}")
    tree = _parsed(code)
    if tree is None:
        plain = plain_code(code)
        tree = _parsed(plain) if plain != code else None
    return tree


def plain_code(code: str) -> str:
    """The code without its common indentation, magics replaced by what binds the same names."""
    text = _CELL_MAGIC.sub("", code)
    if text.lstrip().startswith("%%"):  # a cell in another language
        return code
    indent = _INDENT.match(text)
    if indent is not None:
        text = re.sub(rf"^{indent[1]}", "", text, flags=re.MULTILINE)
    return _LINE_MAGIC.sub(r"\1pass", _ASSIGNED_MAGIC.sub(r"\1None", text))


def has_magic(code: str) -> bool:
    """Whether some line is IPython's own: `%`, `!`, `?`."""
    return _ANY_MAGIC.search(code) is not None


def _parsed(code: str) -> ast.Module | None:
    try:
        if "\\" not in code:
            return ast.parse(code)
        with warnings.catch_warnings():  # of invalid escapes, which are the trace's
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (RecursionError, MemoryError) as error:
        raise OpaqueCodeError("code nested too deeply") from error
    except (SyntaxError, ValueError):  # ValueError: null bytes, lone surrogates
        return None

"""Calls written as Python source, such as `mv(source='a', destination='b')`."""

import ast
from typing import Any

from pipeline.errors import FormatError

_MAX_SOURCE = 100_000


def parse_python_call(source: Any, where: str) -> tuple[str, dict[str, Any]]:
    """The name and arguments of one call; the k-th positional argument is named `arg<k>`, from 0.

    An argument that is no literal keeps its source text. Raises FormatError where `source` is not one call.
    """
    if not isinstance(source, str) or len(source) > _MAX_SOURCE:
        raise FormatError(f"{where}: want the text of one Python call, found {type(source).__name__}")
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormatError(f"{where}: want one Python call, found {source[:80]!r}") from error
    if not isinstance(tree, ast.Call):
        raise FormatError(f"{where}: want one Python call, found {source[:80]!r}")
    arguments: dict[str, Any] = {f"arg{k}": _literal(node) for k, node in enumerate(tree.args)}
    for keyword in tree.keywords:
        if keyword.arg is None:
            raise FormatError(f"{where}: want named arguments, found ** in {source[:80]!r}")
        arguments[keyword.arg] = _literal(keyword.value)
    return ast.unparse(tree.func), arguments


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return ast.unparse(node)

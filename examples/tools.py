"""The tools of the sample world: their JSON schemas, and what each really returns.

Observations in the traces come from here, so re-execution finds the same text. Python runs for real.
"""

import ast
import contextlib
import io
import json
import operator
import re
import traceback
from collections.abc import Callable
from types import CodeType
from typing import Any

from examples.world import BY_NAME, DEPOTS, ENCYCLOPEDIA, ITEMS, ferries, stock

_WORD = re.compile(r"[a-z]{4,}")
_INDEX = {title: frozenset(_WORD.findall(f"{title} {text}".lower())) for title, text in ENCYCLOPEDIA.items()}
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}
_METRES = {"metre": 1.0, "kilometre": 1000.0, "fathom": 1.8288, "cable": 185.2, "nautical_mile": 1852.0, "foot": 0.3048}


def python(code: str) -> str:
    """What a program prints; a traceback, after what came before it, where it fails."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            program: CodeType = compile(code, "<tool>", "exec")
            exec(program, {"__name__": "__main__"})
        except Exception:
            frames = traceback.format_exc().splitlines()
            own = next((k for k, line in enumerate(frames) if '"<tool>"' in line), len(frames) - 1)
            print("\n".join([frames[0], *frames[own:]]))
    return printed.getvalue()


def calculator(expression: str) -> str:
    """The value of an arithmetic expression."""
    value = _value(ast.parse(expression, mode="eval").body)
    return str(round(value, 6)) if isinstance(value, float) else str(value)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp):
        return _OPERATORS[type(node.op)](_value(node.operand))
    raise ValueError(f"calculator: want numbers and operators, found {ast.dump(node)}")


def search(query: str, limit: int = 3) -> str:
    """The encyclopedia articles that share most words with the query, best first; the later ones are often noise."""
    wanted = frozenset(_WORD.findall(query.lower()))
    scored = sorted(_INDEX, key=lambda title: (-_score(title, wanted), title))
    hits = [title for title in scored[:limit] if _score(title, wanted) > 0]
    if not hits:
        return f"No article matches '{query}'."
    return "\n".join(f"({k}) {title}: {ENCYCLOPEDIA[title]}" for k, title in enumerate(hits, start=1))


def _score(title: str, wanted: frozenset[str]) -> int:
    in_title = sum(word in title.lower() for word in wanted)
    return 3 * in_title + len(_INDEX[title] & wanted)


def island_info(name: str) -> str:
    """An island's register entry, as JSON; an error for a name that is not in the register."""
    isle = BY_NAME.get(name)
    if isle is None:
        return json.dumps({"error": f"no island called '{name}' in the register"})
    return json.dumps(
        {"name": isle.name, "population": isle.population, "area_km2": isle.area_km2, "settled": isle.settled}
    )


def ferry_timetable(origin: str, destination: str) -> str:
    """The day's crossings between two islands, as a JSON list."""
    unknown = [name for name in (origin, destination) if name not in BY_NAME]
    if unknown:
        return json.dumps({"error": f"unknown island: {', '.join(unknown)}"})
    return json.dumps(ferries(origin, destination))


def stock_count(item: str, depot: str) -> str:
    """How many of an item a depot holds and what one costs, as JSON."""
    if item not in ITEMS or depot not in DEPOTS:
        return json.dumps({"error": f"no record of '{item}' in '{depot}'"})
    return json.dumps({"item": item, "depot": depot, "count": stock(item, depot), "unit_price": ITEMS[item]})


def convert_length(value: float, from_unit: str, to_unit: str) -> str:
    """A length in another unit, rounded to four places, as JSON."""
    return json.dumps({"value": round(value * _METRES[from_unit] / _METRES[to_unit], 4), "unit": to_unit})


def _schema(name: str, description: str, required: int, /, **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties)[:required],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


_TEXT = {"type": "string"}
_UNIT = {"type": "string", "enum": list(_METRES)}
TOOLS: dict[str, Callable[..., str]] = {
    "python": python,
    "calculator": calculator,
    "search": search,
    "island_info": island_info,
    "ferry_timetable": ferry_timetable,
    "stock_count": stock_count,
    "convert_length": convert_length,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    schema["function"]["name"]: schema
    for schema in (
        _schema("python", "Run a Python program and return what it prints.", 1, code=_TEXT),
        _schema("calculator", "Evaluate an arithmetic expression.", 1, expression=_TEXT),
        _schema("search", "Search the Sevrin encyclopedia.", 1, query=_TEXT, limit={"type": "integer", "minimum": 1}),
        _schema("island_info", "Register entry of an island.", 1, name=_TEXT),
        _schema("ferry_timetable", "Crossings between two islands.", 2, origin=_TEXT, destination=_TEXT),
        _schema("stock_count", "Count of an item in a depot.", 2, item=_TEXT, depot={"type": "string"}),
        _schema("convert_length", "Convert a length.", 3, value={"type": "number"}, from_unit=_UNIT, to_unit=_UNIT),
    )
}


def run(name: str, arguments: dict[str, Any]) -> str:
    """What the tool answers to these arguments."""
    return TOOLS[name](**arguments)

"""The world's tools: a calculator, the noisy lookup, and their schemas; Python runs in the sandbox."""

import ast
import math
import operator
import random
from collections.abc import Callable
from typing import Any

import orjson

from pipeline.replay.environment import Episode, Observation
from training.world.search import SearchStore

LONGEST_EXPRESSION = 200
_LARGEST_POWER = 64
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def _schema(name: str, does: str, argument: str) -> dict[str, Any]:
    properties = {argument: {"type": "string"}}
    parameters = {"type": "object", "properties": properties, "required": [argument], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": does, "parameters": parameters}}


SCHEMAS = (
    _schema("calculator", "Evaluates arithmetic.", "expression"),
    _schema("lookup", "Searches a store of facts; the first result may be about something else.", "query"),
    _schema("python", "Runs Python and shows what it prints.", "code"),
)
"""OpenAI-style schemas of every tool."""


class WorldTools:
    """An environment that answers calculator and lookup in process; the same seed finds the same results."""

    version = "world-tools-1"

    def __init__(self, store: SearchStore) -> None:
        self._store = store
        self._seed = 0

    def reset(self, episode: Episode, seed: int) -> None:
        """Start a trajectory; another seed is another luck with searches."""
        self._seed = seed

    def call(self, name: str, arguments: str) -> Observation:
        """Make one call; what a call gets wrong is told to whoever made it."""
        try:
            told = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return Observation("Error: the arguments are no JSON.")
        argument = "expression" if name == "calculator" else "query"
        if not isinstance(told, dict) or not isinstance(text := told.get(argument), str):
            return Observation(f"Error: {name} takes {argument}.")
        if name == "calculator":
            return Observation(calculate(text))
        # Asked the same again, a search finds the same: only another trajectory has other luck.
        return Observation(self._store.search(text, random.Random(f"{self._seed} {text}")))

    def close(self) -> None:
        """Nothing is held; the store is its owner's."""


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, or what is wrong with it."""
    if len(expression) > LONGEST_EXPRESSION:
        return "Error: the expression is too long."
    try:
        value = _value(ast.parse(expression, mode="eval").body)
    except ZeroDivisionError:
        return "Error: division by zero."
    except (SyntaxError, TypeError, ValueError, OverflowError, RecursionError, MemoryError):
        return "Error: no arithmetic."
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _value(node: ast.expr) -> int | float:
    """Raises ValueError or TypeError for whatever is not arithmetic on real numbers."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(op=ast.Pow(), left=left, right=right):
            base, power = _value(left), _value(right)
            if abs(power) > _LARGEST_POWER or abs(base) > 10**6:
                raise ValueError("too large a power")
            raised = base**power
            if not isinstance(raised, int | float):
                raise TypeError(f"{raised} is no real number")
            return raised
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
            value = _OPERATORS[type(op)](_value(left), _value(right))
            if isinstance(value, float) and not math.isfinite(value):
                raise OverflowError(value)
            return value
        case _:
            raise ValueError("not arithmetic")

"""What a source recorded about how an attempt went, wherever it keeps it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipeline.formats.base import json_text

_REWARD = ("reward", "score", "final_reward", "total_reward")
_SUCCESS = (
    "success",
    "resolved",
    "is_correct",
    "correct",
    "passed",
    "solved",
    "is_success",
    "task_success",
    "utility",
    "label",
    "target",
)
_TRUTH = (
    "ground_truth",
    "groundtruth",
    "gt",
    "expected_answer",
    "reference_answer",
    "gold_answer",
    "golden_answers",
    "answer",
    "solution",
    "label",
    "target",
)
_NESTED = ("eval_result", "reward_info", "reward_model", "meta", "info", "metadata", "extra_info", "outcome")
_WORDS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


@dataclass(slots=True)
class Outcome:
    """A source's own verdict and reference answer; `used` names the top-level keys that it was read from."""

    reward: float | None = None
    success: bool | None = None
    ground_truth: str | None = None
    used: set[str] = field(default_factory=set)


def read_outcome(record: dict[str, Any]) -> Outcome:
    """The recorded reward, success and ground truth: from the record itself, else from an object inside it.

    A name that holds something else (a `label` of words is no success, a `reward` object no number) is passed over.
    """
    found = Outcome()
    _read_into(found, record, nested=False)
    for name in _NESTED:
        inner = record.get(name)
        if type(inner) is dict:
            _read_into(found, inner, nested=True)
    return found


def _read_into(found: Outcome, record: dict[str, Any], *, nested: bool) -> None:
    if found.reward is None:
        key, found.reward = _first(record, _REWARD, as_number)
        if key is not None and not nested:
            found.used.add(key)
        if key is not None and isinstance(record[key], bool) and found.success is None:
            found.success = record[key]
    if found.success is None:
        key, found.success = _first(record, _SUCCESS, as_bool)
        if key is not None and not nested:
            found.used.add(key)
    if found.ground_truth is None:
        key, found.ground_truth = _first(record, _TRUTH, answer_text)
        if key is not None and not nested:
            found.used.add(key)


def _first(record: dict[str, Any], names: Iterable[str], read: Any) -> tuple[str | None, Any]:
    """The first name whose value can be read, and what was read."""
    for name in names:
        value = record.get(name)
        if value is None:
            continue
        got = read(value)
        if got is not None:
            # `label` and `target` hold a verdict in one source and an answer in the next; the type tells.
            if read is answer_text and name in ("label", "target") and as_bool(value) is not None:
                continue
            return name, got
    return None, None


def as_number(value: Any) -> float | None:
    """The value as a finite number; None for anything else."""
    if isinstance(value, bool | int | float):
        number = float(value)
        return number if number - number == 0 else None
    return None


def as_bool(value: Any) -> bool | None:
    """The value as a yes or no (0 and 1 and their words count); None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    return _WORDS.get(value.strip().lower()) if isinstance(value, str) else None


def answer_text(value: Any) -> str | None:
    """A reference answer as text: a list of one is its member, longer lists and objects are JSON; None where empty."""
    if isinstance(value, dict) and set(value) == {"target"}:
        value = value["target"]
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return value or None
    if value is None or value in ([], {}, ()):
        return None
    return json_text(value)

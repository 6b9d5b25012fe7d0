"""Files of gold labels: JSON Lines that somebody else wrote, so every line is checked and every fault told at once."""

import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import orjson
import polars as pl

from pipeline.errors import LabelsError
from pipeline.judging.criteria import Rubric
from pipeline.judging.gold import JOINT
from pipeline.schema import LABELS

KEYS = {"trajectory_id": pl.String, "task_id": pl.String, "raw_path": pl.String, "raw_index": pl.UInt32}
"""How a line names its row."""
FILE_LABELS = {name: dtype for name, dtype in LABELS.items() if name not in ("subject_id", "task_id")} | KEYS
"""One row per answer of a file, its row not yet looked up."""

_ALLOWED = (*KEYS, "rubric", "answers", JOINT, "weight", "by", "at", "rubric_version", "note")
_NAME = re.compile(r"[a-z][a-z0-9_]{1,40}")
_VERSION = re.compile(r"[1-9][0-9]*(-[0-9a-f]+)?")
_LARGEST_INDEX = 2**32 - 1
_MOST_TOLD = 20
_SHORT = 60


def read_label_files(paths: Sequence[Path]) -> pl.DataFrame:
    """The answers in the files, as FILE_LABELS, in order of file, line and criterion; empty lines are skipped.

    A line without `by` was said by its file, so that a later line about the same question replaces it.

    Raises: LabelsError with every line that cannot be used: file, line, what is wanted and what stands there.
    """
    faults: list[str] = []
    answers: list[dict[str, Any]] = []
    for path in paths:
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            faults.append(f"{path}: want a file of labels, found {error.strerror or error}")
            continue
        for number, line in enumerate(lines, start=1):
            if line.strip():
                found = list(_faults_of_line(line))
                faults += [f"{path}:{number}: {fault}" for fault in found]
                answers += [] if found else _answers(orjson.loads(line), path.name)
    if faults:
        told = "; ".join(faults[:_MOST_TOLD])
        more = f"; and {len(faults) - _MOST_TOLD:,} more" if len(faults) > _MOST_TOLD else ""
        raise LabelsError(f"{told}{more}; mend these lines, or take the file out of [judge] labels")
    return pl.DataFrame(answers, schema=FILE_LABELS, orient="row")


def _faults_of_line(line: bytes) -> Iterator[str]:
    """What keeps a line from being used."""
    try:
        held: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        yield f"want a JSON object, found something else: {error}"
        return
    if not isinstance(held, dict):
        yield f"want a JSON object, found {_told(held)}"
        return
    rubric = held.get("rubric", "trajectories")
    if rubric not in get_args(Rubric):
        yield f"rubric: want one of {', '.join(get_args(Rubric))}, found {_told(rubric)}"
    yield from (f"{key}: want one of {', '.join(_ALLOWED)}, found this key" for key in held if key not in _ALLOWED)
    yield from _faults_of_key(held, rubric)
    yield from _faults_of_answers(held)
    yield from _faults_of_rest(held)


def _faults_of_key(held: dict[str, Any], rubric: Any) -> Iterator[str]:
    for name in ("trajectory_id", "task_id", "raw_path"):
        if name in held and not (isinstance(held[name], str) and held[name]):
            yield f"{name}: want a text, found {_told(held[name])}"
    index = held.get("raw_index", 0)
    if not (_is_number(index, int) and 0 <= index <= _LARGEST_INDEX):
        yield f"raw_index: want a whole number from 0 on, found {_told(index)}"
    if ("raw_path" in held) != ("raw_index" in held):
        yield "want raw_path and raw_index together, found one of them"
    given = sum(name in held for name in ("trajectory_id", "raw_path"))
    if given > 1:
        yield "want one of trajectory_id, raw_path with raw_index, found both"
    if given == 0 and not (rubric == "prompts" and "task_id" in held):
        beside = ", or task_id" if rubric == "prompts" else ""
        found = "a task_id alone: a task may have several attempts" if "task_id" in held else "neither"
        yield f"want trajectory_id, or raw_path with raw_index{beside}, found {found}"


def _faults_of_answers(held: dict[str, Any]) -> Iterator[str]:
    answers = held.get("answers")
    if "answers" not in held and JOINT not in held:
        yield f"want answers, {JOINT}, or both, found neither"
    if JOINT in held and not isinstance(held[JOINT], bool | None):
        yield f"{JOINT}: want true, false, or null where nobody can tell, found {_told(held[JOINT])}"
    if "answers" not in held:
        return
    if not isinstance(answers, dict) or not answers:
        yield f'answers: want an object such as {{"grounded": true}}, found {_told(answers)}'
        return
    for name, answer in answers.items():
        if not _NAME.fullmatch(name) or name == JOINT:
            yield f"answers: want the name of a criterion, found {_told(name)}"
        if not isinstance(answer, bool | None):
            yield f"answers.{name[:_SHORT]}: want true, false, or null where nobody can tell, found {_told(answer)}"


def _faults_of_rest(held: dict[str, Any]) -> Iterator[str]:
    weight = held.get("weight", 1)
    if not (_is_number(weight, int | float) and math.isfinite(weight) and weight > 0):
        yield f"weight: want a number above 0, one over the row's chance of having been drawn, found {_told(weight)}"
    if "by" in held and not (isinstance(held["by"], str) and held["by"].strip()):
        yield f"by: want a name, found {_told(held['by'])}"
    if held.get("at") is not None and _moment(held["at"]) is None:
        yield f"at: want a moment such as 2025-03-01T12:00:00Z, found {_told(held['at'])}"
    version = held.get("rubric_version")
    answers = held.get("answers")
    names = list(answers) if isinstance(answers, dict) else []
    if isinstance(version, dict):
        unknown = [name for name in version if name not in names]
        yield from (f"rubric_version: want criteria that are answered, found {_told(name)}" for name in unknown)
    told = version.values() if isinstance(version, dict) else [] if version is None else [version]
    for each in told:
        if not (isinstance(each, str) and _VERSION.fullmatch(each)):
            yield f'rubric_version: want a version such as "1" or "1-0a1b2c3d4e", found {_told(each)}'


def _answers(held: dict[str, Any], file: str) -> Iterator[dict[str, Any]]:
    """One row per answer of a line that has no fault."""
    version = held.get("rubric_version")
    keys = {name: held.get(name) for name in KEYS}
    about = {"rubric": held.get("rubric", "trajectories"), "weight": float(held.get("weight", 1))}
    said = {"by": held.get("by", file).strip(), "at": _moment(held.get("at"))}
    for name, answer in held.get("answers", {}).items():
        meant = version.get(name) if isinstance(version, dict) else version
        yield {**keys, **about, **said, "criterion": name, "answer": answer, "rubric_version": meant}
    if JOINT in held:
        yield {**keys, **about, **said, "criterion": JOINT, "answer": held[JOINT], "rubric_version": None}


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _moment(value: Any) -> str | None:
    """A moment as the store writes it, in UTC; one that names no zone is. None for anything else."""
    try:
        held = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return (held if held.tzinfo else held.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")


def _told(value: Any) -> str:
    """A value as a message shows it: short, whatever it is."""
    told = repr(value)
    return told if len(told) <= _SHORT else f"{told[:_SHORT]}…"

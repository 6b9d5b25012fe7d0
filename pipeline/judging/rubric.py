"""The criteria in force: those that ship, those a user adds, less those a user leaves out."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from pipeline.errors import RubricError
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion, Rubric
from pipeline.reasons import Reason

SHIPPED = Path(__file__).parent / "rubrics"
"""A folder per rubric, a file per criterion."""

REASONS: dict[Rubric, tuple[Reason, ...]] = {
    "trajectories": (
        Reason.UNGROUNDED,
        Reason.INCOHERENT,
        Reason.TOOL_MISUSE,
        Reason.IRRELEVANT,
        Reason.WRONG_ANSWER,
        Reason.TOOL_UNNECESSARY,
    ),
    "prompts": (Reason.AMBIGUOUS, Reason.UNANSWERABLE, Reason.UNVERIFIABLE, Reason.CORRUPTED),
}
"""What a no may be called: reasons that drop a row for what is in it."""

_RUBRICS: tuple[Rubric, ...] = get_args(Rubric)
_LISTED = {"grain": "row, call", "applies": "always, calls_tools, has_observations, has_images"}


def load_rubric(rubric: Rubric, config: JudgeConfig) -> tuple[Criterion, ...]:
    """The criteria asked under this configuration, in order of name.

    A file in `config.rubrics` replaces the shipped one of its name, and any other adds a criterion; criteria in
    `config.skip` are left out, those on images where the judge reads none.

    Raises: RubricError with every fault found: file, key, what is wanted and what stands there.
    """
    own = None if config.rubrics is None else _own_folder(Path(config.rubrics))
    files = {each: _files(SHIPPED / each) | ({} if own is None else _files(own / each)) for each in _RUBRICS}
    faults: list[str] = []
    read = [_read(path, rubric, faults) for _, path in sorted(files[rubric].items())]
    known = sorted({name for each in files.values() for name in each})
    unknown = [name for name in config.skip if name not in known]
    faults += [f"judge.skip: want one of {', '.join(known)}, found {name!r}" for name in unknown]
    if faults:
        raise RubricError("; ".join(faults) + "; see the files in pipeline/judging/rubrics for their form")
    return tuple(
        criterion
        for criterion in read
        if criterion is not None
        and criterion.name not in config.skip
        and (config.vision or criterion.applies != "has_images")
    )


def _own_folder(folder: Path) -> Path:
    """The user's folder. Raises RubricError where nothing in it can be meant, or something stands where none looks."""
    wanted = " and ".join(f"{each}/*.toml" for each in _RUBRICS)
    if not folder.is_dir():
        raise RubricError(f"judge.rubrics: want a folder with {wanted}, found none at {folder}; make it")
    stray = sorted(path for path in folder.rglob("*.toml") if path.parent not in [folder / each for each in _RUBRICS])
    if stray:
        raise RubricError(f"{stray[0]}: want criteria in {wanted} of {folder}, found one elsewhere; move it there")
    if not any(_files(folder / each) for each in _RUBRICS):
        raise RubricError(f"judge.rubrics: want {wanted} in {folder}, found no criterion; add one, or take it out")
    return folder


def _files(folder: Path) -> dict[str, Path]:
    """Name to file of the criteria in a folder; none where there is no folder."""
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _read(path: Path, rubric: Rubric, faults: list[str]) -> Criterion | None:
    """The criterion in a file; None where something is wrong with it, which is added to the faults."""
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"{path}: want a criterion, found {error.strerror or error}")
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path}: want TOML, found something else: {error}")
        return None
    found = list(_faults_in(held, path.stem, rubric))
    criterion = None
    try:
        criterion = Criterion.model_validate({"rubric": rubric} | held)
    except ValidationError as error:
        found += [told for fault in error.errors() if (told := _told(fault)) is not None]
    faults += [f"{path}: {fault}" for fault in found]
    return None if found else criterion


def _faults_in(held: dict[str, Any], stem: str, rubric: Rubric) -> Iterator[str]:
    """What the file says that cannot be, beyond the types of its values."""
    if "name" in held and held["name"] != stem:
        yield f"name: want {stem!r} as the file is called, found {held['name']!r}"
    if held.get("rubric", rubric) != rubric:
        yield f"rubric: want {rubric!r} as the folder is called, found {held['rubric']!r}"
    if "reason" in held and held["reason"] not in [each.value for each in REASONS[rubric]]:
        yield f"reason: want one of {', '.join(REASONS[rubric])}, found {held['reason']!r}"
    if isinstance(held.get("question"), str) and len(held["question"].splitlines()) > 1:
        yield "question: want one line, found several; what else is to be said belongs in guidance"
    if rubric == "prompts" and held.get("grain", "row") == "call":
        yield "grain: want 'row' in a rubric for prompts, found 'call': a prompt has no calls"
    if rubric == "prompts" and held.get("applies", "always") in ("calls_tools", "has_observations"):
        yield f"applies: want always or has_images in a rubric for prompts, found {held['applies']!r}"
    if rubric == "trajectories" and held.get("grain") == "call" and held.get("applies", "always") == "always":
        yield "applies: want calls_tools with grain 'call', found 'always': a row without calls could never be judged"


def _told(fault: Any) -> str | None:
    """One of pydantic's faults in our words; None for those that are told already."""
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{key}: want a value, found none"
    if fault["type"] == "extra_forbidden":
        return f"{key}: want one of {', '.join(Criterion.model_fields)}, found this key"
    if key in ("reason", "rubric"):
        return None
    wanted = f"one of {_LISTED[key]}" if key in _LISTED else fault["msg"].lower().removeprefix("input should ")
    return f"{key}: want {wanted}, found {fault['input']!r}"

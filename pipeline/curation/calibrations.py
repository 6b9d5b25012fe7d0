"""The calibrations a store keeps, and which of them acts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.judging.calibration import Calibration
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion, Rubric
from pipeline.judging.gold import JOINT
from pipeline.store import TableStore


@dataclass(frozen=True, slots=True)
class InForce:
    """The calibration that acts, or why none does."""

    calibration: Calibration | None
    why_not: str | None = None


def calibration_folder(store: TableStore, rubric: Rubric) -> Path:
    """Where the calibrations of a rubric lie: `<digest>.json`, its report beside it, and `latest.json`."""
    return store.root / "state" / "calibration" / rubric


def read_calibration(
    store: TableStore, config: JudgeConfig, rubric: Rubric, judge: str, criteria: Sequence[Criterion]
) -> InForce:
    """The calibration that acts on what this judge says of these criteria: the configured one, or else the latest.

    A configured one speaks for its own rubric; the other rubric keeps to its latest.

    Raises: CalibrationError if a file cannot be read, or the configured one is not there.
    """
    again = f"run `toolwise calibrate --rubric {rubric}`"
    latest = calibration_folder(store, rubric) / "latest.json"
    configured = None if config.calibration is None else Calibration.load(Path(config.calibration))
    if configured is not None and configured.rubric == rubric:
        held = configured
    elif latest.exists():
        held = Calibration.load(latest)
    else:
        return InForce(None, f"{rubric} have not been calibrated; {again}")
    if held.judge != judge:
        return InForce(None, f"calibrated for judge {held.judge}, found {judge}; {again}")
    now = {each.name: each.rubric_version for each in criteria}
    if held.criteria != now:
        changed = sorted(name for name in held.criteria.keys() | now.keys() if held.criteria.get(name) != now.get(name))
        told = ", ".join(f"{name} ({held.criteria.get(name, 'none')} to {now.get(name, 'none')})" for name in changed)
        return InForce(None, f"calibrated for other criteria: {told}; {again}")
    return InForce(held)


def calibration_by_digest(store: TableStore, config: JudgeConfig, rubric: Rubric, digest: str) -> Calibration | None:
    """The calibration a table was judged under, None if it is gone."""
    kept = calibration_folder(store, rubric) / f"{digest}.json"
    if kept.exists():
        return Calibration.load(kept)
    held = Calibration.load(Path(config.calibration)) if config.calibration is not None else None
    return held if held is not None and held.digest == digest else None


def keep_calibration(store: TableStore, calibration: Calibration) -> None:
    """Keep a calibration made elsewhere beside the tables that are judged under it."""
    path = calibration_folder(store, calibration.rubric) / f"{calibration.digest}.json"
    if not path.exists():
        calibration.save(path)


def labels_of_this_meaning(labels: pl.DataFrame, criteria: Sequence[Criterion]) -> pl.DataFrame:
    """Labels of criteria that are asked, given to the meaning they have now, and of the whole.

    A wording may be mended without losing its labels: only the number before the hash says that the meaning changed.

    Reads: labels as LABELS, of one rubric.
    """
    meant = {each.name: str(each.version) for each in criteria}
    now = pl.col("criterion").replace_strict(meant, default=None, return_dtype=pl.String)
    then = pl.col("rubric_version").str.split("-").list.first()
    same = now.is_not_null() & (then.is_null() | (then == now))
    return labels.filter((pl.col("criterion") == JOINT) | same)

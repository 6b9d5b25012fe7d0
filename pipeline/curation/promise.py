"""What may be promised of a set's rows: by the calibration they were judged under, and the labels known today."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.calibrations import calibration_by_digest, labels_of_this_meaning
from pipeline.judging.calibration import Calibration
from pipeline.judging.criteria import Rubric
from pipeline.judging.labels import read_labels
from pipeline.judging.rubric import load_rubric
from pipeline.store import TableStore

_TABLES: dict[str, tuple[Rubric, str, str]] = {
    "judged": ("trajectories", "trajectory_id", "verdicts"),
    "prompts_judged": ("prompts", "task_id", "prompt_verdicts"),
}
"""Judged table to its rubric, its key and the table of its verdicts."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a set promises of its rows; `holds` is False only where labels contradict what was promised."""

    told: str
    holds: bool = True
    numbers: dict[str, Any] = field(default_factory=dict)


def promise_of(store: TableStore, config: CurationConfig, days: Sequence[str]) -> Promise:
    """The promise of the set over these judged days, held against every label known today.

    Raises: LabelsError where a file of labels cannot be read.
    """
    by_calibration: dict[str, list[str]] = {}
    judges = {_versions(store, "judged", day).get("judge", "none") for day in days}
    for day in days:
        by_calibration.setdefault(_versions(store, "judged", day).get("calibration", "none"), []).append(day)
    if judges == {"none"}:
        return Promise("No model has judged these rows: no share of right ones is promised.")
    unpromised = by_calibration.pop("none", [])
    if not by_calibration:
        acts = "puts no row out" if config.judge.uncalibrated == "record" else "acts all the same, as configured"
        return Promise(
            f"Judged by {', '.join(sorted(judges))}, uncalibrated: no labels speak for it, so no share of right rows "
            f"is promised, and its opinion {acts}. Label rows with `toolwise label`, then `toolwise calibrate`."
        )
    labels = read_labels(store, config.judge)
    found = [_of_calibration(store, config, labels, digest, held) for digest, held in sorted(by_calibration.items())]
    told = [each.told for each in found]
    if unpromised:
        told.append(f"{len(unpromised)} of {len(days)} days are judged under no calibration: no promise there.")
    numbers = {name: value for each in found for name, value in each.numbers.items()}
    return Promise(" ".join(told), all(each.holds for each in found), numbers)


def drift_by_day(store: TableStore, config: CurationConfig, asset: str, days: Sequence[str]) -> dict[str, str | None]:
    """How far each day's acceptance has drifted from that calibrated on, in words; None where it has not."""
    found: dict[str, str | None] = {}
    for day in days:
        digest = _versions(store, asset, day).get("calibration", "none")
        calibration = _calibration(store, config, asset, digest)
        found[day] = None
        if calibration is not None:
            scores = store.scan(asset, day).select("acceptance").collect()["acceptance"]
            drift = calibration.drift(scores, limit=config.judge.max_drift)
            if drift.has_drifted:
                found[day] = (
                    f"stability index {drift.index:.2f} over {drift.num_scores} rows, want at most "
                    f"{max(config.judge.max_drift, drift.by_chance):.2f}; label rows of this day and calibrate again"
                )
    return found


def _of_calibration(
    store: TableStore, config: CurationConfig, labels: pl.DataFrame, digest: str, days: list[str]
) -> Promise:
    """The promise over the days judged under one calibration."""
    calibration = _calibration(store, config, "judged", digest)
    if calibration is None:
        return Promise(f"The calibration {digest} that judged {len(days)} days is gone: nothing is promised of them.")
    certificate = calibration.certificate
    if certificate.threshold is None:
        return Promise(f"{certificate.told[0].upper()}{certificate.told[1:]}; every judged row waits for a person.")
    rubric, key, verdicts_table = _TABLES["judged"]
    held = store.scan_days("judged", days)
    said = store.scan_days(verdicts_table, days)
    usable = labels_of_this_meaning(labels, load_rubric(rubric, config.judge))
    subjects = usable["subject_id"].unique()
    if held is None or said is None or subjects.is_empty():
        return Promise(_promised(calibration, "none of these rows is labelled"), numbers=_numbers(calibration))
    acceptance = held.filter(pl.col(key).is_in(subjects.implode())).select(subject_id=key, acceptance="acceptance")
    asked = said.filter(pl.col("subject_id").is_in(subjects.implode())).drop("day")
    known = acceptance.collect().unique("subject_id", keep="first", maintain_order=True)
    support = calibration.support(usable, asked.collect(), known)
    counted = f"{support.num_labels} labels of today speak for kept rows, {support.num_wrong} of them say wrong"
    numbers = _numbers(calibration) | {
        "labels_today": support.num_labels,
        "wrong_today": support.num_wrong,
        "bound_today": support.bound,
    }
    if support.verdict == "contradicted":
        return Promise(
            f"Broken: {certificate.target:.0%} of these rows were promised to be right; {counted}, which supports only "
            f"{support.bound:.1%}. Run `toolwise calibrate`, then judge the days again; until then the set before this "
            "one stays the latest.",
            holds=False,
            numbers=numbers,
        )
    today = f"which supports {support.bound:.1%}" if support.verdict == "supported" else "too few to tell"
    return Promise(_promised(calibration, f"{counted}, {today}"), numbers=numbers)


def _promised(calibration: Calibration, today: str) -> str:
    certificate = calibration.certificate
    return (
        f"Promised: at least {certificate.target:.0%} of these rows are right in every criterion of the rubric, with "
        f"{certificate.confidence:.0%} confidence, on {certificate.num_labels} labels of {certificate.num_tasks} tasks "
        f"(calibration {calibration.digest}, acceptance from {certificate.threshold:.3f} on); {today}. Rows that a "
        "person kept in review are outside the promise."
    )


def _numbers(calibration: Calibration) -> dict[str, Any]:
    certificate = calibration.certificate
    return {
        "calibration": calibration.digest,
        "target": certificate.target,
        "confidence": certificate.confidence,
        "threshold": certificate.threshold or 0.0,
    }


def _calibration(store: TableStore, config: CurationConfig, asset: str, digest: str) -> Calibration | None:
    return None if digest == "none" else calibration_by_digest(store, config.judge, _TABLES[asset][0], digest)


def _versions(store: TableStore, asset: str, day: str) -> dict[str, str]:
    manifest = store.manifest(asset, day)
    return {} if manifest is None else manifest.get("versions", {})

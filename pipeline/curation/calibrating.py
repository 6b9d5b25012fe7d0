"""What `toolwise calibrate` does: gold labels and a judge in, a calibration and its report out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.summary import Progress, silent
from pipeline.errors import CalibrationError, JudgeUnavailableError, LabelsError
from pipeline.judging.calibration import Calibration, calibrate
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion, Rubric
from pipeline.judging.features import trajectory_features
from pipeline.judging.images import broken_images
from pipeline.judging.judge import Judge
from pipeline.judging.labels import read_labels
from pipeline.judging.prompt_features import prompt_features
from pipeline.judging.questions import Question, Reply
from pipeline.judging.rendering import prompt_questions_of, questions_of
from pipeline.judging.report.counts import Counts
from pipeline.judging.report.evidence import Evidence
from pipeline.judging.report.page import report_page
from pipeline.judging.rubric import load_rubric
from pipeline.schema import VERDICTS
from pipeline.store import TableStore, write_file

_TABLES = {"trajectories": ("replayed", "trajectory_id"), "prompts": ("prompts", "task_id")}
"""Rubric to the table its rows reach the judge from, and their key there."""
JOINT = "accept"
"""The criterion of a label that speaks for all criteria jointly."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration that has been made, and where it lies."""

    calibration: Calibration
    path: Path
    report: Path
    counts: Counts
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class InForce:
    """The calibration that acts, or why none does; never both, never neither."""

    calibration: Calibration | None
    why_not: str | None = None


def calibrate_store(
    store: TableStore,
    config: CurationConfig,
    judge: Judge,
    *,
    rubric: Rubric = "trajectories",
    days: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Calibrated:
    """The calibration of a rubric on every usable label of the store, saved with its report, and in force from now on.

    Every labelled row is judged, also those a classifier would have decided; what the judge has said before comes
    from its cache. A row of which one question failed is left out and counted. The same labels, rows and scores give
    the same bytes.

    Args:
        days: where labelled rows are looked for; None: every day.

    Raises: LabelsError if no label can be used, JudgeUnavailableError if the judge died (what it had said is kept),
        CalibrationError if nothing can be fitted to what is left.
    """
    criteria = load_rubric(rubric, config.judge)
    table, key = _TABLES[rubric]
    searched = store.days(table) if days is None else list(days)
    given = read_labels(store, config.judge).filter(pl.col("rubric") == rubric)
    if given.is_empty():
        raise LabelsError(
            f"no gold labels for {rubric} in {store.root / 'state'} or judge.labels; label some with "
            f"`toolwise label --rubric {rubric}`, or name a file of them in toolwise.toml, [judge] labels"
        )
    answered = given.filter(pl.col("answer").is_not_null())
    current = labels_of_this_meaning(answered, criteria)
    rows = _labelled_rows(store, table, key, searched, current)
    reaching = _reaching_the_judge(rows, rubric, key)
    labels = current.join(reaching.select(subject_id=key), on="subject_id", how="semi", maintain_order="left")
    if labels.is_empty():
        raise LabelsError(_nothing_usable(given, answered, current, rows, table=table, days=searched))
    asking = questions_of if rubric == "trajectories" else prompt_questions_of
    questions = asking(reaching, criteria, config.judge)
    progress(f"{rubric}: {labels['subject_id'].n_unique():,} labelled rows, {len(questions):,} questions")
    replies = judge.ask(questions, progress=progress)
    verdicts = _verdicts(questions, replies, judge.identity)
    if judge.down is not None:
        raise JudgeUnavailableError(
            f"calibrating {rubric}: {judge.down}; {verdicts['score'].is_not_null().sum():,} of {len(questions):,} "
            "answers are kept: run `toolwise calibrate` again"
        )
    failed = verdicts.filter(pl.col("failure").is_not_null())
    whole = reaching.join(failed, left_on=key, right_on="subject_id", how="anti", maintain_order="left")
    labels = labels.join(whole.select(subject_id=key), on="subject_id", how="semi", maintain_order="left")
    verdicts = verdicts.join(whole.select(subject_id=key), on="subject_id", how="semi", maintain_order="left")
    counts = Counts(
        given=given["subject_id"].n_unique(),
        undecided=given["subject_id"].n_unique() - answered["subject_id"].n_unique(),
        outdated=answered["subject_id"].n_unique() - current["subject_id"].n_unique(),
        missing=current["subject_id"].n_unique() - rows.height,
        out_before=rows.height - reaching.height,
        failed=reaching.height - whole.height,
        used=labels["subject_id"].n_unique(),
        questions=len(questions),
        asked=judge.num_asked,
        cached=judge.num_cached,
        failures=_failures(failed),
    )
    if labels.is_empty():
        raise CalibrationError(
            f"calibrating {rubric}: the judge gave a whole answer on none of {reaching.height:,} labelled rows "
            f"({counts.told_failures}); see its log, mend the server and run `toolwise calibrate` again"
        )
    features = trajectory_features(whole) if rubric == "trajectories" else prompt_features(whole)
    calibration = calibrate(
        rubric=rubric,
        judge=judge.identity,
        criteria=criteria,
        labels=labels,
        verdicts=verdicts,
        features=features,
        config=config.judge,
    )
    evidence = Evidence(calibration, config.judge, tuple(criteria), labels, verdicts, features, counts)
    path, report = _save(store, calibration, evidence)
    return Calibrated(calibration, path, report, counts, evidence)


def calibration_folder(store: TableStore, rubric: Rubric) -> Path:
    """Where the calibrations of a rubric lie: `<digest>.json`, its report beside it, and `latest.json`."""
    return store.root / "state" / "calibration" / rubric


def read_calibration(
    store: TableStore, config: JudgeConfig, rubric: Rubric, judge: str, criteria: Sequence[Criterion]
) -> InForce:
    """The calibration that acts on what this judge says of these criteria: the configured one, or else the latest.

    Raises: CalibrationError if the file cannot be read; a configured one that is not there cannot.
    """
    latest = calibration_folder(store, rubric) / "latest.json"
    path = latest if config.calibration is None else Path(config.calibration)
    if config.calibration is None and not latest.exists():
        return InForce(None, f"{rubric} have not been calibrated; run `toolwise calibrate --rubric {rubric}`")
    held = Calibration.load(path)
    if held.rubric != rubric:
        return InForce(None, f"{path} is for {held.rubric}, not for {rubric}")
    if held.judge != judge:
        return InForce(None, f"calibrated for judge {held.judge}, found {judge}; run `toolwise calibrate` again")
    now = {each.name: each.rubric_version for each in criteria}
    if held.criteria != now:
        changed = sorted(name for name in held.criteria.keys() | now.keys() if held.criteria.get(name) != now.get(name))
        told = ", ".join(f"{name} ({held.criteria.get(name, 'none')} to {now.get(name, 'none')})" for name in changed)
        return InForce(None, f"calibrated for other criteria: {told}; run `toolwise calibrate` again")
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
    """Labels of criteria that are asked, given to the meaning they have now.

    A wording may be mended without losing its labels: only the number before the hash says that the meaning changed.
    """
    meant = {each.name: str(each.version) for each in criteria}
    now = pl.col("criterion").replace_strict(meant, default=None, return_dtype=pl.String)
    then = pl.col("rubric_version").str.split("-").list.first()
    same = (now == then) | (pl.col("rubric_version").is_null() & now.is_not_null())
    return labels.filter((pl.col("criterion") == JOINT) | same.fill_null(value=False))


def _labelled_rows(
    store: TableStore, table: str, key: str, days: Sequence[str], labels: pl.DataFrame
) -> pl.DataFrame:
    """The rows the labels speak of, the earliest where several days hold one."""
    held = store.scan_days(table, list(days))
    if held is None:
        raise LabelsError(f"no {table} in {store.tables} for the days asked; run `toolwise curate --until {table}` first")
    wanted = labels["subject_id"].unique().to_list()
    found = held.filter(pl.col(key).is_in(wanted)).sort("day", key).collect()
    return found.unique(key, keep="first", maintain_order=True).drop("day").sort(key)


def _reaching_the_judge(rows: pl.DataFrame, rubric: Rubric, key: str) -> pl.DataFrame:
    """The rows the judge is asked about: those that no earlier gate, and no broken image, has put out."""
    still_in = rows.filter(pl.col("reason").is_null())
    broken = broken_images(still_in)
    return still_in.join(broken, left_on=key, right_on="subject_id", how="anti", maintain_order="left")


def _verdicts(questions: Sequence[Question], replies: Sequence[Reply], judge: str) -> pl.DataFrame:
    """What was asked and what came back, as VERDICTS."""
    rows = [
        {
            "subject_id": question.subject_id,
            "criterion": question.criterion,
            "step_index": question.step_index,
            "rubric_version": question.rubric_version,
            "judge": judge,
            "score": reply.score,
            "probability": None,
            "failure": reply.failure,
        }
        for question, reply in zip(questions, replies, strict=True)
    ]
    return pl.DataFrame(rows, schema=VERDICTS).sort("subject_id", "criterion", "step_index")


def _failures(failed: pl.DataFrame) -> dict[str, int]:
    """Questions by why they failed, the commonest first."""
    counts = failed.group_by("failure").len().sort("len", "failure", descending=[True, False])
    return dict(counts.iter_rows())


def _nothing_usable(
    given: pl.DataFrame, answered: pl.DataFrame, current: pl.DataFrame, rows: pl.DataFrame, *, table: str, days: Sequence[str]
) -> str:
    """Why not one of the labels can be used."""
    told = f"none of {given['subject_id'].n_unique():,} labelled rows can be used: "
    if answered.is_empty():
        return told + "every answer is `cannot tell`; label more with `toolwise label`"
    if current.is_empty():
        return told + "they answer criteria that have changed their meaning since; label again with `toolwise label`"
    where = f"{days[0]} to {days[-1]}" if days else "no day"
    if rows.is_empty():
        return told + f"no {table} of {where} hold them; curate the days they are of, or give another --day"
    return told + f"all were put out before the judge; label rows that `{table}` keeps with `toolwise label`"


def _save(store: TableStore, calibration: Calibration, evidence: Evidence) -> tuple[Path, Path]:
    """Where the calibration and its report lie; it is in force once both are whole."""
    folder = calibration_folder(store, calibration.rubric)
    path, report = folder / f"{calibration.digest}.json", folder / f"{calibration.digest}.html"
    calibration.save(path)
    write_file(report, report_page(evidence).encode())
    write_file(folder / "latest.json", path.read_bytes())
    return path, report

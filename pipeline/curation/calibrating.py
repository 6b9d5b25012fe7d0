"""What `toolwise calibrate` does: gold labels and a judge in, a calibration and its report out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.calibrations import calibration_folder, labels_of_this_meaning
from pipeline.curation.summary import Progress, silent
from pipeline.errors import CalibrationError, JudgeUnavailableError, LabelsError
from pipeline.judging.calibration import Calibration, calibrate
from pipeline.judging.classifier import LinearClassifier
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion, Rubric
from pipeline.judging.features import trajectory_features
from pipeline.judging.images import broken_images
from pipeline.judging.judge import Judge
from pipeline.judging.labels import gather_labels
from pipeline.judging.prompt_features import prompt_features
from pipeline.judging.questions import Question
from pipeline.judging.rendering import prompt_questions_of, questions_of
from pipeline.judging.report.counts import Counts
from pipeline.judging.report.evidence import Evidence
from pipeline.judging.report.page import report_page
from pipeline.judging.rubric import load_rubric
from pipeline.judging.verdicts import verdicts_frame
from pipeline.store import TableStore, write_file


@dataclass(frozen=True, slots=True)
class _Subject:
    """What differs between the rubrics."""

    table: str
    """Where the rows stand when they reach the judge."""
    key: str
    ask: Callable[[pl.DataFrame, Sequence[Criterion], JudgeConfig], list[Question]]
    describe: Callable[[pl.DataFrame], pl.DataFrame]


_SUBJECTS: dict[Rubric, _Subject] = {
    "trajectories": _Subject("attempted", "trajectory_id", questions_of, trajectory_features),
    "prompts": _Subject("prompts", "task_id", prompt_questions_of, prompt_features),
}


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration that has been made, and where it lies."""

    calibration: Calibration
    path: Path
    report: Path
    evidence: Evidence
    num_asked: int
    """Questions that went to the model."""
    num_cached: int
    """Questions whose answer was known."""

    @property
    def counts(self) -> Counts:
        """What became of the labels."""
        return self.evidence.counts


def table_of(rubric: Rubric) -> str:
    """The table whose rows are labelled and judged."""
    return _SUBJECTS[rubric].table


def calibrate_store(
    store: TableStore,
    config: CurationConfig,
    judge: Judge,
    *,
    rubric: Rubric = "trajectories",
    days: Sequence[str] | None = None,
    distilled: LinearClassifier | None = None,
    progress: Progress = silent,
) -> Calibrated:
    """The calibration of a rubric on every usable label of the store, saved with its report, and in force from now on.

    Every labelled row is judged, also those a classifier would have decided; what the judge has said before comes
    from its cache. A row of which one question failed is left out and counted. The same labels, rows and scores give
    the same bytes. Labelled rows are looked for in `days`, None being every day; a classifier
    `distilled` from other tasks is used as it is.

    Raises: LabelsError if no label can be used, JudgeUnavailableError if the judge died (what it had said is kept),
        CalibrationError if nothing can be fitted to what is left, TooFewLabelsError where that is too little.
    """
    subject = _SUBJECTS[rubric]
    criteria = load_rubric(rubric, config.judge)
    searched = store.days(subject.table) if days is None else list(days)
    gold = gather_labels(store, config.judge)
    given = gold.labels.filter(pl.col("rubric") == rubric)
    if given.is_empty():
        raise LabelsError(
            f"no gold labels for {rubric}, neither in {store.root / 'state'} nor in files of judge.labels; label some "
            f"with `toolwise label --rubric {rubric}`, or name a file of them with --labels"
        )
    current = labels_of_this_meaning(given, criteria)
    rows = _labelled_rows(store, subject, searched, current)
    reaching = _reaching_the_judge(rows, subject)
    if reaching.is_empty():
        raise LabelsError(_nothing_usable(given, current, rows, subject=subject, days=searched))
    questions = subject.ask(reaching, criteria, config.judge)
    progress(f"{rubric}: {reaching.height:,} labelled rows, {len(questions):,} questions")
    num_asked, num_cached = judge.num_asked, judge.num_cached
    verdicts = verdicts_frame(questions, judge.ask(questions, progress=progress), judge.identity)
    if judge.down is not None:
        raise JudgeUnavailableError(
            f"calibrating {rubric}: {judge.down}; {verdicts['score'].is_not_null().sum():,} of {len(questions):,} "
            "answers are kept: mend the server and run `toolwise calibrate` again"
        )
    failed = verdicts.filter(pl.col("failure").is_not_null())
    whole = reaching.join(failed, left_on=subject.key, right_on="subject_id", how="anti", maintain_order="left")
    counts = Counts(
        given=given["subject_id"].n_unique(),
        outdated=given["subject_id"].n_unique() - current["subject_id"].n_unique(),
        missing=current["subject_id"].n_unique() - rows.height,
        out_before=rows.height - reaching.height,
        failed=reaching.height - whole.height,
        used=whole.height,
        questions=len(questions),
        failures=_counted(failed, "failure"),
    )
    if whole.is_empty():
        raise CalibrationError(
            f"calibrating {rubric}: the judge gave a whole answer on none of {reaching.height:,} labelled rows "
            f"({counts.told_failures}); mend the server and run `toolwise calibrate` again"
        )
    used = whole.select(subject_id=subject.key)
    labels = current.join(used, on="subject_id", how="semi", maintain_order="left")
    verdicts = verdicts.join(used, on="subject_id", how="semi", maintain_order="left")
    features = subject.describe(whole)
    calibration = calibrate(
        rubric=rubric,
        judge=judge.identity,
        criteria=criteria,
        labels=labels,
        verdicts=verdicts,
        features=features,
        config=config.judge,
        distilled=distilled,
    )
    said = labels_of_this_meaning(gold.answers.filter(pl.col("rubric") == rubric), criteria)
    evidence = Evidence(
        calibration=calibration,
        config=config.judge,
        criteria=criteria,
        labels=labels,
        answers=said.join(used, on="subject_id", how="semi", maintain_order="left"),
        agreement=gold.agreement[rubric],
        verdicts=verdicts,
        features=features,
        sources=_counted(whole, "source"),
        counts=counts,
    )
    path, report = _save(store, evidence)
    asked, cached = judge.num_asked - num_asked, judge.num_cached - num_cached
    return Calibrated(calibration, path, report, evidence, asked, cached)


def _labelled_rows(store: TableStore, subject: _Subject, days: Sequence[str], labels: pl.DataFrame) -> pl.DataFrame:
    """The rows the labels speak of; where several days hold one, that which reaches the judge, the earliest of them."""
    held = store.scan_days(subject.table, list(days))
    if held is None:
        raise LabelsError(
            f"{subject.table}: want curated days with the labelled rows, found none in {store.tables}; run "
            f"`toolwise curate --until {subject.table}` first, or give another --day"
        )
    wanted = labels["subject_id"].unique().implode()
    found = held.filter(pl.col(subject.key).is_in(wanted)).collect().sort(pl.col("reason").is_not_null(), "day")
    return found.unique(subject.key, keep="first", maintain_order=True).drop("day").sort(subject.key)


def _reaching_the_judge(rows: pl.DataFrame, subject: _Subject) -> pl.DataFrame:
    """The rows the judge is asked about: those that no earlier gate, and no broken image, has put out."""
    still_in = rows.filter(pl.col("reason").is_null())
    broken = broken_images(still_in)
    return still_in.join(broken, left_on=subject.key, right_on="subject_id", how="anti", maintain_order="left")


def _counted(rows: pl.DataFrame, column: str) -> dict[str, int]:
    """Rows by what a column holds, the commonest first."""
    counts = rows.group_by(column).len().sort("len", column, descending=[True, False])
    return dict(counts.iter_rows())


def _nothing_usable(
    given: pl.DataFrame, current: pl.DataFrame, rows: pl.DataFrame, *, subject: _Subject, days: Sequence[str]
) -> str:
    """Why not one of the labels can be used."""
    told = f"none of {given['subject_id'].n_unique():,} labelled rows can be used: "
    if current.is_empty():
        return told + (
            "they answer criteria that have changed their meaning since, or are not asked; label again with "
            "`toolwise label`"
        )
    if rows.is_empty():
        return told + (
            f"{subject.table} of {days[0]} to {days[-1]} holds none of them; curate the days they are of, or give "
            "another --day"
        )
    return told + f"all were put out before the judge; label rows that {subject.table} keeps with `toolwise label`"


def _save(store: TableStore, evidence: Evidence) -> tuple[Path, Path]:
    """Where the calibration and its report lie; it is in force once both are whole."""
    calibration = evidence.calibration
    folder = calibration_folder(store, calibration.rubric)
    path, report = folder / f"{calibration.digest}.json", folder / f"{calibration.digest}.html"
    page = report_page(evidence)
    calibration.save(path)
    write_file(report, page.encode())
    write_file(folder / "latest.json", path.read_bytes())
    return path, report

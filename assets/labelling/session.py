"""One person going through drawn rows: what is shown, what was said, and what of it is kept."""

import threading
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.curation.labelling import Drawn
from pipeline.curation.shown import shown_prompts, shown_trajectories
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion
from pipeline.judging.gold import JOINT, certifying
from pipeline.judging.labels import replace_labels, stored_labels
from pipeline.judging.rendering import prompt_questions_of, questions_of
from pipeline.schema import LABELS
from pipeline.store import TableStore

Answers = dict[str, bool | None]
"""Criterion, or `accept` for the row as a whole, to yes, no or cannot tell."""


class AnswersError(ValueError):
    """What was sent is no answer to what was asked."""


@dataclass(slots=True)
class Session:
    """The rows of one sitting, each answer stored as soon as it is given."""

    store: TableStore
    config: JudgeConfig
    drawn: Drawn
    by: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _before: dict[int, pl.DataFrame] = field(default_factory=dict)
    """What the person had said of a row before this sitting, by place; of rows answered in it."""

    @property
    def num_rows(self) -> int:
        """Rows there are to label."""
        return self.drawn.sample.height

    @property
    def num_stored(self) -> int:
        """Rows answered in this sitting."""
        return len(self._before)

    def facts(self) -> dict[str, Any]:
        """What the page says beside the rows."""
        need = self.drawn.need
        return {
            "rubric": self.drawn.rubric,
            "by": self.by,
            "num_rows": self.num_rows,
            "criteria": [self._criterion(each) for each in self.drawn.criteria],
            "least": need.least,
        } | self.progress()

    def progress(self) -> dict[str, int]:
        """How many rows are answered, and how many labelled tasks certify by now."""
        with self._lock:
            tasks = {self._drawn_row(place)["task_id"] for place in self._before} - self.drawn.labelled_tasks
        certify = pl.DataFrame({"task_id": sorted(tasks)}, schema={"task_id": pl.String}).filter(
            certifying(pl.col("task_id"))
        )
        return {
            "num_stored": self.num_stored,
            "num_certifying": self.drawn.need.num_certifying + certify.height,
            "num_fitting": self.drawn.need.num_fitting + len(tasks) - certify.height,
        }

    def row(self, place: int) -> dict[str, Any]:
        """A row as a person reads it, which criteria it is asked about, and what they have said of it.

        Nothing a judge said of it is among that: it would lead the person. Raises IndexError where there is none.
        """
        self._drawn_row(place)
        row = self.drawn.rows.slice(place, 1)
        is_trajectory = self.drawn.rubric == "trajectories"
        ask, show = (questions_of, shown_trajectories) if is_trajectory else (prompt_questions_of, shown_prompts)
        asked = {question.criterion for question in ask(row, self.drawn.criteria, self.config)}
        held = self._said(place)
        now = {each.name: str(each.version) for each in self.drawn.criteria} | {JOINT: None}
        said = {
            criterion: answer
            for criterion, answer, version in held.select("criterion", "answer", "rubric_version").iter_rows()
            if criterion in now and (version or "").split("-")[0] == (now[criterion] or "")
        }
        return {
            "place": place,
            "row": show(row)[0],
            "criteria": [each.name for each in self.drawn.criteria if each.name in asked],
            "said": said,
            "is_stored": place in self._before,
        }

    def keep(self, place: int, answers: Answers) -> None:
        """Store what was said of a row, in place of what the person said of it before.

        Raises: IndexError where there is no such row, AnswersError where nothing was said or not what was asked.
        """
        drawn = self._drawn_row(place)
        versions: dict[str, str | None] = {each.name: each.rubric_version for each in self.drawn.criteria}
        versions[JOINT] = None
        if not answers or not answers.keys() <= versions.keys():
            raise AnswersError(f"want answers to {', '.join(versions)}, found {', '.join(answers) or 'none'}")
        labels = [
            {
                "subject_id": drawn["subject_id"],
                "task_id": drawn["task_id"],
                "rubric": self.drawn.rubric,
                "criterion": criterion,
                "answer": answer,
                "weight": drawn["weight"],
                "rubric_version": versions[criterion],
                "by": self.by,
                "at": None,
            }
            for criterion, answer in answers.items()
        ]
        with self._lock:
            self._before.setdefault(place, self._said(place))
            self._replace(place, pl.DataFrame(labels, schema=LABELS, orient="row"))

    def take_back(self, place: int) -> None:
        """Undo what was said of a row in this sitting. Raises IndexError where there is no such row."""
        self._drawn_row(place)
        with self._lock:
            before = self._before.pop(place, None)
            if before is not None:
                self._replace(place, before)

    def _drawn_row(self, place: int) -> dict[str, Any]:
        """What was drawn at a place. Raises IndexError where nothing was."""
        if not 0 <= place < self.num_rows:
            raise IndexError(place)
        return self.drawn.sample.row(place, named=True)

    def _replace(self, place: int, labels: pl.DataFrame) -> None:
        replace_labels(
            self.store,
            labels,
            subject_id=self._drawn_row(place)["subject_id"],
            rubric=self.drawn.rubric,
            by=self.by,
            criteria=self._names,
        )

    def _said(self, place: int) -> pl.DataFrame:
        """What the person has said of a row by the criteria asked, as LABELS."""
        mine = {"subject_id": self._drawn_row(place)["subject_id"], "rubric": self.drawn.rubric, "by": self.by}
        is_mine = pl.all_horizontal(pl.col(name) == each for name, each in mine.items())
        return stored_labels(self.store).filter(is_mine, pl.col("criterion").is_in(self._names))

    @property
    def _names(self) -> list[str]:
        return [*(each.name for each in self.drawn.criteria), JOINT]

    def _criterion(self, criterion: Criterion) -> dict[str, Any]:
        return {
            "name": criterion.name,
            "version": criterion.rubric_version,
            "question": _of_the_row(criterion),
            "guidance": criterion.guidance.strip(),
        }


def _of_the_row(criterion: Criterion) -> str:
    """The question as it is put about a row as a whole."""
    if criterion.grain == "row":
        return criterion.question
    return f"{criterion.question} One answer for all calls of the row: no if it is no of any of them."

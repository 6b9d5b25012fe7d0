"""Questions and their replies as a table."""

from collections.abc import Sequence

import polars as pl

from pipeline.judging.questions import Question, Reply
from pipeline.schema import VERDICTS


def verdicts_frame(questions: Sequence[Question], replies: Sequence[Reply], judge: str) -> pl.DataFrame:
    """One row per question as VERDICTS has it, without probabilities, in order of subject, criterion and step."""
    held = {
        "subject_id": [question.subject_id for question in questions],
        "criterion": [question.criterion for question in questions],
        "step_index": [question.step_index for question in questions],
        "rubric_version": [question.rubric_version for question in questions],
        "judge": [judge] * len(questions),
        "score": [reply.score for reply in replies],
        "probability": [None] * len(questions),
        "failure": [reply.failure for reply in replies],
    }
    return pl.DataFrame(held, schema=VERDICTS).sort("subject_id", "criterion", "step_index")

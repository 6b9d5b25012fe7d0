"""The promise on real labels: MINT's attempts, split by task in two halves, recorded success as gold.

Run: `python -m benchmarks.judge_mint [--without-model] [--cache DIR]`; it reads ../shared/data/mint/dev, writes
judge_mint.json beside itself and prints its tables. One half calibrates, the other one is held against the promise,
and then the other way round. Second stages of the cascade:

- `embedded`: SmolLM2-135M on a vLLM server of our own, asked one question of every row.
- `stand-in`: TF-IDF over the same rendered questions and a logistic regression, in the place of a judge that costs and
  is better than chance. It is fitted on the fitting tasks of the calibrating half alone, and scores these crosswise.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

from benchmarks.curation import machine
from benchmarks.judge_tables import tables
from benchmarks.mint_answers import ungraded_rows
from benchmarks.precision import kept_precision
from pipeline.judging.calibration import Calibration, calibrate
from pipeline.judging.config import JudgeConfig
from pipeline.judging.features import trajectory_features
from pipeline.judging.gold import certifying
from pipeline.judging.judge import Judge
from pipeline.judging.questions import Question, Reply
from pipeline.judging.rendering import questions_of
from pipeline.judging.rubric import load_rubric
from pipeline.judging.verdicts import verdicts_frame
from pipeline.schema import LABELS
from pipeline.serving.own import OwnServer

HERE = Path(__file__).parent
MINT = HERE.parents[1] / "shared" / "data" / "mint" / "dev"
TARGETS = (0.8, 0.9, 0.95)
SHIPPED = ("coherent", "grounded", "relevant", "tool_rationale", "visual_relevance")
CONFIG = JudgeConfig(rubrics=str(HERE / "rubrics"), skip=SHIPPED, max_prompt_chars=3000)

Scorer = Callable[[np.ndarray], tuple[str, list[float | None]]]
"""Identity and score of every row, given which rows may be learned from."""


class Mint:
    """Rows, gold, features and questions, in the same order."""

    def __init__(self, root: Path) -> None:
        self.rows, self.correct = ungraded_rows(root)
        self.features = trajectory_features(self.rows)
        self.criteria = load_rubric("trajectories", CONFIG)
        self.questions = questions_of(self.rows, self.criteria, CONFIG)
        self.tasks = self.rows["task_id"].to_numpy()
        self.gold = self.correct.to_numpy()
        self.certifies = self.rows.select(certifying(pl.col("task_id"))).to_series().to_numpy()
        self.is_first = np.array([hashlib.sha256(f"half {each}".encode()).digest()[0] < 128 for each in self.tasks])
        """The half a task belongs to: by a hash of its own, so that either half holds tasks of both uses."""

    def labels(self, chosen: np.ndarray) -> pl.DataFrame:
        """The gold of these rows, as LABELS."""
        held = self.rows.filter(pl.Series(chosen)).select(subject_id="trajectory_id", task_id="task_id")
        return held.with_columns(
            rubric=pl.lit("trajectories"),
            criterion=pl.lit("correct"),
            answer=self.correct.filter(pl.Series(chosen)),
            weight=pl.lit(1.0),
            rubric_version=pl.lit(self.criteria[0].rubric_version),
            by=pl.lit("recorded success"),
            at=pl.lit(None, pl.String),
        ).select(pl.col(name).cast(dtype) for name, dtype in LABELS.items())


def main() -> None:
    """Measure, print the tables, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "judge_mint.json")
    parser.add_argument("--cache", type=Path, default=None, help="where the unpacked weights are kept")
    parser.add_argument("--without-model", action="store_true", help="leave the embedded model out")
    chosen = parser.parse_args()
    mint = Mint(MINT)
    scorers: dict[str, Scorer] = {"stand-in": lambda fit: ("tf-idf", stand_in(mint, fit))}
    result = {"command": "python -m benchmarks.judge_mint", "machine": machine(), "rows": rows_told(mint)}
    if not chosen.without_model:
        identity, scores, seconds = embedded_scores(mint.questions, chosen.cache)
        result["embedded"] = {"identity": identity, "questions": len(scores), "seconds": round(seconds, 1)}
        scorers["embedded"] = lambda _fit: (identity, scores)
    result["halves"] = [
        half
        for name, direction in (("first to second", mint.is_first), ("second to first", ~mint.is_first))
        for half in measured(mint, direction, name, scorers)
    ]
    chosen.out.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    print("\n".join(tables(result)))


def rows_told(mint: Mint) -> dict[str, Any]:
    """What was measured on."""
    answered = (mint.rows["final_answer"].is_not_null()).to_numpy()
    return {
        "rows": len(mint.gold),
        "tasks": len(np.unique(mint.tasks)),
        "share_right": round(float(mint.gold.mean()), 4),
        "with_answer": int(answered.sum()),
        "share_right_with_answer": round(float(mint.gold[answered].mean()), 4),
        "features": mint.features.width - 1,
    }


def embedded_scores(questions: list[Question], cache: Path | None) -> tuple[str, list[float | None], float]:
    """Identity, scores and seconds of asking of the embedded model on a server of our own."""
    with tempfile.TemporaryDirectory(prefix="toolwise-mint-judge-") as folder:
        server = OwnServer(CONFIG.server, cache=cache or Path(folder), logs=Path(folder) / "logs", say=print)
        try:
            with Judge(server, CONFIG) as judge:
                server.endpoint()
                start = time.monotonic()
                replies = judge.ask(questions, progress=print)
                return judge.identity, [reply.score for reply in replies], time.monotonic() - start
        finally:
            server.close()


def stand_in(mint: Mint, fit: np.ndarray) -> list[float | None]:
    """Scores by a text model that saw the rows of `fit` alone; these are scored by models that did not see the task."""
    texts = [str(question.messages[-1]["content"]) for question in mint.questions]
    scores = np.zeros(len(texts))
    at = np.flatnonzero(fit)
    for seen, left in GroupKFold(5).split(at, groups=mint.tasks[at]):
        scores[at[left]] = _text_model(texts, mint.gold, at[seen], at[left])
    others = np.flatnonzero(~fit)
    scores[others] = _text_model(texts, mint.gold, at, others)
    return [float(each) for each in scores]


def _text_model(texts: list[str], gold: np.ndarray, fit: np.ndarray, asked: np.ndarray) -> np.ndarray:
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True, max_features=50_000),
        LogisticRegression(C=3.0, max_iter=2000),
    )
    model.fit([texts[k] for k in fit], gold[fit])
    return model.predict_proba([texts[k] for k in asked])[:, 1]


def measured(mint: Mint, half: np.ndarray, name: str, scorers: dict[str, Scorer]) -> list[dict[str, Any]]:
    """Every second stage calibrated on `half` and held against the other half."""
    found = []
    for stage, scorer in scorers.items():
        identity, scores = scorer(half & ~mint.certifies)
        verdicts = verdicts_frame(mint.questions, [Reply(score) for score in scores], identity)
        subjects = mint.rows["trajectory_id"].to_list()
        held = verdicts.filter(pl.col("subject_id").is_in([s for s, k in zip(subjects, half, strict=True) if k]))
        told: dict[str, Any] = {"calibrated_on": name, "second_stage": stage, "auc": {}, "targets": []}
        for target in TARGETS:
            for cascade in (False, True):
                config = JudgeConfig(**{**dict(CONFIG), "target_precision": target, "cascade": cascade})
                calibration = calibrate(
                    rubric="trajectories",
                    judge=identity,
                    criteria=mint.criteria,
                    labels=mint.labels(half),
                    verdicts=held,
                    features=mint.features,
                    config=config,
                )
                told["targets"].append(_outcome(mint, calibration, verdicts, ~half, target=target, cascade=cascade))
        told["auc"] = _aucs(mint, calibration, verdicts, scores, ~half)
        found.append(told)
    return found


def _outcome(
    mint: Mint, calibration: Calibration, verdicts: pl.DataFrame, test: np.ndarray, *, target: float, cascade: bool
) -> dict[str, Any]:
    """What the calibration keeps of the rows of `test`, and how much of it is right."""
    features = mint.features.filter(pl.Series(test))
    asked = verdicts.filter(pl.col("subject_id").is_in(features["subject_id"].implode()))
    accepted = dict(calibration.accept(asked, features).iter_rows())
    acceptance = np.array([accepted.get(subject, np.nan) for subject in features["subject_id"].to_list()])
    threshold = calibration.certificate.threshold
    kept = np.zeros(len(acceptance), bool) if threshold is None else acceptance >= threshold
    sure = calibration.classify(features)
    return {
        "target": target,
        "cascade": cascade,
        "threshold": threshold,
        "certified_on": calibration.certificate.num_tasks,
        "calls_saved": round(sure.height / features.height, 4),
        "sure": None if calibration.sure is None else [round(each, 4) for each in calibration.sure],
        **kept_precision(kept, mint.gold[test], mint.tasks[test]),
    }


def _aucs(
    mint: Mint, calibration: Calibration, verdicts: pl.DataFrame, scores: list[float | None], test: np.ndarray
) -> dict[str, float | None]:
    """How each scorer orders rows of tasks it never saw: of all, and of those with an answer."""
    features = mint.features.filter(pl.Series(test))
    joint = Calibration(**{**dict(calibration), "sure": None}).accept(
        verdicts.filter(pl.col("subject_id").is_in(features["subject_id"].implode())), features
    )
    by_subject = dict(joint.iter_rows())
    told = {
        "second stage": np.array([scores[k] if scores[k] is not None else np.nan for k in np.flatnonzero(test)], float),
        "classifier": calibration.told_by_features(features)["probability"].to_numpy(),
        "both": np.array([by_subject.get(subject, np.nan) for subject in features["subject_id"].to_list()]),
    }
    answered = mint.rows["final_answer"].is_not_null().to_numpy()[test]
    gold = mint.gold[test]
    found: dict[str, float | None] = {}
    for name, values in told.items():
        for which, chosen in (("", np.ones(len(gold), bool)), (", with an answer", answered)):
            known = chosen & ~np.isnan(values) if len(values) == len(gold) else np.zeros(len(gold), bool)
            both = len(np.unique(gold[known])) == 2
            found[name + which] = round(float(roc_auc_score(gold[known], values[known])), 4) if both else None
    return found


if __name__ == "__main__":
    main()

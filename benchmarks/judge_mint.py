"""The promise on real labels: MINT's attempts, split by task in two halves, recorded success as gold.

Run: `python -m benchmarks.judge_mint [--without-model] [--cache DIR]`; it reads ../shared/data/mint/dev, writes
judge_mint.json beside itself and prints its tables. One half calibrates, the other one is held against the promise,
and then the other way round; once reading attempts up to their first answer, once whole (see mint_answers.py). Second
stages of the cascade:

- `embedded`: SmolLM2-135M on a vLLM server of our own, asked about a sample of the first reading: a question takes
  about a second of two cores, and it is at chance. What it was not asked about counts nowhere for this stage.
- `text` and `attempts`: no judges, but in the place of one that costs and is better than chance: TF-IDF over the same
  rendered questions, and a forest over the cheap features and over how many other attempts at the task came to the same
  answer. They are fitted on the fitting tasks of the calibrating half alone, and score these crosswise.
- `oracle`: the gold itself. It shows what so few labels could promise of a judge without fault.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

from benchmarks.curation import machine
from benchmarks.judge_tables import tables
from benchmarks.mint_answers import ungraded_rows
from benchmarks.precision import kept_precision, saved_calls
from pipeline.judging.calibration import Calibration, calibrate
from pipeline.judging.config import JudgeConfig
from pipeline.judging.features import trajectory_features
from pipeline.judging.gold import certifying
from pipeline.judging.judge import Judge
from pipeline.judging.questions import Question, Reply
from pipeline.judging.rendering import questions_of
from pipeline.judging.rubric import load_rubric
from pipeline.judging.verdict_cache import VerdictCache
from pipeline.judging.verdicts import verdicts_frame
from pipeline.schema import LABELS
from pipeline.serving.own import OwnServer

HERE = Path(__file__).parent
MINT = HERE.parents[1] / "shared" / "data" / "mint" / "dev"
TARGETS = (0.6, 0.8, 0.9, 0.95)
"""A low one as well: a quarter of the rows is right, and see what the oracle gets."""
READINGS = ("first answer", "whole")
ASKED = 280
"""Rows the embedded model is asked about: the first in order of trajectory_id, which is a hash."""
KEPT_SHARES = (0.05, 0.1, 0.2)
"""Of the rows: how many are kept where cascades are compared at equal precision."""
SHIPPED = ("coherent", "grounded", "relevant", "tool_rationale", "visual_relevance")
CONFIG = JudgeConfig(rubrics=str(HERE / "rubrics"), skip=SHIPPED, max_prompt_chars=3000)

Scorer = Callable[[np.ndarray], tuple[str, list[float | None]]]
"""Identity and score of every row, given which rows may be learned from."""


class Mint:
    """Rows, gold, features and questions, in the same order."""

    def __init__(self, root: Path, reading: str) -> None:
        self.reading = reading
        self.rows, self.correct, self.peers = ungraded_rows(root, whole=reading == "whole")
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
    parser.add_argument("--verdicts", type=Path, default=None, help="a cache of verdicts: what is in it is not asked")
    parser.add_argument("--without-model", action="store_true", help="leave the embedded model out")
    chosen = parser.parse_args()
    result: dict[str, Any] = {"command": "python -m benchmarks.judge_mint", "machine": machine(), "readings": {}}
    result["halves"] = []
    for reading in READINGS:
        mint = Mint(MINT, reading)
        result["readings"][reading] = rows_told(mint)
        scorers = stand_ins(mint)
        if reading == READINGS[0] and not chosen.without_model:
            identity, scores = embedded_scores(mint.questions[:ASKED], chosen.cache, chosen.verdicts)
            answered = sum(score is not None for score in scores)
            result["embedded"] = {"identity": identity, "questions": len(scores), "answered": answered}
            scores += [None] * (len(mint.questions) - len(scores))
            scorers["embedded"] = partial(_known, identity, scores)
        for name, half in (("first to second", mint.is_first), ("second to first", ~mint.is_first)):
            result["halves"] += measured(mint, half, name, scorers)
    chosen.out.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    print("\n".join(tables(result)))


def stand_ins(mint: Mint) -> dict[str, Scorer]:
    """Second stages that need no model server."""
    return {
        "text": lambda fit: ("tf-idf", crosswise(mint, fit, _text_model)),
        "attempts": lambda fit: ("forest", crosswise(mint, fit, _forest)),
        "oracle": partial(_known, "gold", [float(each) for each in mint.gold]),
    }


def _known(identity: str, scores: list[float | None], _fit: np.ndarray) -> tuple[str, list[float | None]]:
    return identity, scores


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


def embedded_scores(
    questions: list[Question], cache: Path | None, verdicts: Path | None
) -> tuple[str, list[float | None]]:
    """Identity and scores of the embedded model, asked on a server of our own; None where it gave none."""
    with tempfile.TemporaryDirectory(prefix="toolwise-mint-judge-") as folder:
        server = OwnServer(CONFIG.server, cache=cache or Path(folder), logs=Path(folder) / "logs", say=print)
        kept = VerdictCache(verdicts or Path(folder) / "verdicts", max_bytes=CONFIG.cache_bytes)
        with closing(server), closing(kept), Judge(server, CONFIG, kept) as judge:
            start = time.monotonic()
            replies = judge.ask(questions, progress=print)
            print(
                f"{judge.num_asked:,} questions asked in {time.monotonic() - start:.0f} s, the server's start included"
            )
            return judge.identity, [reply.score for reply in replies]


def crosswise(mint: Mint, fit: np.ndarray, model: "Model") -> list[float | None]:
    """Scores by a model that saw the rows of `fit` alone; these are scored by models that did not see the task."""
    scores = np.zeros(len(mint.gold))
    at = np.flatnonzero(fit)
    for seen, left in GroupKFold(5).split(at, groups=mint.tasks[at]):
        scores[at[left]] = model(mint, at[seen], at[left])
    others = np.flatnonzero(~fit)
    scores[others] = model(mint, at, others)
    return [float(each) for each in scores]


Model = Callable[[Mint, np.ndarray, np.ndarray], np.ndarray]
"""Probability of right of the rows asked, after seeing those to fit."""


def _text_model(mint: Mint, fit: np.ndarray, asked: np.ndarray) -> np.ndarray:
    texts = np.array([str(question.messages[-1]["content"]) for question in mint.questions], object)
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True, max_features=50_000),
        LogisticRegression(C=3.0, max_iter=2000),
    )
    return model.fit(texts[fit], mint.gold[fit]).predict_proba(texts[asked])[:, 1]


def _forest(mint: Mint, fit: np.ndarray, asked: np.ndarray) -> np.ndarray:
    peers = mint.peers.select("others", "agreeing", "answered").cast(pl.Float64).to_numpy()
    matrix = np.hstack([mint.features.drop("subject_id").to_numpy(), peers, peers[:, 1:2] / (peers[:, :1] + 1)])
    model = RandomForestClassifier(300, min_samples_leaf=4, random_state=0)
    return model.fit(matrix[fit], mint.gold[fit]).predict_proba(matrix[asked])[:, 1]


def measured(mint: Mint, half: np.ndarray, name: str, scorers: dict[str, Scorer]) -> list[dict[str, Any]]:
    """Every second stage calibrated on `half` and held against the other half."""
    found = []
    for stage, scorer in scorers.items():
        identity, scores = scorer(half & ~mint.certifies)
        asked = np.array([score is not None for score in scores])
        known = [(question, Reply(score)) for question, score in zip(mint.questions, scores, strict=True)]
        known = [(question, reply) for question, reply in known if reply.score is not None]
        verdicts = verdicts_frame([question for question, _ in known], [reply for _, reply in known], identity)
        held = verdicts.filter(pl.col("subject_id").is_in(mint.rows["trajectory_id"].filter(pl.Series(half)).implode()))
        test = ~half & asked
        told: dict[str, Any] = {"reading": mint.reading, "calibrated_on": name, "second_stage": stage, "targets": []}
        told |= {"rows_fit_or_certified": int((half & asked).sum()), "rows_tested": int(test.sum())}
        calibration = None
        for target, cascade in product(TARGETS, (True, False)):
            calibration = calibrate(
                rubric="trajectories",
                judge=identity,
                criteria=mint.criteria,
                labels=mint.labels(half & asked),
                verdicts=held,
                features=mint.features,
                config=JudgeConfig(**{**dict(CONFIG), "target_precision": target, "cascade": cascade}),
            )
            told["targets"].append(_outcome(mint, calibration, verdicts, test, target=target, cascade=cascade))
        assert calibration is not None
        told |= compared(mint, calibration, verdicts, scores, test)
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


def compared(
    mint: Mint, calibration: Calibration, verdicts: pl.DataFrame, scores: list[float | None], test: np.ndarray
) -> dict[str, Any]:
    """How each scorer orders rows of tasks it never saw, and what calls the classifier saves at equal precision."""
    features = mint.features.filter(pl.Series(test))
    asked = verdicts.filter(pl.col("subject_id").is_in(features["subject_id"].implode()))
    joint = dict(Calibration(**{**dict(calibration), "sure": None}).accept(asked, features).iter_rows())
    cheap = dict(calibration.told_by_features(features).iter_rows())
    subjects = features["subject_id"].to_list()
    scorers = {
        "second stage": _column([scores[k] for k in np.flatnonzero(test)]),
        "classifier": _column([cheap.get(subject) for subject in subjects]),
        "both": _column([joint.get(subject) for subject in subjects]),
    }
    answered, gold = mint.peers["answered"].to_numpy()[test], mint.gold[test]
    everyone = np.ones(len(gold), bool)
    return {
        "auc": {name: _auc(gold, values, everyone) for name, values in scorers.items()},
        "auc_with_answer": {name: _auc(gold, values, answered) for name, values in scorers.items()},
        "saved_at_equal_precision": [
            {"kept": share, **saved_calls(scorers["classifier"], scorers["both"], gold, kept=round(share * len(gold)))}
            for share in KEPT_SHARES
        ],
    }


def _column(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


def _auc(gold: np.ndarray, values: np.ndarray, chosen: np.ndarray) -> float | None:
    known = chosen & ~np.isnan(values)
    both = len(np.unique(gold[known])) == 2
    return round(float(roc_auc_score(gold[known], values[known])), 4) if both else None


if __name__ == "__main__":
    main()

"""How often text in a trace talks the judge into a yes, with the defences of the prompt and without them.

Run: `python -m benchmarks.injection [--adapter FOLDER] [--out FILE]`. The attacks of injection_attacks.jsonl, and
harmless sentences as a control, are put into sample traces that are bad in one criterion, and into good ones; a real
vLLM server is asked that criterion of each, with and without the attack, and so is a classifier of the cascade. Writes
injection.json beside itself and prints its tables.

A model that cannot tell good from bad (the embedded one is at chance; `ranking` measures it in the same run) has no
judgement to be talked out of. Its figures show how far the words of an attack move an answer, and how much more than
harmless words do; not how a judge that is any good would hold. `structure` needs no model: it counts the prompts in
which an attack leaves its quotation, which holds for whatever model reads them.
"""

import argparse
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from benchmarks.curation import machine
from benchmarks.injection_cases import CONTROL, Case, Row, cases_of, frame_of, question_of, read_attacks, sample_rows
from benchmarks.injection_summary import structure, summary, tables
from benchmarks.processes import ROOT
from benchmarks.replay_agreement import screened_rows
from examples.judge_corpus import write_corpus
from pipeline.judging.classifier import LinearClassifier, fit_classifier
from pipeline.judging.config import JudgeConfig
from pipeline.judging.features import trajectory_features
from pipeline.judging.judge import Judge
from pipeline.serving.config import ServerConfig
from pipeline.serving.own import OwnServer

RESULT = Path(__file__).with_name("injection.json")
MODES = {"defended": True, "undefended": False}
CORPUS_ROWS, CORPUS_SEED = 2_000, 11


def main() -> None:
    """Ask, write, print."""
    parser = argparse.ArgumentParser(description="Measure how often an attack inside of a trace gets a yes.")
    parser.add_argument("--adapter", type=Path, help="LoRA adapter of the embedded model to ask")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache", help="where the embedded weights are unpacked")
    parser.add_argument("--out", type=Path, default=RESULT, help="JSON file for the result")
    chosen = parser.parse_args()
    served = ServerConfig()
    if chosen.adapter is not None:
        served = ServerConfig(adapters={"judge-adapter": str(chosen.adapter)}, served="judge-adapter")
    cases = cases_of(sample_rows(), read_attacks())
    server = OwnServer(served, cache=chosen.cache, logs=chosen.cache / "logs", say=print)
    try:
        with Judge(server, JudgeConfig(server=served)) as judge:
            modes = {name: judged(cases, judge, defended=held) for name, held in MODES.items()}
            identity = judge.identity
    finally:
        server.close()
    hostile = [case.attack for case in cases if case.attack["kind"] != CONTROL]
    result = {
        "command": "python -m benchmarks.injection",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "judge": identity,
        "attacks": len({attack["id"] for attack in hostile}),
        "kinds": len({attack["kind"] for attack in hostile}),
        "modes": modes,
        "classifier": classified(cases, sample_classifier()),
    }
    chosen.out.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    print("\n".join(tables(result)))


def judged(cases: Sequence[Case], judge: Judge, *, defended: bool) -> dict[str, Any]:
    """What the judge says of every case with and without its attack, in one way of showing traces."""
    plain = {case.base: question_of(case.row, case.base, case.criterion, defended=defended) for case in cases}
    hostile = [question_of(case.hostile(), case.name, case.criterion, defended=defended) for case in cases]
    questions = [*plain.values(), *hostile]
    scores = [reply.score for reply in judge.ask(questions, progress=print)]
    of_base = dict(zip(plain, scores, strict=False))
    told = summary(cases, [of_base[case.base] for case in cases], scores[len(plain) :])
    return {"questions": len(questions), "structure": structure(cases, hostile), **told}


def sample_classifier() -> LinearClassifier:
    """A classifier of the cascade, learned from traces made for it, of other tasks than the samples'."""
    with tempfile.TemporaryDirectory(prefix="toolwise-injection-") as folder:
        write_corpus(Path(folder), CORPUS_ROWS, CORPUS_SEED)
        rows = screened_rows(Path(folder) / "traces").filter(pl.col("reason").is_null())
        lines = (Path(folder) / "gold.jsonl").read_bytes().splitlines()
    answers = {each["trajectory_id"]: False not in each["answers"].values() for each in map(orjson.loads, lines)}
    features = trajectory_features(_unrepaired(rows.filter(pl.col("trajectory_id").is_in(list(answers)))))
    return fit_classifier(features, np.array([answers[name] for name in features["subject_id"]]))


def classified(cases: Sequence[Case], classifier: LinearClassifier) -> dict[str, Any]:
    """What the classifier says of them; it counts, and reads no words as orders."""

    def scores(rows: Sequence[Row]) -> list[float]:
        frame = frame_of(rows, [f"{number:06}" for number in range(len(rows))])
        return classifier.predict(trajectory_features(_unrepaired(frame))).tolist()

    told = summary(cases, scores([case.row for case in cases]), scores([case.hostile() for case in cases]))
    return {"learned_from": classifier.num_rows, **told}


def _unrepaired(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(repaired=pl.lit([], pl.List(pl.UInt32)))


if __name__ == "__main__":
    main()

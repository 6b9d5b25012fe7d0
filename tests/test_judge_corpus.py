"""The traces to learn judging from: none of the samples' tasks or sentences, and gold for every record."""

import inspect
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from examples import faults, judge_faults
from examples.gold import ANSWERS, gold, parsed
from examples.judge_corpus import build, write_corpus
from examples.pool import Pool
from examples.tasks_native import NATIVE_KINDS
from examples.tasks_python import PYTHON_KINDS
from examples.tasks_search import SEARCH_KINDS
from pipeline.judging.label_files import read_label_files

EXAMPLES = Path(__file__).parents[1] / "examples"
RECORDS = 120


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "made"
    write_corpus(out, RECORDS, 3)
    return out


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_record_is_parsed_and_has_gold_that_agrees_with_its_label(corpus: Path) -> None:
    labels, records = lines_of(corpus / "labels.jsonl"), parsed(corpus / "traces")
    assert len(labels) == records.height == RECORDS
    assert (corpus / "gold.jsonl").read_bytes() == gold(labels, records)
    told = {row["trajectory_id"]: row["answers"] for row in lines_of(corpus / "gold.jsonl")}
    for path, index, name, calls in records.select(
        "raw_path", "raw_index", "trajectory_id", "num_tool_calls"
    ).iter_rows():
        [label] = [each for each in labels if (each["path"], each["index"]) == (path, index)]
        wanted = {key: yes for key, yes in ANSWERS[label["expected"]].items() if calls or key != "tool_rationale"}
        assert told[name] == wanted


def test_all_four_faults_are_there_and_most_records_are_clean(corpus: Path) -> None:
    counts = Counter(label["expected"] for label in lines_of(corpus / "labels.jsonl"))
    assert set(counts) == {"keep", "ungrounded", "incoherent", "tool_misuse", "irrelevant"}
    assert min(counts.values()) >= 5
    assert counts["keep"] >= 50


def test_the_gold_is_a_file_of_labels(corpus: Path) -> None:
    read = read_label_files([corpus / "gold.jsonl", EXAMPLES / "gold.jsonl"])
    assert set(read["criterion"]) == {"grounded", "coherent", "tool_rationale", "relevant"}
    assert read["trajectory_id"].n_unique() == RECORDS + len(lines_of(EXAMPLES / "gold.jsonl"))


def test_the_same_seed_gives_the_same_files_and_another_one_others() -> None:
    assert build(30, 5).files == build(30, 5).files
    assert build(30, 5).files != build(30, 6).files


def test_no_task_of_the_samples_is_among_them(corpus: Path) -> None:
    samples = set(parsed(EXAMPLES / "traces")["prompt"].drop_nulls())
    assert samples
    assert samples & set(parsed(corpus / "traces")["prompt"]) == set()


def test_a_folder_that_holds_traces_is_left_alone(corpus: Path) -> None:
    with pytest.raises(FileExistsError):
        write_corpus(corpus, 10, 1)


def test_the_faults_speak_in_other_words_than_those_of_the_samples() -> None:
    theirs = sentences(inspect.getsource(faults.incoherent) + inspect.getsource(faults.irrelevant))
    ours = sentences(Path(judge_faults.__file__).read_text(encoding="utf-8"))
    assert len(theirs) >= 8
    assert theirs & ours == set()


def sentences(source: str) -> set[str]:
    """Longer runs of words in lower case."""
    return {
        part.strip().lower() for part in re.split(r"[.\"{}:;]", source) if len(part.split()) >= 4 and "=" not in part
    }


@pytest.mark.parametrize("name", list(judge_faults.JUDGED))
def test_a_fault_changes_what_it_says_it_changes(name: str) -> None:
    pool = Pool(17)
    for _ in range(25):
        trace = pool.draw((*NATIVE_KINDS, *PYTHON_KINDS, *SEARCH_KINDS))
        faulty = judge_faults.JUDGED[name](trace, pool.rng)
        assert (faulty.prompt, faulty.truth, faulty.success) == (trace.prompt, None, None)
        changed = {
            "calls": [turn.calls for turn in faulty.turns] != [turn.calls for turn in trace.turns],
            "observations": [turn.text for turn in faulty.turns if turn.role == "tool"]
            != [turn.text for turn in trace.turns if turn.role == "tool"],
            "reply": faulty.last.text != trace.last.text,
        }
        assert changed["calls"] == (name == "tool_misuse")
        assert not changed["observations"] or name == "tool_misuse"
        assert changed["reply"] or name not in ("ungrounded", "irrelevant")
        assert faulty.turns != trace.turns

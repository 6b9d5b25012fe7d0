"""`toolwise calibrate`: what it prints, what it asks, and how it refuses."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import CurationConfig
from pipeline.curation.calibrations import calibration_folder
from pipeline.curation.prompts import write_prompts
from pipeline.store import TableStore
from tests.calibrating import CRITERIA, DAY, NUM_ROWS, curated, gold, sees_smudges
from tests.curating import Toolwise, json_lines, put
from tests.fake_judge import MODEL, FakeJudge, Fault, Faults

CONFIG = '[judge]\nskip = ["coherent", "relevant"]\nbackoff_s = 0.01\nmax_attempts = 1\n'


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    """A store that no judge has seen."""
    return curated(tmp_path_factory.mktemp("fresh"))


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeJudge]:
    """A judge of the test's own, in force."""
    with FakeJudge(sees_smudges) as held:
        monkeypatch.setenv("TOOLWISE_JUDGE_BASE_URL", held.base_url)
        monkeypatch.setenv("TOOLWISE_JUDGE_MODEL", MODEL)
        yield held


@pytest.fixture
def ready(toolwise: Toolwise, fresh: TableStore, judge: FakeJudge) -> Toolwise:
    """The command over a curated store, with a judge and a configuration."""
    shutil.copytree(fresh.root, toolwise.data)
    toolwise.config(CONFIG)
    return toolwise


def labels(toolwise: Toolwise, numbers: range, name: str = "gold.jsonl") -> Path:
    """A file with gold labels of these records."""
    return put(toolwise.folder / name, json_lines(gold(numbers)))


def told(text: str) -> str:
    """What was printed, on one line."""
    return " ".join(text.replace("│", " ").replace("┃", " ").split())


def test_it_tells_the_labels_the_promise_the_cascade_the_figures_and_the_report(
    ready: Toolwise, judge: FakeJudge
) -> None:
    file = labels(ready, range(NUM_ROWS))
    out = told(ready.done("calibrate", "--labels", file))
    assert f"{NUM_ROWS} of {NUM_ROWS} labelled rows are used" in out
    assert re.search(rf"all jointly {NUM_ROWS} 80% \d+", out)
    assert re.search(
        r"precision of 95% with 95% confidence: promised from acceptance 0\.\d{3} on, \d+ of \d+ labels there wrong, "
        r"at least \d+\.\d% right, \d+% of the rows kept",
        out,
    )
    assert re.search(r"all jointly \d+ 0\.\d{3} to 0\.\d{3} 0\.\d{3} to 0\.\d{3} \d\.\d{2} to \d\.\d{2}", out)
    assert re.search(r"the classifier decides (no row alone|\d+(\.\d)?% of the rows alone and saves \d+ of \d+)", out)
    asked = NUM_ROWS * len(CRITERIA)
    assert f"{asked} questions went to the model, 0 were known" in out
    assert judge.num_requests == asked
    folder = calibration_folder(ready.store, "trajectories")
    [report] = folder.glob("*.html")
    assert f"report: {report}" in out
    assert "in force from now on" in out

    again = told(ready.done("calibrate", "--labels", file))
    assert f"0 questions went to the model, {asked} were known" in again
    assert judge.num_requests == asked
    assert [path.name for path in folder.glob("*.html")] == [report.name]


def test_labels_of_the_configuration_and_of_the_command_count_together(ready: Toolwise) -> None:
    labels(ready, range(60))
    ready.config(CONFIG + 'labels = ["gold.jsonl"]\n')
    more = labels(ready, range(50, 90), "more.jsonl")
    assert "90 of 90 labelled rows are used" in ready.done("calibrate", "--labels", more)
    assert "60 of 60 labelled rows are used" in ready.done("calibrate")


def test_too_few_labels_are_no_error_and_it_says_how_many_more(ready: Toolwise) -> None:
    few = told(ready.done("calibrate", "--labels", labels(ready, range(6))))
    assert "at least 5 that fit and 5 that certify" in few
    assert re.search(r"at least \d+ more that certify are needed \(59 without an error\)", few)
    assert not calibration_folder(ready.store, "trajectories").exists()
    more = told(ready.done("calibrate", "--labels", labels(ready, range(60))))
    assert re.search(r"nothing can be promised with \d+ labels of \d+ tasks; about \d+ more certifying labels", more)
    assert "every judged row waits for a person until more is labelled" in more


def test_no_labels_are_an_error_that_says_where_they_come_from(ready: Toolwise, judge: FakeJudge) -> None:
    line = ready.refused("calibrate")
    assert re.search(r"no gold labels for trajectories.*judge\.labels.*`toolwise label --rubric trajectories`", line)
    assert judge.num_requests == 0


def test_failed_questions_are_told_and_never_counted_as_answers(ready: Toolwise, judge: FakeJudge) -> None:
    judge.faults = Faults(0.1, kinds=[Fault.SERVER_ERROR])
    file = labels(ready, range(80))
    out = told(ready.done("calibrate", "--labels", file))
    failed = judge.injected[Fault.SERVER_ERROR]
    assert f"questions that failed: server error (500); 1 attempts ({failed}); run again once the judge answers" in out
    assert re.search(r"not used: \d+, the judge failed on them", out)
    judge.heal()
    out = told(ready.done("calibrate", "--labels", file))
    assert f"{failed} questions went to the model, {160 - failed} were known" in out
    assert "80 of 80 labelled rows are used" in out


def test_a_judge_that_is_not_there_is_one_line_and_no_calibration(ready: Toolwise, judge: FakeJudge) -> None:
    judge.die()
    line = ready.refused("calibrate", "--labels", labels(ready, range(30)))
    assert line.startswith("toolwise: ")
    assert not calibration_folder(ready.store, "trajectories").exists()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--day", "2024-01-01"], "no day of attempted in 2024-01-01"),
        (["--day", f"{DAY}..2025-03-01x"], "want YYYY-MM-DD"),
        (["--rubric", "images"], "'images' is not one of"),
        (["--labels", "nowhere.jsonl"], "'nowhere.jsonl' does not exist"),
        (["--rubric", "prompts"], "no day of prompts"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(ready: Toolwise, arguments: list[str], wanted: str) -> None:
    assert wanted in ready.refused("calibrate", *arguments)


def test_a_broken_line_of_labels_is_named(ready: Toolwise) -> None:
    file = put(ready.folder / "bad.jsonl", b'{"trajectory_id": "x"}\n')
    assert re.search(
        r"bad\.jsonl:1: want answers, accept, or both, found neither", ready.refused("calibrate", "--labels", file)
    )


def test_a_judge_that_is_switched_off_calibrates_nothing(ready: Toolwise) -> None:
    ready.config("[judge]\nenabled = false\n")
    assert "judge.enabled is false" in ready.refused("calibrate", "--labels", labels(ready, range(30)))


def test_a_configured_calibration_stays_in_force_and_the_command_says_so(ready: Toolwise) -> None:
    file = labels(ready, range(60))
    ready.done("calibrate", "--labels", file)
    latest = calibration_folder(ready.store, "trajectories") / "latest.json"
    named = Path(shutil.copy(latest, ready.folder / "elsewhere.json"))
    ready.config(CONFIG + 'calibration = "elsewhere.json"\n')
    out = told(ready.done("calibrate", "--labels", file))
    assert f"not in force: judge.calibration names {named}" in out


def test_prompts_are_calibrated_under_their_own_rubric(ready: Toolwise) -> None:
    write_prompts(ready.store, DAY, CurationConfig())
    rows = ready.store.scan("prompts", DAY).collect()
    lines = [
        {"rubric": "prompts", "task_id": task, "accept": k % 4 != 0, "by": "bob"}
        for k, task in enumerate(rows["task_id"].sort().to_list()[:60])
    ]
    file = put(ready.folder / "prompts.jsonl", json_lines(lines))
    ready.config('[judge]\nskip = ["uncorrupted", "verifiable", "well_posed"]\n')
    out = told(ready.done("calibrate", "--rubric", "prompts", "--labels", file))
    assert "60 of 60 labelled rows are used" in out
    assert (calibration_folder(ready.store, "prompts") / "latest.json").exists()

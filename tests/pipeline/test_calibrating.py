"""Calibrating a store: nothing paid twice, nothing invented, every label accounted for."""

import re
import shutil
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from pipeline.config import CurationConfig
from pipeline.curation.calibrating import calibrate_store
from pipeline.curation.calibrations import read_calibration
from pipeline.curation.judged import write_judged
from pipeline.curation.judging import open_judge
from pipeline.curation.prompts import write_prompts
from pipeline.errors import CalibrationError, JudgeUnavailableError, LabelsError, TooFewLabelsError
from pipeline.judging.calibration import Calibration
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Rubric
from pipeline.judging.rubric import load_rubric
from pipeline.store import TableStore
from tests.calibrating import CRITERIA, DAY, NUM_ROWS, calibrated, curated, files_of, gold, labelled, sees_smudges
from tests.fake_judge import FakeJudge, Fault, Faults

EVERY = range(NUM_ROWS)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    """A store that no judge has seen."""
    return curated(tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="module")
def known(fresh: TableStore, tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    """The store with every verdict of a healthy judge in its cache, and one calibration."""
    folder = tmp_path_factory.mktemp("known")
    store = copy_of(fresh, folder / "data")
    with FakeJudge(sees_smudges) as judge:
        made = calibrated(store, labelled(folder / "gold.jsonl", gold(EVERY)), judge)
        assert made.num_asked == judge.num_requests == NUM_ROWS * len(CRITERIA)
    return store


def copy_of(store: TableStore, folder: Path) -> TableStore:
    """A store of a test's own."""
    shutil.copytree(store.root, folder)
    return TableStore(folder)


def calibrated_from_cache(store: TableStore, config: CurationConfig, **options: Any) -> Any:
    """The store calibrated by a judge that is known, and not there any more."""
    with FakeJudge() as judge:
        server = judge.server()
    with open_judge(store, config.judge, server) as opened:
        return calibrate_store(store, config, opened, **options)


def in_force(store: TableStore, config: JudgeConfig, judge: str = "fake-1", rubric: Rubric = "trajectories") -> Any:
    """What acts in the store under a configuration."""
    return read_calibration(store, config, rubric, judge, load_rubric(rubric, config))


def test_a_second_calibration_asks_nothing_and_writes_the_same_bytes(known: TableStore, tmp_path: Path) -> None:
    store = copy_of(known, tmp_path / "data")
    before = files_of(store)
    made = calibrated_from_cache(store, labelled(tmp_path / "gold.jsonl", gold(EVERY)))
    assert (made.num_asked, made.num_cached) == (0, NUM_ROWS * len(CRITERIA))
    digest = made.calibration.digest
    assert sorted(before) == [f"trajectories/{digest}.html", f"trajectories/{digest}.json", "trajectories/latest.json"]
    assert files_of(store) == before
    assert before["trajectories/latest.json"] == before[f"trajectories/{digest}.json"]


def test_every_labelled_row_is_used_and_the_promise_rests_on_the_certifying_half(
    known: TableStore, tmp_path: Path
) -> None:
    made = calibrated_from_cache(copy_of(known, tmp_path / "data"), labelled(tmp_path / "gold.jsonl", gold(EVERY)))
    calibration, counts = made.calibration, made.counts
    assert (counts.given, counts.used, counts.left_out, counts.failures) == (NUM_ROWS, NUM_ROWS, {}, {})
    assert calibration.num_fitted + calibration.certificate.num_labels == NUM_ROWS
    assert calibration.certificate.kept.bound >= 0.95
    assert set(calibration.criteria) == set(CRITERIA)


def test_earlier_calibrations_stay_beside_the_latest(known: TableStore, tmp_path: Path) -> None:
    store = copy_of(known, tmp_path / "data")
    first = set(files_of(store))
    made = calibrated_from_cache(store, labelled(tmp_path / "gold.jsonl", gold(range(150))))
    files = files_of(store)
    added = {f"trajectories/{made.calibration.digest}.{kind}" for kind in ("json", "html")}
    assert set(files) == first | added
    assert added.isdisjoint(first)
    assert files["trajectories/latest.json"] == files[f"trajectories/{made.calibration.digest}.json"]


def test_the_report_holds_no_text_of_a_trace(known: TableStore) -> None:
    rows = known.scan("replayed", DAY).select("trajectory_id", "task_id", "messages").collect()
    [page] = [text.decode() for name, text in files_of(known).items() if name.endswith(".html")]
    text = orjson.dumps(rows["messages"].to_list()).decode()
    for told in ("crowns", "crate of", "smudged", "I look up", "sells at", *rows["task_id"], *rows["trajectory_id"]):
        assert told not in page
    assert all(told in text for told in ("crowns", "crate of", "smudged", "I look up", "sells at"))


def test_judged_rows_take_the_calibration_without_another_question(known: TableStore, tmp_path: Path) -> None:
    store = copy_of(known, tmp_path / "data")
    config = labelled(tmp_path / "gold.jsonl", gold(EVERY))
    threshold = Calibration.load(store.root / "state/calibration/trajectories/latest.json").certificate.threshold
    with FakeJudge(sees_smudges) as judge, open_judge(store, config.judge, judge.server()) as opened:
        write_judged(store, DAY, config, judge=opened)
        assert judge.num_requests == 0
    rows = store.scan("judged", DAY).collect()
    assert rows["acceptance"].null_count() == 0
    kept = rows.filter(pl.col("reason").is_null())
    assert kept.height == rows.filter(pl.col("acceptance") >= threshold).height > NUM_ROWS // 2


def test_rows_of_failed_questions_are_left_out_until_the_judge_answers(fresh: TableStore, tmp_path: Path) -> None:
    store, numbers = copy_of(fresh, tmp_path / "data"), range(60)
    config = labelled(tmp_path / "gold.jsonl", gold(numbers), max_attempts=1)
    with FakeJudge(sees_smudges, faults=Faults(0.1, kinds=[Fault.SERVER_ERROR, Fault.MALFORMED])) as judge:
        ill = calibrated(store, config, judge)
        failed = sum(judge.injected.values())
        assert sum(ill.counts.failures.values()) == failed > 0
        assert ill.counts.used == len(numbers) - ill.counts.failed < len(numbers)
        assert 0 < ill.counts.failed <= failed
        assert ill.evidence.verdicts["score"].null_count() == 0
        assert ill.counts.left_out == {"the judge failed on them": ill.counts.failed}
        assert "server error (500)" in ill.counts.told_failures
        assert "server error (500)" in ill.report.read_text()
        judge.heal()
        asked = judge.num_requests
        well = calibrated(store, config, judge)
        assert judge.num_requests - asked == failed
    assert well.counts.used == len(numbers)
    healthy = copy_of(fresh, tmp_path / "healthy")
    with FakeJudge(sees_smudges) as judge:
        never_ill = calibrated(healthy, config, judge)
    assert never_ill.calibration == well.calibration
    assert never_ill.report.read_bytes() == well.report.read_bytes()


def test_a_judge_that_dies_calibrates_nothing_and_keeps_what_it_said(fresh: TableStore, tmp_path: Path) -> None:
    store = copy_of(fresh, tmp_path / "data")
    config = labelled(tmp_path / "gold.jsonl", gold(range(60)), concurrency=2, max_attempts=2, timeout_s=1.0)
    with FakeJudge(sees_smudges, die_after=40) as judge, pytest.raises(JudgeUnavailableError, match="are kept") as told:
        calibrated(store, config, judge)
    assert "toolwise calibrate" in str(told.value)
    assert files_of(store) == {}
    with FakeJudge(sees_smudges) as judge:
        made = calibrated(store, config, judge)
    assert 40 <= made.num_cached < 120
    assert made.num_asked == 120 - made.num_cached


def test_a_judge_that_fails_everywhere_is_an_error_and_no_calibration(fresh: TableStore, tmp_path: Path) -> None:
    store = copy_of(fresh, tmp_path / "data")
    config = labelled(tmp_path / "gold.jsonl", gold(range(30)), max_attempts=1)
    judging = FakeJudge(sees_smudges, faults=Faults(1.0, kinds=[Fault.WRONG_CHOICE]))
    with judging as judge, pytest.raises(CalibrationError, match="on none of 30 labelled rows"):
        calibrated(store, config, judge)
    assert files_of(store) == {}


def test_without_labels_the_message_says_where_they_come_from(known: TableStore) -> None:
    with pytest.raises(LabelsError, match=r"no gold labels for trajectories.*toolwise label.*--labels"):
        calibrated_from_cache(known, CurationConfig())


def test_a_handful_of_labels_is_too_few(known: TableStore, tmp_path: Path) -> None:
    store = copy_of(known, tmp_path / "data")
    before = files_of(store)
    with pytest.raises(TooFewLabelsError, match="at least 5 that fit and 5 that certify"):
        calibrated_from_cache(store, labelled(tmp_path / "gold.jsonl", gold(range(6))))
    assert files_of(store) == before


def test_too_few_labels_for_a_promise_make_a_calibration_that_promises_nothing(
    known: TableStore, tmp_path: Path
) -> None:
    made = calibrated_from_cache(copy_of(known, tmp_path / "data"), labelled(tmp_path / "g.jsonl", gold(range(60))))
    certificate = made.calibration.certificate
    assert certificate.threshold is None
    assert certificate.more_labels == 59 - certificate.num_labels
    assert "Nothing is promised yet" in made.report.read_text()


def test_labels_of_rows_that_no_table_holds_are_counted_and_left_out(known: TableStore, tmp_path: Path) -> None:
    store = copy_of(known, tmp_path / "data")
    strangers = [{"trajectory_id": f"nobody-{k}", "accept": True, "by": "ann"} for k in range(7)]
    made = calibrated_from_cache(store, labelled(tmp_path / "gold.jsonl", gold(EVERY), strangers))
    assert made.counts.left_out == {"in no table of the days searched": 7}
    assert (made.counts.given, made.counts.used) == (NUM_ROWS + 7, NUM_ROWS)
    with pytest.raises(LabelsError, match=f"attempted of {DAY} to {DAY} holds none of them"):
        calibrated_from_cache(store, labelled(tmp_path / "strangers.jsonl", strangers))


def test_labels_of_other_days_are_left_out(known: TableStore, tmp_path: Path) -> None:
    config = labelled(tmp_path / "gold.jsonl", gold(EVERY))
    with pytest.raises(LabelsError, match="want curated days with the labelled rows, found none"):
        calibrated_from_cache(known, config, days=["2025-03-02"])
    with pytest.raises(LabelsError, match="want curated days with the labelled rows, found none"):
        calibrated_from_cache(known, config, days=[])


def test_labels_given_to_another_meaning_are_left_out_and_to_another_wording_are_not(
    known: TableStore, tmp_path: Path
) -> None:
    store = copy_of(known, tmp_path / "data")
    by_criterion = {"answers": {"grounded": True, "tool_rationale": True}}

    def answered(numbers: range, version: str) -> list[dict[str, Any]]:
        held = gold(numbers, **by_criterion, rubric_version=version)
        return [{name: value for name, value in each.items() if name != "accept"} for each in held]

    now = load_rubric("trajectories", JudgeConfig())[0].version
    mixed = labelled(
        tmp_path / "mixed.jsonl", gold(range(100)), answered(range(100, 120), f"{now + 1}-00aa"),
        answered(range(120, 150), f"{now}-00bb"),
    )  # fmt: skip
    made = calibrated_from_cache(store, mixed)
    assert made.counts.left_out == {"labelled for criteria that have changed their meaning, or are not asked": 20}
    assert made.counts.used == 130
    outdated = labelled(tmp_path / "outdated.jsonl", answered(EVERY, f"{now + 1}"))
    with pytest.raises(LabelsError, match="changed their meaning since"):
        calibrated_from_cache(store, outdated)


def test_rows_put_out_before_the_judge_are_left_out(known: TableStore, tmp_path: Path) -> None:
    store = copy_of(known, tmp_path / "data")
    config = labelled(tmp_path / "gold.jsonl", gold(EVERY))
    rows = store.scan("attempted", DAY).collect()
    out = pl.when(pl.col("raw_index") < 30).then(pl.lit("unexecutable", rows.schema["reason"])).alias("reason")
    with store.writing("attempted", DAY) as writer:
        writer.write_shard(rows.with_columns(out))
    made = calibrated_from_cache(store, config)
    assert made.counts.left_out == {"put out before the judge": 30}
    with pytest.raises(LabelsError, match="all were put out before the judge"):
        calibrated_from_cache(store, labelled(tmp_path / "few.jsonl", gold(range(30))))


def test_what_nobody_could_tell_neither_fits_nor_certifies(known: TableStore, tmp_path: Path) -> None:
    store = copy_of(known, tmp_path / "data")
    config = labelled(tmp_path / "gold.jsonl", gold(range(150)), gold(range(150, NUM_ROWS), accept=None))
    calibration = calibrated_from_cache(store, config).calibration
    assert calibration.num_unknown > 0
    assert calibration.num_fitted + calibration.certificate.num_labels + calibration.num_unknown == NUM_ROWS


def test_prompts_are_calibrated_by_labels_of_their_own(fresh: TableStore, tmp_path: Path) -> None:
    store = copy_of(fresh, tmp_path / "data")
    write_prompts(store, DAY, CurationConfig())
    tasks = store.scan("prompts", DAY).filter(pl.col("reason").is_null()).collect()["task_id"].sort().to_list()[:120]
    labels = [{"rubric": "prompts", "task_id": task, "accept": k % 4 != 0, "by": "bob"} for k, task in enumerate(tasks)]
    skip = ("uncorrupted", "verifiable", "well_posed")
    config = labelled(tmp_path / "gold.jsonl", labels, skip=skip)
    with FakeJudge() as judge:
        made = calibrated(store, config, judge, rubric="prompts")
        assert judge.num_requests == len(tasks)
    assert made.calibration.rubric == "prompts"
    assert made.path.parent.name == "prompts"
    assert in_force(store, config.judge, rubric="prompts").calibration == made.calibration
    assert in_force(store, JudgeConfig()).calibration is None


def test_the_latest_calibration_is_in_force_for_the_same_judge_and_criteria(known: TableStore, tmp_path: Path) -> None:
    config = labelled(tmp_path / "gold.jsonl", gold(EVERY)).judge
    latest = known.root / "state/calibration/trajectories/latest.json"
    assert in_force(known, config).calibration == Calibration.load(latest)
    assert in_force(known, config).why_not is None
    other = in_force(known, config, judge="fake-2")
    assert other.calibration is None
    assert "calibrated for judge fake-1, found fake-2" in other.why_not
    fewer = in_force(known, config.model_copy(update={"skip": ("coherent", "relevant", "grounded")}))
    assert fewer.calibration is None
    assert re.search(r"other criteria: grounded \(\S+ to none\); run `toolwise calibrate", fewer.why_not)


def test_a_store_without_a_calibration_says_how_to_come_by_one(fresh: TableStore) -> None:
    found = in_force(fresh, JudgeConfig(), rubric="prompts")
    assert found.calibration is None
    assert found.why_not == "prompts have not been calibrated; run `toolwise calibrate --rubric prompts`"


def test_a_configured_calibration_speaks_for_its_rubric_in_any_store(
    known: TableStore, fresh: TableStore, tmp_path: Path
) -> None:
    path = shutil.copy(known.root / "state/calibration/trajectories/latest.json", tmp_path / "elsewhere.json")
    config = labelled(tmp_path / "gold.jsonl", gold(EVERY), calibration=str(path)).judge
    assert in_force(fresh, config).calibration == Calibration.load(Path(path))
    assert in_force(fresh, config, rubric="prompts").calibration is None
    Path(path).write_text("{}")
    with pytest.raises(CalibrationError, match="want a calibration"):
        in_force(fresh, config)
    Path(path).unlink()
    with pytest.raises(CalibrationError, match="No such file"):
        in_force(fresh, config)

"""The judged stages through Dagster: nothing paid twice, nothing invented, nothing lost when a judge fails or dies."""

import re
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.curation.waiting import days_to_retry
from pipeline.ledger import scan_decisions
from pipeline.store import TableStore
from tests.assets.runs import DAY, materialise
from tests.assets.runs import PARTITIONED as STAGES
from tests.curating import Toolwise, json_lines, land_records, price_chat, put
from tests.fake_judge import MODEL, FakeJudge, Faults

NUM_ROWS = 24


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> FakeJudge:
    """A judge of the test's own, in force."""
    with FakeJudge() as held:
        use(held, monkeypatch)
        yield held


def use(judge: FakeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs ask this judge."""
    monkeypatch.setenv("TOOLWISE_JUDGE_BASE_URL", judge.base_url)
    monkeypatch.setenv("TOOLWISE_JUDGE_MODEL", MODEL)


def land(data: Path) -> TableStore:
    """A data root with a day of clean rows, whose tasks can be checked."""
    store = TableStore(data)
    land_records(store, DAY, [price_chat(k, k, ground_truth=str(101 * k + 7)) for k in range(NUM_ROWS)])
    return store


def table(store: TableStore, name: str) -> pl.DataFrame:
    """A table of the day, in order."""
    frame = store.scan(name, DAY).collect()
    return frame.sort(
        *[key for key in ("trajectory_id", "subject_id", "criterion", "step_index") if key in frame.columns]
    )


def config_of(tmp_path: Path, text: str) -> Path:
    return put(tmp_path / "toolwise.toml", text.encode())


def test_every_row_is_asked_every_criterion_and_a_rerun_asks_nothing(tmp_path: Path, judge: FakeJudge) -> None:
    store = land(tmp_path)
    assert materialise(tmp_path, *STAGES, day=DAY).success
    verdicts = table(store, "verdicts")
    counts = dict(verdicts.group_by("criterion").len().iter_rows())
    assert counts == dict.fromkeys(("coherent", "grounded", "relevant", "tool_rationale"), NUM_ROWS)
    assert verdicts["score"].null_count() == 0
    assert judge.num_requests == verdicts.height + table(store, "prompt_verdicts").height
    before = {name: table(store, name) for name in ("judged", "verdicts", "prompts_judged")}

    asked = judge.num_requests
    assert materialise(tmp_path, *STAGES, day=DAY).success
    assert judge.num_requests == asked
    for name, frame in before.items():
        assert_frame_equal(table(store, name), frame)


def test_one_criterion_changed_is_the_only_one_asked_again(tmp_path: Path, judge: FakeJudge) -> None:
    store = land(tmp_path / "data")
    assert materialise(store.root, *STAGES, day=DAY).success
    shipped = Path(__file__).parents[2] / "pipeline" / "judging" / "rubrics" / "trajectories" / "grounded.toml"
    text = shipped.read_text(encoding="utf-8")
    put(
        tmp_path / "rubrics" / "trajectories" / "grounded.toml",
        re.sub(r"(?m)^version = \d+", "version = 7", text).encode(),
    )
    asked = judge.num_requests
    config = config_of(tmp_path, '[judge]\nrubrics = "rubrics"\n')
    assert materialise(store.root, *STAGES, day=DAY, config=config).success
    assert judge.num_requests - asked == NUM_ROWS
    versions = table(store, "verdicts").filter(pl.col("criterion") == "grounded")["rubric_version"].unique()
    assert [version.split("-")[0] for version in versions] == ["7"]


def test_a_judge_that_fails_a_third_of_the_time_invents_nothing_and_the_next_run_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # two tries at most, so that some questions are left over
    config = config_of(tmp_path, "[judge]\nmax_attempts = 2\nbackoff_s = 0.01\ntimeout_s = 2\n")
    with FakeJudge() as healthy:
        use(healthy, monkeypatch)
        whole = land(tmp_path / "healthy")
        assert materialise(whole.root, *STAGES, day=DAY, config=config).success
    with FakeJudge(faults=Faults(0.3)) as failing:
        use(failing, monkeypatch)
        store = land(tmp_path / "failing")
        assert materialise(store.root, *STAGES, day=DAY, config=config).success
        said, wanted = table(store, "verdicts"), table(whole, "verdicts")
        failed = said.filter(pl.col("failure").is_not_null())
        assert 0 < failed.height < said.height
        assert failed["score"].null_count() == failed.height
        keys = ["subject_id", "criterion", "step_index", "score"]
        given = said.filter(pl.col("score").is_not_null())
        assert given.select(keys).join(wanted.select(keys), on=keys, how="anti", nulls_equal=True).is_empty()
        rows = table(store, "judged")
        waiting = set(rows.filter(pl.col("reason") == "judge_failed")["trajectory_id"])
        assert waiting == set(failed["subject_id"])
        assert rows.filter(~pl.col("trajectory_id").is_in(list(waiting)))["reason"].null_count() == NUM_ROWS - len(
            waiting
        )
        assert days_to_retry(store) == [DAY]

        failing.heal()
        asked = failing.num_requests
        assert materialise(store.root, *STAGES, day=DAY, config=config).success
        again = failed.height + table(store, "prompt_verdicts").height
        assert 0 < failing.num_requests - asked <= again
    for name in ("judged", "verdicts", "prompts_judged", "prompt_verdicts"):
        assert_frame_equal(table(store, name), table(whole, name))
    assert days_to_retry(store) == []


def test_a_judge_that_dies_leaves_what_it_judged_and_the_message_says_how_to_go_on(
    tmp_path: Path, toolwise: Toolwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = json_lines(price_chat(k, k, ground_truth=str(101 * k + 7)) for k in range(NUM_ROWS))
    file = put(tmp_path / "logs.jsonl", records)
    toolwise.config("[judge]\nconcurrency = 4\nbackoff_s = 0.01\n")
    with FakeJudge(die_after=60) as dying:
        use(dying, monkeypatch)
        line = toolwise.refused("curate", file, "--day", DAY, "--until", "judged")
    assert "wait as judge_failed" in line
    assert f"toolwise curate --day {DAY}" in line
    store = toolwise.store
    kept = table(store, "verdicts").filter(pl.col("score").is_not_null()).height
    assert 0 < kept <= 60
    decided = scan_decisions(store, [DAY]).filter(pl.col("stage") == "judged").collect()
    assert set(decided["reason"].cast(pl.String)) == {"judge_failed"}
    assert days_to_retry(store) == [DAY]
    with FakeJudge() as fresh:
        use(fresh, monkeypatch)
        toolwise.done("curate", "--day", DAY, "--until", "judged")
        assert fresh.num_requests == table(store, "verdicts").height - kept
    assert table(store, "judged")["reason"].null_count() == NUM_ROWS


def test_nobody_is_asked_where_the_configuration_says_so(tmp_path: Path, judge: FakeJudge) -> None:
    store = land(tmp_path / "data")
    config = config_of(tmp_path, "[judge]\nenabled = false\n")
    assert materialise(store.root, *STAGES, day=DAY, config=config).success
    assert judge.num_requests == 0
    assert table(store, "judged")["reason"].null_count() == NUM_ROWS
    assert materialise(store.root, "sft_set", config=config).success
    card = (store.root / "sets" / "sft" / "latest" / "README.md").read_text(encoding="utf-8")
    assert "No model has judged these rows" in card


def test_a_set_judged_without_labels_says_that_nothing_is_promised(tmp_path: Path, judge: FakeJudge) -> None:
    store = land(tmp_path)
    assert materialise(tmp_path, *STAGES, day=DAY).success
    result = materialise(tmp_path, "sft_set")
    [check] = [each for each in result.get_asset_check_evaluations() if each.check_name == "precision_as_promised"]
    assert check.passed
    assert "uncalibrated" in (check.description or "")
    assert "uncalibrated" in (store.root / "sets" / "sft" / "latest" / "README.md").read_text(encoding="utf-8")


def test_a_judge_that_is_not_there_is_named_and_every_row_waits(
    tmp_path: Path, toolwise: Toolwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLWISE_JUDGE_BASE_URL", "http://127.0.0.1:9/v1")
    file = put(tmp_path / "logs.jsonl", json_lines([price_chat(1, 1)]))
    line = toolwise.refused("curate", file, "--day", DAY, "--until", "judged")
    assert "127.0.0.1:9" in line
    assert table(toolwise.store, "judged")["reason"].to_list() == ["judge_failed"]
    assert days_to_retry(toolwise.store) == [DAY]

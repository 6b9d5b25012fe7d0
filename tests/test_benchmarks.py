"""The benchmarks run, check what they claim to check, and their page says what their results say."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from benchmarks.agreement import Kept, Planted, compare, faults
from benchmarks.readme import HERE, readme
from benchmarks.replay_agreement import flagged_share, found_share, invented_counts

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The curation benchmark over few records."""
    out = tmp_path_factory.mktemp("bench") / "curation.json"
    command = [sys.executable, "-m", "benchmarks.curation", "--records", "400", "--runs", "1", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return orjson.loads(out.read_bytes())


def test_both_tools_leave_one_record_of_each_planted_group(result: dict[str, Any]) -> None:
    counts = result["agreement"]["datatrove fastest"]
    assert result["faults"] == []
    assert counts["exact_groups"] > 5
    assert counts["near_groups"] > 5
    assert {name: count for name, count in counts.items() if "_wrong_" in name and count} == {}
    assert counts["words_differ"] == 0
    assert counts["kept_by_both_unredacted"] > 200


def test_the_result_tells_cost_ratio_machine_and_work(result: dict[str, Any]) -> None:
    own, other = result["tools"]["toolwise"], result["tools"]["datatrove fastest"]
    assert own["cpu_s"] > 0
    assert own["peak_rss_mib"] > 50
    assert result["ratios"]["datatrove fastest"]["cpu"] == pytest.approx(other["cpu_s"] / own["cpu_s"], abs=0.01)
    assert sum(own["stages_s"].values()) == pytest.approx(own["cpu_s"], rel=0.3)
    assert set(own["stages_s"]) == {"start", "trajectories", "screened", "replayed", "attempted", "judged", "sft_set"}
    assert {"cpu", "cores", "memory_gib", "python", "versions"} <= set(result["machine"])
    assert result["records"]["count"] == 400
    assert set(result["work"]) == {"both", "toolwise only", "datatrove only", "datatrove cannot"}


TRUTH = Planted({"a": "t", "b": "t", "c": "t", "d": "u"}, {"a": 1, "b": 1, "c": 2, "d": 3})
"""b is an exact and c a near copy of a; d stands alone."""


def kept(after_exact: str, after_near: str, words: int = 0) -> Kept:
    """What a tool left, a record a letter."""
    return Kept(set(after_exact), set(after_near), dict.fromkeys(after_near, words))


@pytest.mark.parametrize(
    ("toolwise", "datatrove", "wanted"),
    [
        (kept("acd", "ad"), kept("bcd", "bd"), []),
        (kept("abcd", "ad"), kept("acd", "ad"), ["toolwise: 1 of 1 exact groups not left with one record"]),
        (kept("acd", "ad"), kept("cd", "cd"), ["datatrove: 1 of 1 exact groups not left with one record"]),
        (kept("acd", "acd"), kept("acd", "ad"), ["toolwise: 1 of 1 near groups not left with one record"]),
        (kept("acd", "ad"), kept("acd", "a"), ["datatrove: 1 of 1 near_alone groups not left with one record"]),
        (kept("acd", "ad", 1), kept("acd", "ad", 2), ["2 records that both kept do not say the same"]),
        (kept("acd", "ad"), kept("bcd", "b"), [
            "datatrove: 1 of 1 near_alone groups not left with one record", "no record was kept by both"
        ]),
    ],
)  # fmt: skip
def test_outputs_that_do_not_agree_are_told(toolwise: Kept, datatrove: Kept, wanted: list[str]) -> None:
    counts = compare(TRUTH, toolwise, datatrove, set("abcd"), set())
    assert faults(counts) == wanted


def test_a_record_that_the_gates_dropped_is_not_compared() -> None:
    counts = compare(TRUTH, kept("a", "a"), kept("ad", "ad"), {"a"}, set())
    assert faults(counts) == []


def test_the_sandbox_benchmark_measures_every_snippet_in_every_way(tmp_path: Path) -> None:
    out = tmp_path / "sandbox.json"
    numbers = ["--executions", "10", "--rounds", "1", "--steady", "50"]
    command = [sys.executable, "-m", "benchmarks.sandbox", *numbers, "--out", str(out)]
    # so few executions may break a limit by chance; that is then told, and no more is asked of them
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert out.exists(), done.stderr[-2000:]
    result = orjson.loads(out.read_bytes())
    assert done.returncode == (1 if result["faults"] else 0)
    assert list(result["snippets"]) == ["bare", "numpy", "pandas", "sympy"]
    for row in result["snippets"].values():
        assert min(row.values()) > 0
        assert row["speedup"] == pytest.approx(row["fresh_ms"] / row["sandbox_ms"], abs=0.06)
    assert result["steady"]["executions"] == 50
    assert result["steady"]["last"]["server_descriptors"] == result["steady"]["first"]["server_descriptors"]


def test_the_committed_result_of_the_sandbox_keeps_its_limits() -> None:
    result = orjson.loads((HERE / "sandbox.json").read_bytes())
    assert result["faults"] == []
    assert result["steady"]["executions"] == 20_000
    assert result["snippets"]["bare"]["overhead"] <= 1.3
    assert min(row["speedup"] for name, row in result["snippets"].items() if name != "bare") >= 10


def test_the_page_says_what_the_results_say() -> None:
    assert (HERE / "README.md").read_text(encoding="utf-8") == readme()


def test_the_committed_agreement_of_replay_keeps_its_limits_and_its_reasons() -> None:
    result = orjson.loads((HERE / "replay_agreement.json").read_bytes())
    shares = {
        name: (counts.get("match", 0) / counts["observations"], counts.get("mismatch", 0) / counts["observations"])
        for name, counts in result["genuine"].items()
    }
    assert shares["mint/dev"][1] <= 0.01
    assert shares["tora"][0] >= 0.99
    assert min(shares["mathcoder GSM8K"][0], shares["mathcoder simuleq"][0]) >= 0.97
    assert max(shares["mathcoder GSM8K"][1], shares["mathcoder simuleq"][1]) <= 0.005
    assert shares["bfcl multi_turn_base"][0] == 1
    invented = result["invented"]
    found, contradicted = found_share(invented["after"])
    assert found / contradicted >= 0.97
    assert flagged_share(invented["after"])[0] == 0
    excluded = [orjson.loads(line) for line in (HERE / "replay_labels.jsonl").read_bytes().splitlines()]
    assert len(excluded) == invented["excluded"] == invented["excluded_found"]
    assert len(excluded) <= 0.03 * invented["labelled"]
    assert all(each["why"] and each["right"] != each["label"] for each in excluded)


def test_agreement_counts_a_contradiction_that_was_missed_and_a_match_that_was_flagged() -> None:
    labels = pl.DataFrame(
        [("t", k, "trace", k, label) for k, label in enumerate(["contradicted", "contradicted_by_error", "match"])],
        schema=["trajectory_id", "step_index", "trace", "pair", "label"],
        orient="row",
    ).with_columns(pl.col("step_index", "pair").cast(pl.UInt32))
    replays = labels.select(
        "trajectory_id", "step_index", verdict=pl.Series(["match", "mismatch", "mismatch"]), detail=pl.lit("")
    )
    counts = invented_counts(labels, replays, [{"trace": "trace", "pair": 2}])
    assert (found_share(counts["before"]), flagged_share(counts["before"])) == ((1, 2), (1, 1))
    assert (found_share(counts["after"]), flagged_share(counts["after"])) == ((1, 2), (0, 0))

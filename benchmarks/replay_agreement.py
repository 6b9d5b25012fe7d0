"""How replay's verdicts agree with what is known of public traces, before and after reading the disagreements by hand.

Run: `python -m benchmarks.replay_agreement`; it reads ../shared/data, writes replay_agreement.json beside itself and
prints its tables. Labels found wrong by hand stand in replay_labels.jsonl, each with what is right and why.
"""

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from benchmarks.curation import machine
from benchmarks.mint_labels import labelled_claims
from pipeline.config import CurationConfig
from pipeline.curation.screened import write_screened
from pipeline.curation.trajectories import write_trajectories
from pipeline.landing.zone import land
from pipeline.replay.config import EnvironmentConfig, PythonSandbox, RegisteredClass, ReplayConfig
from pipeline.replay.plan import plans_of, steps_of
from pipeline.replay.pool import ReplayPool
from pipeline.replay.table import replays_frame
from pipeline.store import TableStore

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared" / "data"
DAY = "2025-01-01"
EXCLUDED = HERE / "replay_labels.jsonl"
SOURCES = {
    "mint/dev": ("mint/dev", None),
    "tora": ("tora/outputs", None),
    "mathcoder GSM8K": ("mathcoder/MathCoder-CL-34b/GSM8K", None),
    "mathcoder simuleq": ("mathcoder/MathCoder-CL-34b/simuleq", None),
    "bfcl multi_turn_base": ("bfcl/DERIVED_multi_turn_base_replay.jsonl", RegisteredClass(
        kind="registered", name="bfcl", tools=("*",), repeat="reset"
    )),
}  # fmt: skip
"""Name to the traces and, where it is not Python, the environment that takes their tools."""
_CONTRADICTED = ("contradicted", "contradicted_by_error")


def main() -> None:
    """Measure every source, print the tables, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "replay_agreement.json")
    parser.add_argument("--only", nargs="*", default=list(SOURCES), choices=list(SOURCES))
    chosen = parser.parse_args()
    result: dict[str, Any] = {"command": "python -m benchmarks.replay_agreement", "machine": machine(), "genuine": {}}
    for name in chosen.only:
        folder, environment = SOURCES[name]
        rows = screened_rows(SHARED / folder)
        replays = replayed(rows, environment)
        result["genuine"][name] = genuine_counts(replays)
        if name == "mint/dev":
            excluded = [orjson.loads(line) for line in EXCLUDED.read_bytes().splitlines()]
            result["invented"] = invented_counts(labelled_claims(rows), replays, excluded)
    chosen.out.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    print("\n".join(tables(result)))


def screened_rows(path: Path) -> pl.DataFrame:
    """The rows of the traces under `path` after screening, those that are traces."""
    with tempfile.TemporaryDirectory(prefix="toolwise-agreement-") as root:
        store = TableStore(Path(root))
        land([path], store.root / "raw", "shared", DAY)
        write_trajectories(store, DAY, CurationConfig())
        write_screened(store, DAY, CurationConfig())
        return store.scan("screened", DAY).filter(pl.col("messages").list.len() > 0).collect()


def replayed(rows: pl.DataFrame, environment: RegisteredClass | None) -> pl.DataFrame:
    """The verdicts of every call of the rows, whatever screening said of them."""
    taken: dict[str, EnvironmentConfig] = {"python": PythonSandbox()} if environment is None else {"own": environment}
    config = ReplayConfig(environments=taken)
    steps = steps_of(rows, config)
    with ReplayPool(config) as pool:
        return replays_frame(steps, pool.replay(plans_of(rows, steps)))


def genuine_counts(replays: pl.DataFrame) -> dict[str, int]:
    """Observations that an environment gave, by verdict; calls that nothing came back for are left out."""
    told = replays.filter(pl.col("origin") == "environment", pl.col("observation_index").is_not_null())
    counts = dict(told.group_by("verdict").len().sort("verdict").iter_rows())
    return {"observations": told.height, **counts}


def invented_counts(labels: pl.DataFrame, replays: pl.DataFrame, excluded: list[dict[str, Any]]) -> dict[str, Any]:
    """Labelled pairs by label and verdict, as labelled and without the labels that are wrong."""
    found = labels.join(
        replays.select("trajectory_id", "step_index", "verdict", "detail"),
        on=["trajectory_id", "step_index"],
        how="left",
        maintain_order="left",
    )
    wrong = pl.DataFrame(
        [(each["trace"], each["pair"]) for each in excluded],
        schema={"trace": pl.String, "pair": pl.UInt32},
        orient="row",
    )
    after = found.join(wrong, on=["trace", "pair"], how="anti", maintain_order="left")
    return {
        "labelled": found.height,
        "excluded": len(excluded),
        "excluded_found": found.height - after.height,
        "before": _by_label(found),
        "after": _by_label(after),
    }


def _by_label(pairs: pl.DataFrame) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    verdict = pl.col("verdict").cast(pl.String).fill_null("no such claim")
    for label, said, number in pairs.group_by("label", verdict).len().sort("label", "verdict").iter_rows():
        counts.setdefault(label, {})[said] = number
    return counts


def found_share(by_label: dict[str, dict[str, int]]) -> tuple[int, int]:
    """Pairs labelled contradicted that are a mismatch, and all of them."""
    held = [by_label.get(label, {}) for label in _CONTRADICTED]
    return sum(each.get("mismatch", 0) for each in held), sum(sum(each.values()) for each in held)


def flagged_share(by_label: dict[str, dict[str, int]]) -> tuple[int, int]:
    """Pairs labelled match that are a mismatch all the same, and all of them."""
    held = by_label.get("match", {})
    return held.get("mismatch", 0), sum(held.values())


def tables(result: dict[str, Any]) -> Iterable[str]:
    """The result as Markdown."""
    verdicts = ("match", "mismatch", "nondeterministic", "unexecutable", "unverified", "failed")
    yield "| observations an environment gave | all | " + " | ".join(verdicts) + " | match | false mismatch |"
    yield "|---|" + "---:|" * (len(verdicts) + 3)
    for name, counts in result["genuine"].items():
        total = counts["observations"] or 1
        cells = " | ".join(f"{counts.get(verdict, 0):,}" for verdict in verdicts)
        shares = f"{counts.get('match', 0) / total:.2%} | {counts.get('mismatch', 0) / total:.2%}"
        yield f"| {name} | {counts['observations']:,} | {cells} | {shares} |"
    if "invented" not in result:
        return
    invented = result["invented"]
    yield ""
    yield f"| invented in mint/dev, {invented['labelled']:,} labelled pairs | contradicted, found | match, flagged |"
    yield "|---|---:|---:|"
    for when, told in (("before", "as labelled"), ("after", f"without {invented['excluded']} wrong labels")):
        (found, contradicted), (flagged, matches) = found_share(invented[when]), flagged_share(invented[when])
        yield (
            f"| {told} | {found:,} of {contradicted:,} ({found / contradicted:.2%}) "
            f"| {flagged:,} of {matches:,} ({flagged / matches:.2%}) |"
        )


if __name__ == "__main__":
    main()

"""Which rows of a day repeat an earlier row, and the version of the index that answer rests on.

The rule is local: a row repeats the earliest row, by (day, trajectory_id), that it equals or resembles, whether or not
that row is itself a duplicate. So the answer for a day depends on the index of earlier days alone, and backfills in any
order end the same once every day whose `relevant_version` has changed is done again.
"""

from hashlib import blake2b

import numpy as np
import polars as pl

from pipeline.config import DuplicateGate
from pipeline.dedup.pairs import compare_in_rounds, similarity
from pipeline.dedup.signatures import INDEX, index_scheme

MATCHES: dict[str, pl.DataType | type[pl.DataType]] = {
    "trajectory_id": pl.String,
    "kind": pl.String,
    "of_day": pl.String,
    "of_id": pl.String,
    "similarity": pl.Float64,
}
"""One row per repeating trajectory: `kind` is duplicate or near_duplicate, `of_day` and `of_id` name the earliest row
it repeats, `similarity` is the estimated Jaccard similarity to it."""

_ORDER = ["day", "trajectory_id"]


def relevant_entries(rows: pl.DataFrame, earlier: pl.LazyFrame) -> pl.DataFrame:
    """The index rows of earlier days that can decide a row of this day, in order of day and trajectory_id.

    Of the copies of one text only the earliest (of each scheme) is among them: later ones never decide anything.

    Signatures are read only of rows that share an exact hash or a band with this day. What comes back may be given to
    `find_duplicates` and `relevant_version` in place of `earlier`, to scan the index once.

    Reads: the columns of INDEX, of both.
    """
    if rows.is_empty():
        return pl.DataFrame(schema=INDEX)
    earlier = earlier.filter(pl.col("day") < rows["day"].min())
    hashes = rows["exact_hash"].drop_nulls().unique().implode()
    keys = rows["bands"].explode(empty_as_null=False).unique().implode()
    # A semi-join on the exploded bands finds the same rows at four times the memory.
    shares_band = pl.col("bands").list.eval(pl.element().is_in(keys)).list.any()
    hits = earlier.filter(pl.col("exact_hash").is_in(hashes) | (pl.col("exact_hash").is_not_null() & shares_band))
    wanted = hits.select(*_ORDER, "exact_hash", "scheme").collect(engine="streaming").sort(_ORDER)
    wanted = wanted.unique(["exact_hash", "scheme"], keep="first").select(_ORDER)
    found = earlier.select(*INDEX).join(wanted.lazy(), on=_ORDER, how="semi").collect(engine="streaming")
    return found.sort(_ORDER)


def find_duplicates(rows: pl.DataFrame, earlier: pl.LazyFrame, gate: DuplicateGate) -> pl.DataFrame:
    """The rows of this day that repeat an earlier row of any day, with the earliest they repeat.

    A row equal to an earlier one (after folding case and white space) is a `duplicate`; else a row that shares a band
    with an earlier one and has an estimated similarity of `gate.threshold` or more is a `near_duplicate`.

    Grain: one row per repeating trajectory, in order of trajectory_id.
    Reads: the columns of INDEX; `rows` all of one day, `earlier` of any days (later ones are ignored).
    Writes: the columns of MATCHES.
    """
    if rows.is_empty():
        return pl.DataFrame(schema=MATCHES)
    known = pl.concat([relevant_entries(rows, earlier), rows.select(*INDEX)])
    known = known.filter(pl.col("exact_hash").is_not_null()).sort(_ORDER).with_row_index("rank")
    known = known.with_columns(first=pl.col("rank").min().over("exact_hash"))
    is_today = pl.col("day") == rows["day"].min()
    exact = known.filter(is_today, pl.col("first") < pl.col("rank"))
    exact = exact.select("rank", of="first", kind=pl.lit("duplicate"), similarity=pl.lit(1.0))
    near = _near_matches(known, is_today & (pl.col("first") == pl.col("rank")), gate)
    named = known.select("trajectory_id", "rank", of_day="day", of_id="trajectory_id")
    return (
        pl.concat([exact, near])
        .join(named.select("rank", "trajectory_id"), on="rank")
        .join(named.select("of_day", "of_id", of="rank"), on="of")
        .sort("trajectory_id")
        .select(*MATCHES)
    )


def relevant_version(rows: pl.DataFrame, earlier: pl.LazyFrame) -> str:
    """Sixteen hex digits that change when, and only when, an earlier row that could decide a row of this day does.

    Rows of other days that share neither an exact hash nor a band with this day, and later copies of a row already
    there, leave it as it is.
    """
    digest = blake2b(digest_size=8)
    entries = relevant_entries(rows, earlier)
    for row in entries.select(*_ORDER, "scheme", "exact_hash", "signature").iter_rows():
        digest.update(repr(row).encode())
    return digest.hexdigest()


def outdated_days(earlier: pl.LazyFrame, scheme: str) -> list[str]:
    """Days whose index was made by another scheme: their near duplicates are not found until they are indexed again."""
    days = earlier.filter(pl.col("scheme") != scheme).select(pl.col("day").unique().sort())
    return days.collect(engine="streaming")["day"].to_list()


def _near_matches(known: pl.DataFrame, is_asked: pl.Expr, gate: DuplicateGate) -> pl.DataFrame:
    """For each row asked for that resembles an earlier row: rank, of (the rank of the earliest), kind, similarity.

    Rows of one signature are one node, numbered by its earliest row; a row's match is then the earliest among its node
    and the nodes its node resembles, unless that is the row itself.
    """
    schema = {"rank": pl.UInt32, "of": pl.UInt32, "kind": pl.String, "similarity": pl.Float64}
    signed = known.filter(pl.col("signature").is_not_null() & (pl.col("scheme") == index_scheme(gate)))
    signed = signed.with_columns(head=pl.col("rank").min().over("signature"))
    signed = signed.with_columns(node=(pl.col("head").rank("dense") - 1).cast(pl.UInt32))
    asked = signed.filter(is_asked).select("node").unique()
    if asked.is_empty():
        return pl.DataFrame(schema=schema)
    nodes = signed.filter(pl.col("rank") == pl.col("head")).sort("node")
    matrix = np.frombuffer(b"".join(nodes["signature"].to_list()), dtype="<u4").reshape(nodes.height, -1)
    members = nodes.select("node", key="bands").explode("key", empty_as_null=False)
    best = np.arange(nodes.height, dtype=np.uint32)

    def is_open(node: np.ndarray, other: np.ndarray) -> np.ndarray:
        return other < best[node]

    def compare(node: np.ndarray, other: np.ndarray) -> None:
        alike = similarity(matrix, node, other) >= gate.threshold
        np.minimum.at(best, node[alike], other[alike])

    compare_in_rounds(members, members.join(asked, on="node", how="semi"), is_open, compare, earliest_only=True)
    found = pl.DataFrame({"node": np.arange(nodes.height, dtype=np.uint32), "of_node": best})
    found = found.with_columns(
        of=nodes["rank"].gather(best), similarity=similarity(matrix, np.arange(nodes.height), best)
    )
    return (
        signed.filter(is_asked)
        .join(found, on="node")
        .filter(pl.col("of") < pl.col("rank"))
        .select("rank", "of", kind=pl.lit("near_duplicate"), similarity="similarity")
    )

"""What a policy does with its tools, in numbers: training and evaluation both take them from here.

tool_call_rate          share of rollouts with a tool call
redundant_call_rate     the same on tool-free solvable tasks: the headline
necessary_call_recall   the same on tool-needing tasks
accuracy                share of right rollouts; tool_free_accuracy and tool_needing_accuracy on those tasks alone
graded_rate             share of rollouts of which it is known whether they are right
*_per_correct           tool calls, generated tokens, wall seconds and money spent, on right and wrong rollouts, by the
                        number of right ones

A rollout that its policy's server broke off is in none of them; one that ran out of turns, tokens or time without a
grade is wrong; any other without a grade counts only for its calls.
"""

import math
from collections.abc import Iterator
from math import comb

import numpy as np
import polars as pl
from pydantic import Field
from scipy.special import ndtri, stdtrit

from pipeline.rollouts.necessity import CONFIDENCE, wilson_interval
from pipeline.strict import StrictModel

METRICS: dict[str, pl.DataType | type[pl.DataType]] = {
    "metric": pl.String,
    "kind": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "num_rollouts": pl.UInt32,
    "num_tasks": pl.UInt32,
}
"""One row per metric and kind of task, kind `all` first: every task, of a kind or none. `low` and `high` bound the 95%
interval; `high` null: without bound. `value` null: no rollout speaks for it."""

ALL = "all"

LEAST_ATTEMPTS = 8
"""Attempts without tools under which a task is in neither set."""
CLEARLY = 0.05
"""Chance, at most, of so many more right rollouts with tools if tools made no difference."""

_GAVE_UP = ("turns", "tokens", "time")
_Interval = tuple[float | None, float | None, float | None]


class Prices(StrictModel):
    """What a rollout costs, in one unit of money."""

    tool_call: float = Field(default=0.0, ge=0)
    """A call of a tool that `tools` does not name."""
    tools: dict[str, float] = Field(default_factory=dict)
    """A call, by name of the tool."""
    new_token: float = Field(default=0.0, ge=0)
    """A generated token."""
    wall_s: float = Field(default=0.0, ge=0)
    """A second."""


def classify_tasks(attempts: pl.DataFrame, rollouts: pl.DataFrame) -> pl.DataFrame:
    """Which tasks the starting policy solves without tools, and which it needs them for; the rest is in neither set.

    Tool-free solvable: at least 7 of 8 attempts without tools are right. Tool-needing: at most 1 of 8 is, and it is
    clearly more often right with tools: Fisher's exact test, one-sided, of no difference against more right ones, at
    CLEARLY. What was answered and could not be graded counts as neither right nor wrong, against both; under
    LEAST_ATTEMPTS answers a task is in neither. Both frames have to be kept apart from what is then evaluated.

    Grain: one row per task of `attempts`, in order of task_id.
    Reads: attempts as ATTEMPTS; rollouts: task_id, is_correct, end as ROLLOUTS has them, with tools.
    Writes: task_id; num_direct (answered), num_direct_correct, num_aided (known to be right or wrong),
        num_aided_correct; is_tool_free, true for the first set, false for the second, null for the rest.
    """
    answered = pl.col("failure").is_null()
    unaided = attempts.group_by("task_id").agg(
        num_direct=answered.sum(),
        num_direct_correct=(answered & pl.col("is_correct")).sum(),
        _wrong=(answered & ~pl.col("is_correct")).sum(),
    )
    aided = (
        _known(rollouts)
        .group_by("task_id")
        .agg(num_aided=pl.col("right").count(), num_aided_correct=pl.col("right").sum())
    )
    counts = ("num_direct", "num_direct_correct", "num_aided", "num_aided_correct")
    tasks = unaided.join(aided, on="task_id", how="left").with_columns(pl.col(counts[2:]).fill_null(0)).sort("task_id")
    chances = [more_often_by_chance(*row) for row in tasks.select(counts).iter_rows()]
    many = pl.col("num_direct") >= LEAST_ATTEMPTS
    is_free = many & (8 * pl.col("num_direct_correct") >= 7 * pl.col("num_direct"))
    is_needing = (
        many & (8 * pl.col("_wrong") >= 7 * pl.col("num_direct")) & (pl.Series(chances, dtype=pl.Float64) <= CLEARLY)
    )
    return tasks.select(
        "task_id",
        *(pl.col(name).cast(pl.UInt32) for name in counts),
        is_tool_free=pl.when(is_free).then(pl.lit(value=True)).when(is_needing).then(pl.lit(value=False)),
    )


def more_often_by_chance(num_direct: int, num_direct_correct: int, num_aided: int, num_aided_correct: int) -> float:
    """The chance of at least so many right ones among those with tools, were tools no help; both margins given.

    Source: Fisher's exact test, one-sided: a hypergeometric tail.
    """
    right = num_direct_correct + num_aided_correct
    tail = sum(
        comb(num_aided, j) * comb(num_direct, right - j) for j in range(num_aided_correct, min(num_aided, right) + 1)
    )
    return tail / comb(num_direct + num_aided, right)


class Metrics:
    """The metrics of one policy as a table."""

    @staticmethod
    def of(rollouts: pl.DataFrame, tasks: pl.DataFrame, prices: Prices | None = None) -> pl.DataFrame:
        """METRICS, over all tasks and by kind; money only where there are prices.

        Rollouts of one task are alike, so intervals are made of tasks. A rate has Wilson's interval; where tasks have
        several rollouts, with the sample that would say as much were every rollout of another task: its size by the
        design effect, at least 1 (Franco et al. 2019, doi:10.1093/jssam/smy019), and by (t/z) squared for the few tasks
        that was estimated from; where all rollouts agree, as many as there are tasks. What is spent for a right answer
        is a ratio of two means over tasks and has Fieller's interval (1954). Nothing is drawn at random.

        Reads: rollouts: task_id, num_tool_calls, is_correct, end, num_new_tokens, wall_s as ROLLOUTS has them, and
            messages where a price goes by the name of a tool; tasks: task_id, unique, kind String, is_tool_free
            Boolean: the truth, or what `classify_tasks` finds. A rollout of a task that is not among them counts for
            all tasks together.
        """
        if ALL in tasks["kind"]:
            raise ValueError(f"kind: {ALL!r} names all tasks together; call this kind another name")
        known = tasks.select("task_id", "kind", "is_tool_free")
        told = _known(rollouts).join(known, on="task_id", how="left", validate="m:1", maintain_order="left")
        told = told.with_columns(
            called=pl.col("num_tool_calls") > 0,
            is_graded=pl.col("right").is_not_null(),
            tool_calls=pl.col("num_tool_calls").cast(pl.Float64),
            new_tokens=pl.col("num_new_tokens").cast(pl.Float64),
            money=pl.lit(None, pl.Float64) if prices is None else _money(prices),
        )
        rows = list(_rows(told, ALL))
        for kind in told["kind"].drop_nulls().unique().sort():
            rows += _rows(told.filter(pl.col("kind") == kind), kind)
        return pl.DataFrame(rows, schema=METRICS, orient="row")


def _rows(told: pl.DataFrame, kind: str) -> Iterator[tuple[str | float | None, ...]]:
    """The metrics of some rollouts."""
    free = told.filter("is_tool_free")
    needing = told.filter(~pl.col("is_tool_free"))
    shares = [
        ("accuracy", told, "right"),
        ("tool_free_accuracy", free, "right"),
        ("tool_needing_accuracy", needing, "right"),
        ("graded_rate", told, "is_graded"),
        ("tool_call_rate", told, "called"),
        ("redundant_call_rate", free, "called"),
        ("necessary_call_recall", needing, "called"),
    ]
    for name, some, column in shares:
        held, by_task = _by_task(some.drop_nulls(column), column)
        yield name, kind, *share_interval(*by_task), held, len(by_task[0])
    for column in ("tool_calls", "new_tokens", "wall_s", "money"):
        held, by_task = _by_task(told.drop_nulls(["right", column]), column, "right")
        yield f"{column}_per_correct", kind, *ratio_interval(*by_task), held, len(by_task[0])


def _by_task(some: pl.DataFrame, column: str, beside: str | None = None) -> tuple[int, tuple[np.ndarray, np.ndarray]]:
    """How many rollouts there are; per task the sum of the column, and the sum of another one or the rollouts."""
    other = pl.len() if beside is None else pl.col(beside).sum()
    sums = some.group_by("task_id").agg(pl.col(column).sum(), other.alias("_other")).sort("task_id")
    return some.height, (sums[column].cast(pl.Float64).to_numpy(), sums["_other"].cast(pl.Float64).to_numpy())


def share_interval(right: np.ndarray, count: np.ndarray) -> _Interval:
    """A share over tasks with its interval: float64 [N] per task, those that count and all of them."""
    num, total, tasks = float(count.sum()), float(right.sum()), len(count)
    if not num:
        return None, None, None
    share = total / num
    if num == tasks:  # one rollout a task: they are independent
        return share, *wilson_interval(total, num)
    if tasks == 1:
        return share, 0.0, 1.0
    if share in (0.0, 1.0):
        return share, *wilson_interval(share * tasks, tasks)
    variance = tasks / (tasks - 1) * float(((right - share * count) ** 2).sum()) / num**2
    effect = max(1.0, variance * num / (share * (1 - share)))
    shrunk = (float(ndtri(0.5 + CONFIDENCE / 2)) / _t(tasks)) ** 2
    size = max(1.0, num / effect * shrunk)
    return share, *wilson_interval(share * size, size)


def ratio_interval(spent: np.ndarray, right: np.ndarray) -> _Interval:
    """What is spent for a right answer with its interval: float64 [N] per task, spent and right."""
    tasks = len(spent)
    if not tasks or not right.sum():
        return None, None, None
    mean, mean_right = float(spent.mean()), float(right.mean())
    ratio = mean / mean_right
    if tasks == 1:
        return ratio, 0.0, None
    (var, cov), (_, var_right) = (np.cov(spent, right) / tasks).tolist()
    t2 = _t(tasks) ** 2
    # Fieller: every ratio r for which mean - r * mean_right is within t standard errors of 0
    a, b, c = mean_right**2 - t2 * var_right, mean * mean_right - t2 * cov, mean**2 - t2 * var
    if a <= 0:  # there may be as good as no right answer
        return ratio, 0.0, None
    root = math.sqrt(max(0.0, b * b - a * c))
    return ratio, max(0.0, (b - root) / a), (b + root) / a


def _t(tasks: int) -> float:
    return float(stdtrit(tasks - 1, 0.5 + CONFIDENCE / 2))


def _known(rollouts: pl.DataFrame) -> pl.DataFrame:
    """Rollouts that the policy's server did not break off, with `right`: null where nobody can say."""
    gave_up = pl.col("end").cast(pl.String).is_in(_GAVE_UP)
    right = pl.when(pl.col("is_correct").is_null() & gave_up).then(pl.lit(value=False)).otherwise("is_correct")
    return rollouts.filter(pl.col("end").cast(pl.String) != "policy").with_columns(right=right)


def _money(prices: Prices) -> pl.Expr:
    """What each rollout costs."""
    base = prices.new_token * pl.col("num_new_tokens") + prices.wall_s * pl.col("wall_s")
    if not prices.tools:
        return base + prices.tool_call * pl.col("num_tool_calls")
    names = pl.element().struct.field("tool_calls").explode().struct.field("name").drop_nulls()
    called = pl.col("messages").list.eval(names)
    price = pl.element().replace_strict(prices.tools, default=prices.tool_call, return_dtype=pl.Float64)
    return base + called.list.eval(price).list.sum()

"""The texts of each trajectory side by side, and what its calls and observations have to do with each other."""

import polars as pl

from pipeline.judging.text_marks import (
    FAILED,
    NOTHING,
    clipped,
    has,
    length_words,
    names,
    numbers,
    plain_arguments,
    ratio,
    words,
)
from pipeline.stages.steps import explode_messages, explode_steps, has_text

ROW = "row"
"""Names a trajectory within the frame: ids of several days may repeat."""
_ALL_CHARS = 16_000
"""Of all observations, or all arguments, of one trajectory together."""
_NOTHING_SEEN = 1.0
_NEAREST = 1e-6


def feature_table(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per trajectory, in order: its texts, their tokens, and what is known of its calls.

    Reads: REPLAYED: trajectory_id, prompt, messages, tools, final_answer, repaired.
    """
    indexed = rows.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW))
    messages = explode_messages(indexed, ROW).with_columns(content=clipped(pl.col("content")))
    steps = explode_steps(indexed, ROW)[0].with_columns(plain=plain_arguments(pl.col("arguments")))
    table = _texts(indexed, messages, steps)
    uttered = _uttered(messages, steps)
    told = _told(table, messages)
    for part in (_calls(steps), _unseen(steps, told), _used(table, messages, uttered), _gaps(table)):
        table = table.join(part, on=ROW, how="left", maintain_order="left")
    return table


def tokens(text: pl.Expr) -> pl.Expr:
    """Numbers of two characters or more and words: what can be recognised elsewhere by more than chance."""
    long = numbers(text).list.eval(pl.element().filter(pl.element().str.len_bytes() > 1))
    return pl.concat_list(long, words(text)).list.unique()


def _texts(rows: pl.DataFrame, messages: pl.DataFrame, steps: pl.DataFrame) -> pl.DataFrame:
    """Task, thoughts, arguments, observations, reply and answer, and the tokens of each."""
    assistant = messages.filter(pl.col("role") == "assistant")
    spoken = assistant.filter(has_text(pl.col("content")))
    reply = spoken.group_by(ROW).agg(reply=pl.col("content").last(), reply_index=pl.col("message_index").last())
    before = pl.when(pl.col("message_index") == pl.col("reply_index")).then(pl.lit("")).otherwise("content")
    thought = pl.concat_str(clipped(pl.col("reasoning")), before, separator=" ")
    thoughts = (
        assistant.join(reply.select(ROW, "reply_index"), on=ROW, how="left", maintain_order="left")
        .group_by(ROW)
        .agg(thought=thought.str.join("\n"), first=thought.first(), turns=pl.len())
    )
    observations = messages.filter(pl.col("role") == "tool").group_by(ROW)
    parts = (
        reply,
        thoughts,
        messages.filter(pl.col("role") == "user").group_by(ROW).agg(asked=pl.col("content").first()),
        messages.group_by(ROW).agg(last_index=pl.col("message_index").last(), images=pl.col("images").list.len().sum()),
        observations.agg(observed=pl.col("content").str.join("\n"), last_observed=pl.col("content").last()),
        steps.group_by(ROW).agg(arguments=pl.col("plain").str.join("\n"), first_arguments=pl.col("plain").first()),
    )
    table = rows.select(ROW, "trajectory_id", "prompt", "tools", "repaired", final="final_answer")
    for part in parts:
        table = table.join(part, on=ROW, how="left", maintain_order="left")
    final = clipped(pl.col("final")).str.strip_chars()
    table = table.with_columns(
        *(pl.col(name).fill_null("") for name in ("reply", "last_observed", "first_arguments")),
        *(clipped(pl.col(name), _ALL_CHARS) for name in ("observed", "arguments", "thought")),
        task=clipped(pl.coalesce("prompt", "asked")),
        first=clipped(pl.col("first")),
        final=final,
    ).with_columns(claim=pl.when(pl.col("final") == "").then("reply").otherwise("final"))
    return table.with_columns(
        *(_numbers_of(name) for name in ("task", "reply", "claim", "observed", "last_observed", "arguments")),
        *(
            _words_of(name)
            for name in ("task", "reply", "observed", "arguments", "thought", "first", "first_arguments")
        ),
        *(names(pl.col(name)).alias(f"{name}_names") for name in ("task", "reply")),
        *(length_words(pl.col(name)).alias(f"{name}_length") for name in ("reply", "thought")),
    )


def _numbers_of(name: str) -> pl.Expr:
    return numbers(pl.col(name)).alias(f"{name}_numbers")


def _words_of(name: str) -> pl.Expr:
    return words(pl.col(name)).alias(f"{name}_words")


def _calls(steps: pl.DataFrame) -> pl.DataFrame:
    """Per trajectory: calls, tools, and the shares of calls that failed, told nothing, stand alone or come again."""
    call = (ROW, "tool_name", "arguments")
    answered = pl.col("observation_index").is_not_null()
    seen = clipped(pl.col("observation"))
    return (
        steps.with_columns(
            failed=has(seen, FAILED), empty=has(seen, NOTHING), again=pl.struct(call).is_first_distinct().not_()
        )
        .group_by(ROW)
        .agg(
            num_calls=pl.len(),
            num_tools=pl.col("tool_name").n_unique(),
            num_answered=answered.sum(),
            share_failed=pl.col("failed").filter(answered).mean(),
            share_empty=pl.col("empty").filter(answered).mean(),
            share_unanswered=answered.not_().mean(),
            share_repeated=pl.col("again").mean(),
        )
    )


def _told(table: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """Tokens the agent was told, by task, user or tool, and where first: row, token, told_index.

    The first user message counts by the task in it: demonstrations around it are no information about this task.
    """
    task = table.select(ROW, told_index=pl.lit(0, pl.UInt32), token=tokens(pl.col("task")))
    first = (pl.col("role") == "user").cum_sum().over(ROW) > 1
    others = messages.filter((pl.col("role") == "tool") | ((pl.col("role") == "user") & first))
    later = others.select(ROW, told_index=pl.col("message_index"), token=tokens(pl.col("content")))
    held = pl.concat([task, later]).explode("token").filter(pl.col("token").is_not_null())
    return held.group_by(ROW, "token").agg(pl.col("told_index").min())


def _unseen(steps: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Per trajectory: mean and largest share of a call's tokens that nobody had told before it."""
    asked = steps.select(ROW, "message_index", "call_index", token=tokens(pl.col("plain"))).explode("token")
    known = asked.filter(pl.col("token").is_not_null()).join(told, on=[ROW, "token"], how="left")
    new = pl.col("told_index").is_null() | (pl.col("told_index") >= pl.col("message_index"))
    by_call = known.group_by(ROW, "message_index", "call_index").agg(share=new.mean())
    # the mean of a group may round by the order of its rows, which a hash join does not promise
    return by_call.group_by(ROW).agg(arguments_unseen=pl.col("share").sort().mean(), call_unseen=pl.col("share").max())


def _uttered(messages: pl.DataFrame, steps: pl.DataFrame) -> pl.DataFrame:
    """Tokens the assistant said or put into arguments, and where last: row, token, said_index."""
    said = messages.filter(pl.col("role") == "assistant").select(
        ROW,
        said_index="message_index",
        token=tokens(pl.concat_str("content", clipped(pl.col("reasoning")), separator=" ")),
    )
    put = steps.select(ROW, said_index="message_index", token=tokens(pl.col("plain")))
    held = pl.concat([said, put]).explode("token").filter(pl.col("token").is_not_null())
    return held.group_by(ROW, "token").agg(pl.col("said_index").max())


def _used(table: pl.DataFrame, messages: pl.DataFrame, uttered: pl.DataFrame) -> pl.DataFrame:
    """Per trajectory: share of observations whose news came up later, and whether the last one's did.

    News are tokens that do not stand in the task; observations without any are left out.
    """
    observed = messages.filter(pl.col("role") == "tool").join(
        table.select(ROW, task_tokens=tokens(pl.col("task"))), on=ROW, how="left", maintain_order="left"
    )
    news = tokens(pl.col("content")).list.set_difference("task_tokens")
    told = observed.select(ROW, "message_index", token=news).explode("token").filter(pl.col("token").is_not_null())
    used = told.join(uttered, on=[ROW, "token"], how="left")
    later = (pl.col("said_index") > pl.col("message_index")).fill_null(value=False)
    by_observation = used.group_by(ROW, "message_index").agg(used=later.any().cast(pl.Float64))
    return (
        by_observation.sort(ROW, "message_index")
        .group_by(ROW)
        .agg(observations_used=pl.col("used").mean(), last_used=pl.col("used").last())
    )


def _gaps(table: pl.DataFrame) -> pl.DataFrame:
    """Per trajectory: log10 of the relative distance from the answer's last number to the nearest one observed."""
    answer, seen = (pl.col(name).cast(pl.Float64, strict=False) for name in ("claimed", "observed_numbers"))
    gap = ((answer - seen).abs() / pl.max_horizontal(answer.abs(), seen.abs(), pl.lit(_NEAREST))).fill_nan(None)
    return (
        table.select(ROW, "observed_numbers", claimed=pl.col("claim_numbers").list.last())
        .explode("observed_numbers")
        .group_by(ROW)
        .agg(answer_gap=gap.min().clip(lower_bound=_NEAREST).log10().fill_null(_NOTHING_SEEN))
    )


def share_in(wanted: pl.Expr, held: pl.Expr, *, empty: float) -> pl.Expr:
    """Share of the different tokens wanted that are held, `empty` where none is wanted."""
    different = wanted.list.unique()
    return ratio(different.list.set_intersection(held).list.len(), different.list.len(), empty=empty)

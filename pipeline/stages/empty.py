"""The gate on trajectories that hold no attempt at anything."""

import polars as pl

from pipeline.frames import mark
from pipeline.reasons import Reason
from pipeline.stages.steps import has_text


def mark_empty(trajectories: pl.LazyFrame) -> pl.LazyFrame:
    """Mark trajectories without messages, without a prompt, or without a reply.

    A prompt is a user or system message with text or an image; a reply is an assistant message with text or a tool
    call (reasoning alone is none). Null messages are no messages, so nothing is unknown here.

    Grain: one row per trajectory, kept, in order.
    Reads: messages List[MESSAGE]; reason, evidence.
    Writes: reason `empty`; evidence: missing (messages, prompt or reply), num_messages.
    """
    role, content = _field("role"), _field("content")
    is_prompt = role.is_in(["user", "system"]) & (has_text(content) | _is_filled("images"))
    is_reply = (role == "assistant") & (has_text(content) | _is_filled("tool_calls"))
    messages = pl.col("messages")
    missing = (
        pl.when(messages.list.len().fill_null(0) == 0)
        .then(pl.lit("messages"))
        .when(~messages.list.eval(is_prompt).list.any())
        .then(pl.lit("prompt"))
        .when(~messages.list.eval(is_reply).list.any())
        .then(pl.lit("reply"))
    )
    evidence = pl.struct(missing=missing, num_messages=messages.list.len().fill_null(0))
    return mark(trajectories, missing.is_not_null(), Reason.EMPTY, evidence=evidence)


def _field(name: str) -> pl.Expr:
    """A field of the message under `list.eval`."""
    return pl.element().struct.field(name)


def _is_filled(name: str) -> pl.Expr:
    """Whether a list field of the message holds anything; False where it is null."""
    return _field(name).list.len().fill_null(0) > 0

"""The gate on trajectories that stop in the middle."""

import json
from typing import Any

import orjson
import polars as pl

from pipeline.reasons import Reason
from pipeline.stages.faults import ROW, mark_faults
from pipeline.stages.steps import explode_calls, explode_messages, has_text, is_terminal, pair_observations

STOP_KEYS = ("finish_reason", "finish_reasons", "stop_reason", "stop_reason_final", "exit_status", "termination_reason")
"""Where a source says why it stopped, at the top of its metadata or one object down."""

CUT_SHORT = (
    r"(?i)^(length|max_?(output_?|new_?)?tokens|max_?length|model_length|max_?(steps|turns|iterations|rounds)(_reached)?"
    r"|context_?(window|length)?_?exceeded|limits?_?exceeded|incomplete|.*\bexit_(cost|context|format|error|early)\b.*|early_exit)$"
)
"""Values of those keys that mean: a limit ended it, not the agent."""

_CUT_SHORT_ANYWHERE = r"(?i)length|max_?|exceeded|incomplete|exit_|early_exit"
_HAS_STOP_KEY = '"(' + "|".join(STOP_KEYS) + ')"'

STOP_TOKEN = r"(?i)###\s*(stop|transfer|out-of-scope)\s*###|^\s*(terminate|/exit|exit|quit)\s*$"
"""What a user simulator or a chat's user says to end the dialogue."""

_CLOSERS = (
    r"thanks?|thank you|thx|bye|goodbye|cheers|ok(?:ay)?|great|perfect|awesome|cool|wonderful|excellent|nice|alright"
    r"|sounds good|got it|no|nope|you too|that(?:['\u2019]s| is| was| will be) (?:all|it|great|perfect)"
    r"|nothing else|good (?:night|day|bye)|i appreciate it"
)
_FILLERS = (
    r"so|very|much|a|an|lot|for|your|the|you|all|help(?:ful|ing)?|assistance|time|that|this|it|is|was|are|have|good|day"
    r"|evening|night|one|again|really|appreciate|everything|and|to|of|my|i|needed|need|now|today|then|with|me|too|in"
    r"|advance|information|update|well|take|care"
)
CLOSING = rf"(?i)^\W*(?:{_CLOSERS})(?:\W+(?:{_CLOSERS}|{_FILLERS}))*[^?\w]*$"
"""A user's last word that asks for nothing."""

_TAGS = "solution|answer|search|think|thought|tool_call|function_call"
_BLOCK_TAGS = "execute|tool_code|function_calls|code|python"
_BAR_TAGS = "query|documents"
LAST_OPENED = (
    rf"(?s)^.*(?:<(?P<tag>{_TAGS})>|(?m:^)[ \t]*<(?P<block>{_BLOCK_TAGS})>|<\|begin_of_(?P<bar>{_BAR_TAGS})\|>)"
    r"(?P<rest>.*)$"
)
"""The last tag of a text protocol that a text opens, and what follows it. Code stands in a block of its own, so that
`in the <execute> environment` opens nothing."""

CLOSED = rf"</(?:{_TAGS}|{_BLOCK_TAGS})>|<\|end_of_(?:{_BAR_TAGS})\|>"
"""A closing tag; one after the last opened tag, of whatever name, shows that the text went on to its end."""


def mark_truncated(trajectories: pl.LazyFrame) -> pl.LazyFrame:
    """Mark trajectories that end before the agent was done.

    Evidence of an end in the middle, the first that holds:
    - stop_reason: the source's own metadata says a limit ended it (`STOP_KEYS`, `CUT_SHORT`);
    - cut_arguments: the JSON arguments of a call in the last message stop before they are closed;
    - open_fence, open_tag: the last message is the assistant's and leaves a code fence, or the last protocol
      tag it opened, open;
    - after_observation: the last message answers a call that is not terminal;
    - after_user: the last message is the user's and asks for something.

    A trailing user message is no truncation where it closes the dialogue (`STOP_TOKEN`, `CLOSING`) or where the source
    recorded an outcome: then it is the environment's verdict. Where the source recorded a success (or, without
    one, a reward of 1), an observation at
    the end and an open fence or tag are none: the environment took what stands there. A text that stops in the middle
    of a word is no evidence. A last call without an observation is for `mark_unpaired_call`. Null messages, metadata
    and outcomes count as absent: nothing is unknown here.

    Grain: one row per trajectory, kept, in order.
    Reads: messages List[MESSAGE]; metadata String; success Boolean; reward Float64; reason, evidence.
    Writes: reason `truncated`; evidence: sign (see above), detail, message_index of the last message.
    """
    return mark_faults(
        trajectories,
        _find,
        reads=["messages", "metadata", "success", "reward"],
        evidence={"sign": pl.String, "detail": pl.String, "message_index": pl.UInt32},
        reason=Reason.TRUNCATED,
    )


def _find(rows: pl.DataFrame) -> pl.DataFrame:
    """The sign of truncation of each row that has one."""
    messages = explode_messages(rows, ROW)
    last = messages.unique(ROW, keep="last", maintain_order=True)
    signs = pl.concat(
        [
            _stopped_by_limit(rows),
            _cut_arguments(last),
            _left_open(rows, last),
            _after_observation(rows, messages, last),
            _after_user(rows, last),
        ]
    )
    first = signs.unique(ROW, keep="first", maintain_order=True)
    places = last.select(ROW, "message_index")
    return first.join(places, on=ROW, how="left", maintain_order="left").with_columns(failed=pl.lit(value=True))


def _sign(faults: pl.DataFrame, sign: str | pl.Expr, detail: str | None = None) -> pl.DataFrame:
    """The rows of `faults` in the shape all signs share."""
    told = pl.lit(sign) if isinstance(sign, str) else sign
    return faults.select(
        ROW, told.alias("sign"), (pl.col(detail) if detail else pl.lit(None, pl.String)).alias("detail")
    )


def _stopped_by_limit(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose metadata names a limit as what ended them. JSON is parsed only where a key and a value may be."""
    metadata = pl.col("metadata")
    suspects = rows.select(ROW, "metadata").filter(
        metadata.str.contains(_HAS_STOP_KEY), metadata.str.contains(_CUT_SHORT_ANYWHERE)
    )
    told = pl.Series("detail", [_stop_reason(text) for text in suspects["metadata"].to_list()], pl.String)
    stopped = suspects.select(ROW, told).filter(pl.col("detail").str.contains(CUT_SHORT))
    return _sign(stopped, "stop_reason", "detail")


def _stop_reason(metadata: str) -> str | None:
    """What the metadata gives as its reason to stop: of a list the last."""
    try:
        held = orjson.loads(metadata)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(held, dict):
        return None
    for level in (held, *(value for value in held.values() if isinstance(value, dict))):
        for key in STOP_KEYS:
            value: Any = level.get(key)
            if isinstance(value, list) and value:
                value = value[-1]
            if isinstance(value, str) and value:
                return value
    return None


def _cut_arguments(last: pl.DataFrame) -> pl.DataFrame:
    """Rows whose last message makes a call with JSON arguments that stop too early."""
    calls = explode_calls(last, ROW).filter(pl.col("arguments").str.contains(r"^\s*[\[{]"))
    is_cut = pl.Series("is_cut", [_is_cut(text) for text in calls["arguments"].to_list()], pl.Boolean)
    return _sign(calls.filter(is_cut).with_columns(tail=pl.col("arguments").str.tail(80)), "cut_arguments", "tail")


def _is_cut(text: str) -> bool:
    """Whether a JSON text is fine until it ends too early. orjson goes first, as most are whole."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return _ends_early(text)
    return False


def _ends_early(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    except RecursionError:
        return False
    return False


def _left_open(rows: pl.DataFrame, last: pl.DataFrame) -> pl.DataFrame:
    """Rows whose last message is the assistant's and leaves a fence or a tag open, without a recorded success."""
    spoken = (
        last.filter(pl.col("role") == "assistant", has_text(pl.col("content")))
        .select(ROW, text="content")
        .join(_without_success(rows), on=ROW, how="semi", maintain_order="left")
    )
    fences = pl.col("text").str.count_matches(r"(?m)^[ \t]*```")
    open_fence = _sign(spoken.filter(fences % 2 == 1), "open_fence")
    tagged = spoken.filter(pl.col("text").str.contains("<", literal=True)).select(
        ROW, opened=pl.col("text").str.extract_groups(LAST_OPENED)
    )
    open_tag = (
        tagged.unnest("opened")
        .filter(~pl.col("rest").str.contains(CLOSED))
        .with_columns(tag=pl.coalesce("tag", "block", "bar"))
    )
    return pl.concat([open_fence, _sign(open_tag, "open_tag", "tag")])


def _without_success(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows whose source did not record that the agent got there: by `success`, where that is null by `reward`."""
    return rows.filter(~pl.coalesce("success", pl.col("reward") >= 1.0, pl.lit(value=False))).select(ROW)


def _after_observation(rows: pl.DataFrame, messages: pl.DataFrame, last: pl.DataFrame) -> pl.DataFrame:
    """Rows that end on the answer to a call which is not terminal, without a recorded success.

    An orphan at the end is for `mark_orphan_observation`: without its call nobody knows what it ended.
    """
    ends = last.filter(pl.col("role") == "tool").join(_without_success(rows), on=ROW, how="semi", maintain_order="left")
    of_ends = messages.join(ends, on=ROW, how="semi", maintain_order="left")
    steps, _ = pair_observations(explode_calls(of_ends, ROW), of_ends, ROW)
    unfinished = steps.filter(~is_terminal()).join(
        ends.select(ROW, "content", observation_index="message_index"), on=[ROW, "observation_index"], how="inner"
    )
    return _sign(unfinished.with_columns(head=pl.col("content").str.head(80)), "after_observation", "head")


def _after_user(rows: pl.DataFrame, last: pl.DataFrame) -> pl.DataFrame:
    """Rows that end on a user message that still waits for a reply."""
    unscored = rows.filter(pl.col("success").is_null() & pl.col("reward").is_null()).select(ROW)
    content = pl.col("content").fill_null("")
    waiting = last.filter(
        pl.col("role").is_in(["user", "system"]), ~content.str.contains(STOP_TOKEN), ~content.str.contains(CLOSING)
    ).join(unscored, on=ROW, how="semi", maintain_order="left")
    return _sign(waiting.with_columns(head=pl.col("content").str.head(80)), "after_user", "head")

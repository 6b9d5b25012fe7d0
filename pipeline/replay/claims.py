"""What the assistant claims to have run and seen inside of its own text, and the steps of a trajectory with it."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import polars as pl

from pipeline.replay.arguments import code_of
from pipeline.replay.call_texts import Call
from pipeline.replay.protocols import CALL_ENDS, NATIVE_RESULTS, PROTOCOLS
from pipeline.schema import ORIGIN_DTYPE
from pipeline.stages.steps import explode_messages, explode_steps

_CLAIM = {
    "message_index": pl.UInt32,
    "claim_index": pl.UInt32,
    "tool_name": pl.String,
    "arguments": pl.String,
    "claimed": pl.String,
    "call_message": pl.UInt32,
    "call_index": pl.UInt32,
}
_OPENING_RESULT = re.compile(r"\A\s*\**(?:Observation|Result|Tool\b|Function\b)", re.IGNORECASE)


@dataclass(slots=True)
class _Claim:
    """A call in a content, what is said of its result, and the genuine call it is, if it is one."""

    call: Call
    claimed: str | None
    message: int | None = None
    place: int | None = None


def explode_claims(trajectories: pl.DataFrame, key: str = "trajectory_id") -> pl.DataFrame:
    """One row per call of each assistant message that holds a result of its own, with that result.

    Such a message may hold several calls, each with a result or without; where one is also a genuine call (the
    formats read the first, or all, out of the text), `call_message` and `call_index` say which.

    Grain: claims in order of trajectory, message and place; a trajectory without claims has no row.
    Reads: `key`, unique; messages as schema.MESSAGE.
    Writes: `key`, message_index, claim_index UInt32; tool_name, arguments String; claimed String, null where the
        message says nothing of the result; call_message, call_index UInt32, null where no genuine call was made.
    """
    messages = explode_messages(trajectories, key).select(key, "message_index", "role", "content", "tool_calls")
    rows: list[tuple[Any, ...]] = []
    for name, held in itertools.groupby(messages.iter_rows(), itemgetter(0)):
        for index, claims in _claims_of([row[1:] for row in held]):
            for place, claim in enumerate(claims):
                rows.append((name, index, place, *claim.call, claim.claimed, claim.message, claim.place))
    return pl.DataFrame(rows, schema={key: trajectories.schema[key], **_CLAIM}, orient="row")


def merged_steps(trajectories: pl.DataFrame, claims_of: Sequence[str] = (), key: str = "trajectory_id") -> pl.DataFrame:
    """One row per call to make: the genuine ones and, of the trajectories `claims_of`, what they claim to have run.

    The two are run apart, each from a fresh state, as `origin` says: an environment that was given a message whole ran
    all its code, and what each part of it gives is another question. The claimed course holds every claim, with the
    answered calls of messages without claims in between, which are run for their state alone: like claims without a
    result they have no `step_index`.

    Grain: steps in order of the trajectories; a trajectory's by message, genuine ones first.
    Reads: `key`, unique; messages as schema.MESSAGE.
    Writes: `key`; step_index, message_index, call_index, observation_index UInt32; call_id, tool_name, arguments,
        recorded String; origin as schema.ORIGIN_DTYPE. Of a claim, call_index, observation_index and call_id are null.
    """
    genuine = explode_steps(trajectories, key)[0].select(
        key,
        "message_index",
        "call_index",
        "observation_index",
        "call_id",
        "tool_name",
        "arguments",
        recorded="observation",
        origin=pl.lit("environment", ORIGIN_DTYPE),
    )
    steps = genuine
    if len(claims_of):
        claims = explode_claims(trajectories.filter(pl.col(key).is_in(list(claims_of))), key)
        told = claims.select(key, "message_index", "tool_name", "arguments", "claim_index", recorded="claimed")
        repeated = claims.select(key, "call_index", message_index="call_message")
        last = claims.group_by(key).agg(pl.col("message_index").max().alias("_last"))
        between = (
            genuine.join(last, on=key, how="inner", maintain_order="left")
            .filter(pl.col("message_index") < pl.col("_last"), pl.col("observation_index").is_not_null())
            .join(claims, on=[key, "message_index"], how="anti", maintain_order="left")
            .join(repeated, on=[key, "message_index", "call_index"], how="anti", maintain_order="left")
            .select(key, "message_index", "tool_name", "arguments", claim_index="call_index")
        )
        row = trajectories.select(key, _row=pl.int_range(pl.len(), dtype=pl.UInt32))
        claimed = pl.concat([told, between], how="diagonal").with_columns(origin=pl.lit("assistant", ORIGIN_DTYPE))
        steps = (
            pl.concat([genuine, claimed], how="diagonal")
            .join(row, on=key, how="left", maintain_order="left")
            .sort("_row", "message_index", "origin", "call_index", "claim_index", maintain_order=True)
        )
    is_told = (pl.col("origin") == "environment") | pl.col("recorded").is_not_null()
    number = (is_told.cum_sum().over(key) - 1).cast(pl.UInt32)
    return steps.select(key, pl.when(is_told).then(number).alias("step_index"), *genuine.columns[1:])


def _claims_of(
    messages: list[tuple[int, str, str | None, list[dict[str, Any]] | None]],
) -> Iterator[tuple[int, list[_Claim]]]:
    """Index and claims of each message of a trajectory that has any."""
    open_calls: list[tuple[int, int, Call]] = []
    has_heard = False
    for index, role, content, native in messages:
        if role != "assistant":
            has_heard = has_heard or role == "tool"
            open_calls = []
            continue
        made = [(index, place, Call(call["name"], call["arguments"] or "")) for place, call in enumerate(native or ())]
        claims = _own_calls(content or "", made) or _beside(content or "", made, open_calls, has_heard=has_heard)
        if claims:
            yield index, claims
        open_calls = made or open_calls


def _own_calls(content: str, made: list[tuple[int, int, Call]]) -> list[_Claim]:
    """The calls in a content that holds a result of one, in the first protocol that finds any."""
    for protocol in PROTOCOLS:
        if protocol.hint not in content:
            continue
        found = protocol.claims(content)
        if any(claimed is not None for _, claimed in found):
            claims = [_Claim(call, claimed) for call, claimed in found]
            _match(claims, made)
            return claims
    return []


def _match(claims: list[_Claim], made: list[tuple[int, int, Call]]) -> None:
    """Say of each claim which genuine call it is: they were read out of this text, in order."""
    position = 0
    for message, place, call in made:
        same = (k for k in range(position, len(claims)) if _is_same(claims[k].call, call))
        # a call that the format reads in another spelling stands where it stands; not where it joins all that is there
        found = next(same, place if len(made) == len(claims) and position <= place else None)
        if found is None:
            return
        claims[found].call, claims[found].message, claims[found].place = call, message, place
        position = found + 1


def _is_same(claim: Call, call: Call) -> bool:
    if claim.arguments == call.arguments:
        return True
    code = code_of(claim.arguments)
    return code is not None and code.strip() == (code_of(call.arguments) or "").strip()


def _beside(
    content: str, made: list[tuple[int, int, Call]], open_calls: list[tuple[int, int, Call]], *, has_heard: bool
) -> list[_Claim]:
    """Results in a content without calls: of the genuine calls beside it, else of those before it that are open."""
    if any(end in content for end in CALL_ENDS) or not (made or open_calls):
        return []
    if made and has_heard and _OPENING_RESULT.match(content):
        return []  # what a tool said is being told again
    results = NATIVE_RESULTS.results(content)
    called = zip(made or open_calls, results, strict=False)
    return [_Claim(call, claimed, message, place) for (message, place, call), claimed in called]
